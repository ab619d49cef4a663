//! Programs with named places to jump to.

use std::collections::BTreeMap;

use policy::isa::{Instr, Op};
use policy::table::Table;

/// A program being written.
#[derive(Default)]
pub(crate) struct Assembly {
    instrs: Vec<Instr>,
    places: BTreeMap<&'static str, usize>,
    jumps: Vec<(usize, &'static str)>,
}

impl Assembly {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn op(mut self, op: Op, a: u8, imm: u32) -> Self {
        self.instrs.push(Instr { op, a, to: 0, imm });
        self
    }

    /// A test that goes to `place` when it fails.
    pub(crate) fn test(mut self, op: Op, a: u8, imm: u32, place: &'static str) -> Self {
        self.jumps.push((self.instrs.len(), place));
        self.op(op, a, imm)
    }

    pub(crate) fn constant(mut self, a: u8, table: Table, row: u32) -> Self {
        self.instrs.push(Instr {
            op: Op::Constant,
            a,
            to: table as u16,
            imm: row,
        });
        self
    }

    pub(crate) fn apply(mut self, a: u8, table: Table) -> Self {
        self.instrs.push(Instr {
            op: Op::Apply,
            a,
            to: table as u16,
            imm: 0,
        });
        self
    }

    pub(crate) fn place(mut self, place: &'static str) -> Self {
        self.places.insert(place, self.instrs.len());
        self
    }

    pub(crate) fn finish(mut self) -> Vec<Instr> {
        for (at, place) in self.jumps {
            let to = self.places[place] - at;
            self.instrs[at].to = u16::try_from(to).expect("programs are short");
        }
        self.instrs
    }
}
