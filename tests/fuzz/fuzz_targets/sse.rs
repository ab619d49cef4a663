//! Event streams: no panic, no byte lost or made up, the same events at any split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::ai::sse::{Frame, Scanner};

fuzz_target!(|input: (u16, &[u8])| {
    let (split, bytes) = input;
    let split = usize::from(split) % (bytes.len() + 1);
    let whole = read(&[bytes]);
    let in_two = read(&[&bytes[..split], &bytes[split..]]);
    assert_eq!(whole, in_two, "split at {split}");
    assert_eq!(whole.0, bytes, "frames are the stream");
});

/// All frames laid end to end, and the events in them.
fn read(pieces: &[&[u8]]) -> (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>) {
    let (mut raw, mut events) = (Vec::new(), Vec::new());
    let mut scanner = Scanner::default();
    let mut keep = |frame: Frame<'_>| {
        raw.extend_from_slice(frame.raw);
        events.extend(frame.event.map(|event| (event.name.to_vec(), event.data.to_vec())));
    };
    for piece in pieces {
        scanner.feed(piece, &mut keep).expect("inputs are far below the limit");
    }
    scanner.finish(&mut keep);
    (raw, events)
}
