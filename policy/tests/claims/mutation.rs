//! No damage gets through: not by chance, and not behind recomputed digests.

use policy::Policy;
use policy::artifact::Limits;

use crate::sample;
use crate::sample::probes::{connect, judge, probes};
use crate::sample::tamper;

#[test]
fn every_flipped_bit_is_refused() {
    let mut file = sample::tiny();
    assert!(Policy::load(&file, Limits::default()).is_ok());
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(Policy::load(&file, Limits::default()).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_flipped_bit_of_every_few_bytes_of_the_estate_is_refused() {
    let mut file = sample::estate().finish().file;
    for bit in (0..file.len() * 8).step_by(149) {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(Policy::load(&file, Limits::default()).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_is_refused() {
    let file = sample::estate().finish().file;
    for len in 0..file.len() {
        assert!(
            Policy::load(&file[..len], Limits::default()).is_err(),
            "{len} bytes"
        );
    }
}

/// Flips bits of every section, makes the digests right again, and runs whatever is admitted.
#[test]
fn what_is_admitted_behind_its_digests_runs_without_a_panic() {
    const STRIDE: usize = 53;
    let original = sample::estate().finish().file;
    let probes = probes();
    let (mut tried, mut admitted) = (0, 0);
    for section in tamper::sections(&original) {
        // Long sections are automata and texts: fewer of their bits, all kinds of them.
        let stride = if section.len > 4096 { STRIDE * 7 } else { STRIDE };
        for bit in (0..section.len * 8).step_by(stride) {
            let mut file = original.clone();
            file[section.offset + bit / 8] ^= 1 << (bit % 8);
            tamper::seal(&mut file, &section);
            tried += 1;
            let Ok(policy) = Policy::load(&file, Limits::default()) else {
                continue;
            };
            admitted += 1;
            for probe in &probes {
                judge(&policy, probe.clone());
            }
            connect(&policy);
        }
    }
    assert!(tried > 1000, "{tried} flips");
    assert!(
        admitted > 100,
        "{admitted} of {tried} flips change what a file says, not whether it is sound"
    );
}
