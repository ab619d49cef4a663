//! PROXY headers: no panic, a split changes nothing, and what follows a header is not looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::downstream::proxy_protocol::decode;

fuzz_target!(|input: (u16, &[u8])| {
    let (split, bytes) = input;
    let whole = decode(bytes);
    let split = usize::from(split) % (bytes.len() + 1);
    match decode(&bytes[..split]) {
        Ok(None) => {}
        early => assert_eq!(early, whole),
    }
    if let Ok(Some((length, announced))) = whole {
        assert!(length <= bytes.len());
        assert_eq!(decode(&bytes[..length]), Ok(Some((length, announced))));
    }
});
