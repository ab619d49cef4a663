//! Feeds a connection with frames, takes what comes, and checks its bounds.

use super::{Connection, Role};
use crate::http::h2::{PREFACE, frame};
use crate::limits;
use crate::worker::clock::Moment;

/// Feeds a connection with frames, takes what comes, and checks its bounds.
pub(in crate::multiplex) fn fuzzed(role: Role, frames: &[u8]) {
    let mut state = Connection::new(role, Moment::default());
    let mut input = Vec::new();
    if role == Role::Server {
        input.extend_from_slice(PREFACE);
    }
    frame::push_settings(&[], &mut input);
    input.extend_from_slice(frames);
    for _ in 0..4 {
        state.open();
    }
    let mut done = 0;
    while let Ok(step) = state.advance(&input[done..], Moment::default()) {
        if step.consumed == 0 {
            break;
        }
        done += step.consumed;
        let held: usize = state.streams.values().map(|stream| stream.received.len()).sum();
        let most = match role {
            Role::Server => limits::H2_WINDOW_BYTES,
            Role::Client => limits::H2_STREAMS * limits::H2_STREAM_WINDOW_BYTES,
        };
        assert!(held <= most as usize);
        assert!(state.streams.len() <= limits::H2_STREAMS as usize);
        assert!(state.out.len() <= limits::H2_OUT_MOST_BYTES);
        if let Some(id) = step.opened.filter(|id| id % 3 == 0) {
            state.release(id);
        }
    }
}
