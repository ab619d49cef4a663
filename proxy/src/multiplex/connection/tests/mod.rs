//! A server's and a client's state talking to each other, and peers that do not behave.

mod chance;
mod faults;
mod goodbye;
mod heads;
mod nuisance;
mod pieces;
mod windows;

use proptest::prelude::*;

use super::*;
use crate::http::h2::hpack::encode;
use crate::multiplex::stream::Remote;
use crate::worker::clock;

/// Two ends, joined by memory.
struct Pair {
    client: Connection,
    server: Connection,
}

impl Pair {
    fn new() -> Self {
        let now = clock::refresh();
        let mut pair = Self {
            client: Connection::new(Role::Client, now),
            server: Connection::new(Role::Server, now),
        };
        pair.exchange(usize::MAX);
        pair
    }

    /// Carries what waits both ways, in pieces of at most `most` bytes; gives the streams that were opened.
    fn exchange(&mut self, most: usize) -> Vec<u32> {
        let mut opened = Vec::new();
        while !self.client.out.is_empty() || !self.server.out.is_empty() {
            opened.extend(carry(&mut self.client, &mut self.server, most).unwrap());
            opened.extend(carry(&mut self.server, &mut self.client, most).unwrap());
        }
        opened
    }

    /// Opens a stream with a request that goes on.
    fn open(&mut self) -> u32 {
        let id = self.client.open().unwrap();
        self.client.send_block(id, false, request);
        assert_eq!(self.exchange(usize::MAX), [id]);
        id
    }
}

fn request(out: &mut Vec<u8>) {
    encode::method(b"POST", out);
    encode::scheme(false, out);
    encode::authority(b"a", out);
    encode::path(b"/", None, out);
}

fn carry(from: &mut Connection, to: &mut Connection, most: usize) -> Result<Vec<u32>, ErrorCode> {
    let bytes = std::mem::take(&mut *from.out);
    let (mut input, mut opened) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(most.max(1)) {
        input.extend_from_slice(piece);
        opened.extend(feed(to, &mut input)?);
    }
    assert!(input.is_empty(), "all that was sent is whole frames");
    Ok(opened)
}

fn feed(to: &mut Connection, input: &mut Vec<u8>) -> Result<Vec<u32>, ErrorCode> {
    let mut opened = Vec::new();
    loop {
        let step = to.advance(input, clock::now())?;
        if step.consumed == 0 {
            return Ok(opened);
        }
        input.drain(..step.consumed);
        opened.extend(step.opened);
    }
}

/// What a server makes of frames, after a good beginning.
fn attack(frames: &[u8]) -> (Connection, Result<Vec<u32>, ErrorCode>) {
    let mut server = Connection::new(Role::Server, clock::refresh());
    let mut input = PREFACE.to_vec();
    frame::push_settings(&[], &mut input);
    input.extend_from_slice(frames);
    let result = feed(&mut server, &mut input);
    (server, result)
}

fn headers(stream: u32, end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push_block(stream, end, 16_384, &mut out, request);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

impl Connection {
    /// Memory that it holds beside what waits to be sent.
    fn idle_bytes(&self) -> usize {
        let fields: usize = self.spare_fields.iter().map(Fields::capacity).sum();
        fields + self.decoder.capacity() + self.streams.capacity() * size_of::<(u32, Stream)>()
    }
}
