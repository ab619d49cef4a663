//! One attack to a hundred good requests: each case of `tests/torture/cases` in turn, and floods that HTTP/2 makes
//! possible.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tests::attacks::{self, Case};
use tests::{Frame, Frames};

use super::Shared;

/// Good requests to one attack.
const GOOD: u64 = 100;
/// Attacks on HTTP/1.1 to one flood.
const FLOOD_EACH: u64 = 40;
/// Silence after which an attacker leaves.
const PATIENCE: Duration = Duration::from_millis(300);

/// Attacks until it is told to stop, and gives how often.
pub(super) fn until_stopped(to: SocketAddr, shared: &Shared) -> u64 {
    let cases: Vec<Case> = attacks::GROUPS
        .iter()
        .flat_map(|(name, _)| attacks::load(name).1)
        .collect();
    let floods = floods();
    let (mut done, mut counted) = (0_u64, 0);
    while !shared.stop.load(Ordering::Relaxed) {
        let answered = shared.answered.load(Ordering::Relaxed);
        if shared.calm.load(Ordering::Relaxed) {
            counted = answered;
        }
        if answered < counted + GOOD {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        counted += GOOD;
        let at = |count: usize| usize::try_from(done).unwrap_or(0) % count;
        // Whatever becomes of an attacker is no concern here: the other clients tell.
        let _ = if done % FLOOD_EACH == FLOOD_EACH - 1 {
            flood(to, &floods[at(floods.len())])
        } else {
            send(to, &cases[at(cases.len())].send)
        };
        done += 1;
    }
    done
}

fn send(to: SocketAddr, payload: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(payload)?;
    let mut heard = [0; 4096];
    while stream.read(&mut heard)? > 0 {}
    Ok(())
}

/// Streams that are reset at once, frames that ask for answers, a head that does not end.
fn floods() -> Vec<Vec<Frame>> {
    let resets = (0..1200_u32).flat_map(|number| {
        let stream = number * 2 + 1;
        let reset = Frame::new(3, 0, stream, &8_u32.to_be_bytes());
        [Frame::request(stream, "GET", "/", true), reset]
    });
    let open = Frame {
        flags: 0,
        ..Frame::request(1, "GET", "/", true)
    };
    let more = Frame::new(9, 0, 1, &Frame::field("x", &"y".repeat(1000)));
    vec![
        resets.collect(),
        vec![Frame::new(6, 0, 0, &[0; 8]); 6000],
        vec![Frame::new(4, 0, 0, &[]); 6000],
        std::iter::once(open)
            .chain(std::iter::repeat_n(more, 200))
            .collect(),
    ]
}

fn flood(to: SocketAddr, frames: &[Frame]) -> anyhow::Result<()> {
    let mut connection = Frames::connect(to)?;
    for piece in frames.chunks(100) {
        connection.push(piece)?;
    }
    connection.farewell()?;
    Ok(())
}
