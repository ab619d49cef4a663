//! A WebSocket server (RFC 6455) that sends every message back.

use std::io::Write as _;

use anyhow::Result;

use super::super::message::{Head, WEBSOCKET_ACCEPT, WEBSOCKET_KEY, frame, read_frame};
use super::listen::Reader;

pub(super) fn serve(connection: &mut Reader) -> Result<()> {
    let Some(head) = Head::read(connection)? else {
        return Ok(());
    };
    let is_upgrade = head
        .field("upgrade")
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    if !(is_upgrade && head.field("sec-websocket-key") == Some(WEBSOCKET_KEY)) {
        let refusal = "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        connection.get_mut().write_all(refusal.as_bytes())?;
        return Ok(());
    }
    write!(
        connection.get_mut(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
    )?;
    while let Some(payload) = read_frame(connection)? {
        connection.get_mut().write_all(&frame(&payload, false))?;
    }
    Ok(())
}
