//! The file around the tables: same calls, same bytes; every damage is named.

use policy::artifact::Limits;
use policy::table::Table;
use policy::{Fault, FaultKind, Policy};

use crate::sample;
use crate::sample::tamper::{self, CODE, TEXT, sections, set_word, word};

fn refused(file: &[u8]) -> Fault {
    Policy::load(file, Limits::default()).expect_err("the file is damaged")
}

fn header(at: u64, kind: FaultKind) -> Fault {
    Fault {
        section: "header",
        at,
        kind,
    }
}

fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> Fault {
    let mut file = sample::estate().finish().file;
    change(&mut file);
    refused(&file)
}

/// Changes the head and seals it again.
fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Fault {
    damaged(|file| {
        change(file);
        tamper::seal_head(file);
    })
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    assert_eq!(sample::estate().finish().file, sample::estate().finish().file);
    assert_eq!(sample::tiny(), sample::tiny());
}

#[test]
fn the_estate_fills_every_table() {
    let policy = sample::estate().finish().policy;
    for &table in Table::ALL {
        assert_ne!(policy.count(table), 0, "{}", table.name());
    }
}

#[test]
fn an_artifact_says_what_it_is() {
    let sample = sample::estate().finish();
    assert_eq!(sample.policy.id(), &[1; 32]);
    assert_eq!(sample.policy.generation(), 5);
    let head = 104 + 56 * word(&sample.file, 32) as usize;
    assert_eq!(sample.policy.digest()[..], sample.file[head..head + 32]);
}

#[test]
fn a_damaged_header_is_named_by_its_byte() {
    assert_eq!(damaged(|file| file[4] = b'\n'), header(0, FaultKind::Magic));
    assert_eq!(damaged(|file| file[8] = 1), header(8, FaultKind::Version(1, 2)));
    assert_eq!(damaged(|file| file[10] = 1), header(8, FaultKind::Version(2, 2)));
    assert_eq!(damaged(|file| file[12] = 0), header(12, FaultKind::Magic));
    assert_eq!(
        damaged(|file| file.extend([0; 8])),
        header(16, FaultKind::TrailingBytes)
    );
    assert_eq!(
        damaged(|file| file.truncate(900)),
        header(16, FaultKind::Truncated)
    );
    assert_eq!(
        damaged(|file| file.truncate(20)),
        header(16, FaultKind::Truncated)
    );
    assert_eq!(damaged(|file| file.clear()), header(0, FaultKind::Truncated));
    assert_eq!(
        damaged(|file| set_word(file, 32, u32::MAX)),
        header(32, FaultKind::Layout)
    );
    assert_eq!(
        damaged(|file| set_word(file, 36, 0)),
        header(32, FaultKind::Layout)
    );
    assert_eq!(resealed(|file| file[72] = 1), header(72, FaultKind::Feature));
}

#[test]
fn a_length_that_is_no_multiple_of_eight_is_refused() {
    let fault = resealed(|file| {
        file.push(0);
        let len = u32::try_from(file.len()).expect("a small file");
        set_word(file, 16, len);
    });
    assert_eq!(fault, header(16, FaultKind::Layout));
}

#[test]
fn a_changed_digest_is_refused() {
    let mut place = 0;
    let fault = damaged(|file| {
        place = 104 + 56 * u64::from(word(file, 32));
        file[40] ^= 1;
    });
    assert_eq!(fault, header(place, FaultKind::Digest));
    let fault = damaged(|file| {
        let at = tamper::section(file, TEXT).offset;
        file[at] ^= 1;
    });
    let text = Fault {
        section: "Text",
        at: 0,
        kind: FaultKind::Digest,
    };
    assert_eq!(fault, text);
}

#[test]
fn sections_out_of_place_are_refused() {
    let second = 104 + 56;
    // Kinds that do not ascend, an overlap, a gap, and a length that leaves the file.
    assert_eq!(
        resealed(|file| set_word(file, second, 0)),
        header(second as u64, FaultKind::Layout)
    );
    for change in [-8i64, 8] {
        let fault = resealed(|file| {
            let offset = i64::from(word(file, second + 8)) + change;
            set_word(file, second + 8, u32::try_from(offset).expect("a small file"));
        });
        assert_eq!(fault, header(second as u64, FaultKind::Layout));
    }
    let fault = resealed(|file| set_word(file, second + 20, u32::MAX));
    assert_eq!(fault, header(second as u64, FaultKind::Layout));
}

#[test]
fn padding_must_be_zero() {
    let mut at = 0;
    let fault = damaged(|file| {
        let section = sections(file)
            .into_iter()
            .find(|section| !section.len.is_multiple_of(8))
            .expect("some section needs padding");
        at = section.offset + section.len;
        file[at] = 1;
    });
    assert_eq!(fault, header(at as u64, FaultKind::Padding));
}

#[test]
fn an_unknown_section_is_refused() {
    let fault = resealed(|file| {
        let code = tamper::section(file, CODE);
        set_word(file, code.entry, 250);
    });
    let unknown = Fault {
        section: "unknown section",
        at: 0,
        kind: FaultKind::Layout,
    };
    assert_eq!(fault, unknown);
}

#[test]
fn rows_of_another_width_are_refused() {
    let width = |section| Fault {
        section,
        at: 0,
        kind: FaultKind::Width,
    };
    for (kind, section) in [(Table::Route as u32, "Route"), (TEXT, "Text"), (CODE, "Code")] {
        let fault = resealed(|file| {
            let at = tamper::section(file, kind).entry + 4;
            let wider = word(file, at) + 1;
            set_word(file, at, wider);
        });
        assert_eq!(fault, width(section));
    }
}

#[test]
fn a_file_without_its_only_row_is_refused() {
    // Two `Meta` rows take the place of none: exactly one is read.
    let mut scene = sample::estate();
    scene.builder.row(&policy::table::Meta::EMPTY);
    let refused = scene.try_finish().expect_err("there are two");
    let missing = Fault {
        section: "Meta",
        at: 0,
        kind: FaultKind::Missing,
    };
    assert_eq!(refused, policy::artifact::BuildError::Unsound(missing));
}
