//! Artifacts: whatever the bytes say, loading never panics, and what is admitted judges requests without a panic.
//!
//! Even inputs are a file as it stands. Odd ones are changes to a sound file, six bytes each, behind its digests:
//! section, offset, value; no fuzzer finds a digest.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use policy::Policy;
use policy::artifact::Limits;
use sample::{probes, tamper};

#[allow(dead_code, reason = "shared with the claims of the policy crate")]
#[path = "../../../policy/tests/claims/sample/mod.rs"]
mod sample;

static ESTATE: LazyLock<Vec<u8>> = LazyLock::new(|| sample::estate().finish().file);

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let file = if choice % 2 == 0 {
        bytes.to_vec()
    } else {
        changed(bytes)
    };
    let Ok(policy) = Policy::load(&file, Limits::default()) else {
        return;
    };
    for probe in probes::probes() {
        probes::judge(&policy, probe);
    }
    probes::connect(&policy);
});

fn changed(bytes: &[u8]) -> Vec<u8> {
    let mut file = ESTATE.clone();
    let sections = tamper::sections(&file);
    for change in bytes.chunks_exact(6) {
        let section = &sections[usize::from(change[0]) % sections.len()];
        let offset = usize::from(u16::from_le_bytes([change[1], change[2]]));
        if section.len > 0 {
            let at = section.offset + offset % section.len;
            // Either a byte, or a whole word at its place.
            if change[3] % 2 == 0 {
                file[at] = change[4];
            } else if at.next_multiple_of(4) + 4 <= section.offset + section.len {
                let value = u32::from(change[4]) | u32::from(change[5] >> 4) << 8;
                let value = if change[3] & 2 == 0 {
                    value
                } else {
                    u32::MAX - value
                };
                tamper::set_word(&mut file, at.next_multiple_of(4), value);
            }
        }
    }
    for section in &sections {
        tamper::seal(&mut file, section);
    }
    file
}
