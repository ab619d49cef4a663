//! HTTP/1.1 and WebSocket messages, as both ends of a measurement write and read them.
//!
//! Only what those two ends say to each other: bodies with a length, binary messages in one frame. Anything else is an
//! error, because then a gateway changed it.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail, ensure};

/// Bytes of a WebSocket message.
pub(crate) const ECHO_BYTES: u16 = 1024;
/// The handshake of RFC 6455 §1.3, whose key has a known answer.
pub(crate) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to it.
pub(crate) const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const PIECE: &[u8] = &[b'x'; 128 * 1024];
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// FIN, binary.
const BINARY: u8 = 0x82;
/// Says that two bytes of length follow.
const TWO_BYTES: u8 = 126;

/// The head of a message.
pub(crate) struct Head {
    /// Request line or status line.
    pub(crate) start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head, or nothing where the other side closed before one.
    ///
    /// # Errors
    /// When the connection breaks or what comes is no head.
    pub(crate) fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let Some(start) = line(reader)? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        loop {
            let line = line(reader)?.context("a head was cut short")?;
            if line.is_empty() {
                return Ok(Some(Self { start, fields }));
            }
            let (name, value) = line.split_once(':').context("a line without a colon")?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The value of a field, whose name is given in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|field| field.0 == name)
            .map(|field| field.1.as_str())
    }

    /// Bytes of the body, which ends in no other way.
    ///
    /// # Errors
    /// When the body is chunked or its length is no number.
    pub(crate) fn length(&self) -> Result<u64> {
        ensure!(
            self.field("transfer-encoding").is_none(),
            "a gateway took the length from a body"
        );
        Ok(self.field("content-length").map_or(Ok(0), str::parse)?)
    }
}

fn line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let line = bytes.strip_suffix(b"\r\n").context("a line was cut short")?;
    Ok(Some(String::from_utf8(line.to_vec())?))
}

/// Reads that many bytes and forgets them.
///
/// # Errors
/// When fewer come.
pub(crate) fn drain(reader: &mut impl BufRead, mut bytes: u64) -> Result<()> {
    while bytes > 0 {
        let held = reader.fill_buf()?.len();
        ensure!(held > 0, "{bytes} bytes of a body are missing");
        let taken = held.min(usize::try_from(bytes).unwrap_or(usize::MAX));
        reader.consume(taken);
        bytes -= taken as u64;
    }
    Ok(())
}

/// Writes that many bytes.
///
/// # Errors
/// When the other side stops taking them.
pub(crate) fn fill(writer: &mut impl Write, mut bytes: u64) -> Result<()> {
    while bytes > 0 {
        let piece = PIECE.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        writer.write_all(&PIECE[..piece])?;
        bytes -= piece as u64;
    }
    Ok(())
}

/// A binary message in one frame, masked as a client's must be or not as a server's (RFC 6455 §5.2).
pub(crate) fn frame(payload: &[u8; ECHO_BYTES as usize], masked: bool) -> Vec<u8> {
    let [high, low] = ECHO_BYTES.to_be_bytes();
    let mut frame = vec![BINARY, TWO_BYTES | u8::from(masked) << 7, high, low];
    if masked {
        frame.extend(MASK);
        let turned = payload.iter().zip(MASK.iter().cycle());
        frame.extend(turned.map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}

/// Reads one such message, or nothing where the other side closed before one.
///
/// # Errors
/// When the connection breaks or another frame comes.
pub(crate) fn read_frame(reader: &mut impl BufRead) -> Result<Option<[u8; ECHO_BYTES as usize]>> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut head = [0; 4];
    reader.read_exact(&mut head)?;
    let [kind, length, high, low] = head;
    let masked = length & 0x80 != 0;
    if kind != BINARY || length & 0x7f != TWO_BYTES || u16::from_be_bytes([high, low]) != ECHO_BYTES {
        bail!("a frame that begins {head:02x?} came instead of a message of {ECHO_BYTES} bytes");
    }
    let mut mask = [0; 4];
    if masked {
        reader.read_exact(&mut mask)?;
    }
    let mut payload = [0; ECHO_BYTES as usize];
    reader.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_masked_or_not() {
        let payload = std::array::from_fn(|at| u8::try_from(at % 251).expect("below 251"));
        for masked in [true, false] {
            let frame = frame(&payload, masked);
            assert_eq!(frame.len(), 1028 + if masked { 4 } else { 0 });
            let read = read_frame(&mut frame.as_slice()).expect("a whole frame");
            assert_eq!(read, Some(payload));
            assert_ne!(frame[4..].starts_with(&payload[..8]), masked);
        }
    }

    #[test]
    fn anything_but_a_message_in_one_frame_is_an_error() {
        let mut first_of_two = frame(&[7; 1024], false);
        first_of_two[0] = 0x02;
        assert!(read_frame(&mut first_of_two.as_slice()).is_err());
        assert!(
            read_frame(&mut [0x88, 0x02, 3, 232].as_slice()).is_err(),
            "a close"
        );
        assert!(read_frame(&mut frame(&[7; 1024], true)[..900].as_ref()).is_err());
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let mut reader = &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP"[..];
        let head = Head::read(&mut reader).expect("a head").expect("not closed");
        assert_eq!(
            (head.start.as_str(), head.length().expect("a number")),
            ("HTTP/1.1 200 OK", 5)
        );
        drain(&mut reader, 5).expect("whole");
        assert_eq!(reader, b"HTTP");
        assert!(drain(&mut reader, 5).is_err());
    }

    #[test]
    fn a_chunked_body_is_an_error() {
        let mut reader = &b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..];
        let head = Head::read(&mut reader).expect("a head").expect("not closed");
        assert!(head.length().is_err());
    }
}
