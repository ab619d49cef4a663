//! RFC 9113 and RFC 7541 case by case, as h2spec tests a server: each is frames, and what must come back.
//!
//! The numbers are sections of RFC 9113, of RFC 7541 where the case says so. All cases run whole, and again byte by byte.

mod compression;
mod kinds;
mod messages;
mod streams;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Frame, Frames, Gateway, Nginx, Origin, Script, Step};

/// What must come back.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// An answer on this stream, and the connection goes on.
    Answer(u32),
    /// A reset of this stream with this code, and the connection goes on.
    Reset(u32, u32),
    /// The end of the connection, with this code.
    End(u32),
    /// The acknowledgement of SETTINGS or of a PING, and the connection goes on.
    Acknowledge(u8),
}

/// A name, what is sent, and what must come back.
type Case = (&'static str, Vec<Frame>, Must);

use Must::{Acknowledge, Answer, End, Reset};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

fn get(stream: u32) -> Frame {
    Frame::request(stream, "GET", "/", true)
}

fn post(stream: u32) -> Frame {
    Frame::request(stream, "POST", "/", false)
}

/// A whole request with fields behind its own.
fn with(fields: &[(&str, &str)]) -> Frame {
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| Frame::field(name, value))
        .collect();
    get(1).and(&block)
}

/// A whole request of these fields alone.
fn of(fields: &[(&str, &str)]) -> Frame {
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| Frame::field(name, value))
        .collect();
    Frame::new(HEADERS, 5, 1, &block)
}

/// A request whose block is given, or ends with it.
fn block(bytes: &[u8]) -> Frame {
    get(1).and(bytes)
}

fn flags(frame: Frame, flags: u8) -> Frame {
    Frame { flags, ..frame }
}

/// A head with its priority in front, on another stream or on itself.
fn prioritised(stream: u32, on: u8) -> Frame {
    let plain = get(stream);
    Frame::new(
        HEADERS,
        0x25,
        stream,
        &[&[0, 0, 0, on, 9], &plain.payload[..]].concat(),
    )
}

fn window(stream: u32, more: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn setting(identifier: u16, value: u32) -> Frame {
    Frame::new(
        SETTINGS,
        0,
        0,
        &[&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat(),
    )
}

/// A head in two pieces.
fn halves(stream: u32) -> [Frame; 2] {
    let whole = get(stream);
    let (start, rest) = whole.payload.split_at(3);
    [
        Frame::new(HEADERS, 1, stream, start),
        Frame::new(CONTINUATION, 4, stream, rest),
    ]
}

/// Sends the frames of a case and looks at what comes back; `spelled` sends them byte by byte.
fn check(gateway: &Gateway, frames: &[Frame], must: Must, spelled: bool) -> Result<()> {
    let mut bytes = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &Frame::new(SETTINGS, 0, 0, &[]).bytes(),
    ]
    .concat();
    bytes.extend(frames.iter().flat_map(Frame::bytes));
    let mut client = Frames::silent(gateway.addr())?;
    if spelled {
        for byte in bytes.chunks(1) {
            // Who is let go in the middle of it does not hear the rest.
            if client.send(byte).is_err() {
                break;
            }
        }
    } else {
        client.send(&bytes)?;
    }
    let acknowledged = usize::from(matches!(must, Acknowledge(SETTINGS)));
    let mut passed_over = 0;
    let last = client.find(|frame| match must {
        Answer(stream) => frame.kind == HEADERS && frame.stream == stream || frame.kind == GOAWAY,
        Reset(stream, _) => frame.kind == RST_STREAM && frame.stream == stream || frame.kind == GOAWAY,
        End(_) => frame.kind == GOAWAY,
        Acknowledge(kind) if frame.kind == kind && frame.flags & 1 != 0 => {
            passed_over += 1;
            passed_over > acknowledged
        }
        Acknowledge(_) => frame.kind == GOAWAY,
    })?;
    let last = last.context("the connection closed without a word")?;
    let as_it_must = match must {
        Answer(_) => last.kind == HEADERS,
        Reset(_, code) => last.kind == RST_STREAM && last.code() == Some(code),
        End(code) => last.code() == Some(code),
        Acknowledge(kind) => last.kind == kind,
    };
    ensure!(as_it_must, "{last:?}");
    if matches!(must, End(_)) {
        ensure!(client.find(|_| true)?.is_none(), "something follows GOAWAY");
    } else {
        client.push(&[Frame::new(PING, 0, 0, b"the end.")])?;
        let pong = client
            .find(|frame| frame.kind == PING && frame.payload == b"the end." || frame.kind == GOAWAY)?;
        ensure!(
            pong.is_some_and(|frame| frame.kind == PING),
            "the connection did not go on"
        );
    }
    Ok(())
}

fn run(cases: Vec<Case>) -> Result<()> {
    // Slow enough that a stream is still at work when its second frame comes.
    let origin = Origin::start(|request| {
        Script::respond(200, &[], &request.body).after(Step::Pause(Duration::from_millis(30)))
    })?;
    let gateway = Gateway::start(crate::one_route(&origin.url(), "", ""))?;
    let mut failures = Vec::new();
    for (what, frames, must) in cases {
        for spelled in [false, true] {
            // What is larger than a socket's buffer says nothing about how it is cut, and takes long.
            let size: usize = frames.iter().map(|frame| frame.payload.len()).sum();
            if spelled && size > 4096 {
                continue;
            }
            if let Err(error) = check(&gateway, &frames, must, spelled) {
                failures.push(format!("{what} (spelled: {spelled}): must {must:?}: {error:#}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for tape in origin.tapes() {
        let smuggled = tape.windows(8).any(|it| it.eq_ignore_ascii_case(b"smuggled"));
        assert!(!smuggled, "{}", tape.escape_ascii());
    }
    // A body that broke off is no request; anything else that is none would be a fault of ours.
    let mut violations = origin.violations();
    violations.retain(|what| !what.contains("closed inside a"));
    assert!(violations.is_empty(), "{violations:?}");
    Ok(())
}

#[test]
fn streams_are_as_the_rfc_says() -> Result<()> {
    run(streams::cases())
}

#[test]
fn each_kind_of_frame_is_as_the_rfc_says() -> Result<()> {
    run(kinds::cases())
}

#[test]
fn messages_are_as_the_rfc_says_and_nothing_is_smuggled() -> Result<()> {
    run(messages::cases())
}

#[test]
fn compression_is_as_the_rfc_says() -> Result<()> {
    run(compression::cases())
}

/// 6.9.2: a window that SETTINGS made negative must be filled before anything is sent.
#[test]
fn a_window_may_be_negative() -> Result<()> {
    let nginx = Nginx::start("location / { return 200 hello; }")?;
    let gateway = Gateway::start(crate::one_route(&format!("http://{}", nginx.addr()), "", ""))?;
    let mut client = Frames::connect(gateway.addr())?;
    client.push(&[setting(4, 3), get(1)])?;
    let first = client.find(|frame| frame.kind == DATA)?.context("a part")?;
    assert_eq!(first.payload, b"hel");
    // Three were sent of what are now two.
    client.push(&[setting(4, 2), window(1, 1), Frame::new(PING, 0, 0, &[0; 8])])?;
    let next = client
        .find(|frame| frame.kind == DATA || frame.kind == PING)?
        .context("a frame")?;
    assert_eq!(next.kind, PING, "the window is at nothing");
    client.push(&[window(1, 1)])?;
    let second = client.find(|frame| frame.kind == DATA)?.context("a part")?;
    assert_eq!(second.payload, b"l");
    client.push(&[setting(4, 100)])?;
    let third = client.find(|frame| frame.kind == DATA)?.context("the rest")?;
    assert_eq!((&third.payload[..], third.flags), (&b"o"[..], 1));
    Ok(())
}
