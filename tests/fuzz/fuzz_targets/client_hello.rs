//! ClientHellos: no panic, a start says nothing that the whole does not, and what follows a hello is not looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::stream::client_hello::server_name;

fuzz_target!(|input: (u16, &[u8])| {
    let (split, bytes) = input;
    let mut memory = Vec::new();
    let whole = server_name(bytes, &mut memory);
    let split = usize::from(split) % (bytes.len() + 1);
    match server_name(&bytes[..split], &mut memory) {
        Ok(None) => {}
        early => assert_eq!(early, whole),
    }
    if let Ok(Some(name)) = whole {
        assert!(name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(name, name.to_ascii_lowercase());
    }
});
