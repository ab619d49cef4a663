//! Every column of every table, by its shape.

use policy::artifact::Limits;
use policy::table::{NO_CODE, Shape, Table};
use policy::{FaultKind, Policy};

use super::{fault, patched};
use crate::sample::tamper::{self, TEXT};
use crate::sample::{Sample, estate};

/// Words that the shape does not admit, with the kind of their fault.
fn violations(sample: &Sample, shape: Shape, column: &'static str) -> Vec<(Vec<(usize, u32)>, FaultKind)> {
    let reference = FaultKind::Reference(column);
    let value = FaultKind::Value(column);
    let rows = |table: Table| sample.policy.count(table);
    match shape {
        Shape::Int | Shape::Long | Shape::Digest => vec![],
        Shape::Bool => vec![(vec![(0, 2)], value), (vec![(0, u32::MAX)], value)],
        Shape::Choice(names) => {
            let count = u32::try_from(names.len()).expect("few names");
            vec![(vec![(0, count)], value), (vec![(0, u32::MAX)], value)]
        }
        Shape::Float => vec![
            (vec![(0, 0), (1, 0x7ff0_0000)], reference),
            (vec![(0, 1), (1, 0xfff8_0000)], reference),
        ],
        Shape::Text => {
            let len = u32::try_from(tamper::section(&sample.file, TEXT).len).expect("a small file");
            vec![
                (vec![(0, len), (1, 1)], reference),
                (vec![(0, 0), (1, len + 1)], reference),
                (vec![(0, u32::MAX), (1, u32::MAX)], reference),
                (vec![(0, inside_a_character(&sample.file)), (1, 0)], reference),
                (vec![(0, inside_a_character(&sample.file) - 1), (1, 1)], reference),
            ]
        }
        Shape::Id(table) => vec![
            (vec![(0, rows(table))], reference),
            (vec![(0, u32::MAX)], reference),
        ],
        Shape::MaybeId(table) => vec![
            (vec![(0, rows(table) + 1)], reference),
            (vec![(0, u32::MAX)], reference),
        ],
        Shape::Rows(table) => vec![
            (vec![(0, rows(table)), (1, 1)], reference),
            (vec![(0, rows(table) + 1), (1, 0)], reference),
            (vec![(0, 0), (1, rows(table) + 1)], reference),
            (vec![(0, u32::MAX), (1, 1)], reference),
            (vec![(0, 1), (1, u32::MAX)], reference),
        ],
        Shape::Code => vec![
            (vec![(0, sample.policy.code_len())], reference),
            (vec![(0, NO_CODE - 1)], reference),
        ],
        Shape::Automaton => vec![
            (vec![(0, u32::MAX), (1, u32::MAX)], reference),
            (vec![(1, u32::MAX)], reference),
            (vec![(1, 0)], FaultKind::Automaton),
        ],
    }
}

/// Where the second byte of an `é` stands in the texts.
fn inside_a_character(file: &[u8]) -> u32 {
    let text = tamper::section(file, TEXT);
    let bytes = &file[text.offset..text.offset + text.len];
    let at = bytes
        .iter()
        .position(|byte| *byte == 0xc3)
        .expect("the estate has an é");
    u32::try_from(at + 1).expect("a small file")
}

#[test]
fn a_word_that_its_column_does_not_admit_is_refused_by_row_and_column() {
    let sample = estate().finish();
    let mut tried = 0;
    for &table in Table::ALL {
        let row = sample.policy.count(table) - 1;
        for column in table.columns() {
            for (words, kind) in violations(&sample, column.shape, column.name) {
                let found = patched(&sample, table, row, column.name, &words);
                let wanted = fault(table.name(), u64::from(row), kind);
                assert_eq!(found, Some(wanted), "{}.{} {words:?}", table.name(), column.name);
                tried += 1;
            }
        }
    }
    assert!(tried > 400, "{tried} violations");
}

#[test]
fn rows_may_be_empty_at_the_very_end_of_their_table() {
    let sample = estate().finish();
    let end = sample.policy.count(Table::Line);
    let fault = patched(&sample, Table::Refusal, 0, "headers", &[(0, end), (1, 0)]);
    assert_eq!(fault, None);
}

#[test]
fn texts_are_utf8() {
    let sample = estate().finish();
    let section = tamper::section(&sample.file, TEXT);
    let mut file = sample.file.clone();
    file[section.offset + 9] = 0xff;
    tamper::seal(&mut file, &section);
    let refused = Policy::load(&file, Limits::default()).expect_err("0xff is never UTF-8");
    assert_eq!(refused, fault("Text", 9, FaultKind::Text));
}
