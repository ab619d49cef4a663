//! Checks every word of every row by the shape of its column.

use crate::artifact::Policy;
use crate::fault::{Fault, FaultKind};
use crate::table::{Column, NO_CODE, Shape, Table};

pub(super) fn check(policy: &Policy) -> Result<(), Fault> {
    let text = policy.texts();
    for &table in Table::ALL {
        for row in 0..policy.count(table) {
            let words = policy.row_words(table, row);
            columns(policy, text, table.columns(), words).map_err(|kind| Fault {
                section: table.name(),
                at: u64::from(row),
                kind,
            })?;
        }
    }
    Ok(())
}

/// Checks the enumerations and flags of one row, which is enough to read it.
pub(crate) fn choices(columns: &[Column], words: &[u32]) -> Result<(), FaultKind> {
    let mut at = 0;
    for column in columns {
        let fits = match column.shape {
            Shape::Bool => words[at] <= 1,
            Shape::Choice(names) => (words[at] as usize) < names.len(),
            _ => true,
        };
        if !fits {
            return Err(FaultKind::Value(column.name));
        }
        at += column.shape.width();
    }
    Ok(())
}

fn columns(policy: &Policy, text: &str, columns: &[Column], words: &[u32]) -> Result<(), FaultKind> {
    choices(columns, words)?;
    let mut at = 0;
    for column in columns {
        let cell = &words[at..at + column.shape.width()];
        at += column.shape.width();
        let refers = match column.shape {
            Shape::Int | Shape::Bool | Shape::Choice(_) | Shape::Long | Shape::Digest | Shape::Automaton => {
                true
            }
            Shape::Float => f64::from_bits(u64::from(cell[0]) | u64::from(cell[1]) << 32).is_finite(),
            Shape::Text => in_text(text, cell[0], cell[1]),
            Shape::Id(table) => cell[0] < policy.count(table),
            Shape::MaybeId(table) => cell[0] <= policy.count(table),
            Shape::Rows(table) => cell[0]
                .checked_add(cell[1])
                .is_some_and(|end| end <= policy.count(table)),
            Shape::Code => cell[0] == NO_CODE || cell[0] < policy.code_len(),
        };
        if !refers {
            return Err(FaultKind::Reference(column.name));
        }
    }
    Ok(())
}

fn in_text(text: &str, offset: u32, len: u32) -> bool {
    let (start, end) = (offset as usize, (offset as usize).saturating_add(len as usize));
    end <= text.len() && text.is_char_boundary(start) && text.is_char_boundary(end)
}
