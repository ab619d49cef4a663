//! Every rule of the verifier refuses a violation made for it, by section, place and kind.

mod code;
mod rows;
mod tables;

use policy::artifact::{BuildError, Limits};
use policy::{Fault, FaultKind, Policy};

use crate::sample::tamper::{self, set_word};
use crate::sample::{Sample, Scene, estate};
use policy::table::Table;

pub(crate) fn fault(section: &'static str, at: u64, kind: FaultKind) -> Fault {
    Fault { section, at, kind }
}

/// Why a scene cannot be finished.
fn unsound(scene: Scene) -> Fault {
    match scene.try_finish() {
        Err(BuildError::Unsound(fault)) => fault,
        Err(BuildError::Overflow) => panic!("nothing here is large"),
        Ok(_) => panic!("the scene is sound"),
    }
}

/// Writes a word of a column behind the digests and says why the file is refused.
pub(crate) fn patched(
    sample: &Sample,
    table: Table,
    row: u32,
    column: &str,
    words: &[(usize, u32)],
) -> Option<Fault> {
    let mut file = sample.file.clone();
    let at = tamper::place(&file, table, row, column);
    for &(word, value) in words {
        set_word(&mut file, at + 4 * word, value);
    }
    tamper::seal(&mut file, &tamper::section(&sample.file, table as u32));
    Policy::load(&file, Limits::default()).err()
}

/// The fault of the estate after one word changed.
fn refused(table: Table, row: u32, column: &str, value: u32) -> Fault {
    patched(&estate().finish(), table, row, column, &[(0, value)]).expect("the change is a fault")
}
