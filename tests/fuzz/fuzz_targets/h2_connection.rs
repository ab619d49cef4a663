//! A connection's state: whatever frames come, it neither panics nor holds more than its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((role, bytes)) = input.split_first() {
        proxy::multiplex::fuzzed(*role % 2 == 0, bytes);
    }
});
