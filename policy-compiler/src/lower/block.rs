//! A piece of a program: instructions with labels, all of which lie ahead.

use policy::isa::{Instr, Op};
use policy::table::Table;

/// A place ahead in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(usize);

/// Why a block is no program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

/// The instructions of one entry of a program, while they are written.
#[derive(Default)]
pub(crate) struct Block {
    instrs: Vec<Instr>,
    /// Instructions that jump, and where to.
    jumps: Vec<(usize, Label)>,
    /// Where labels were placed.
    places: Vec<Option<usize>>,
}

impl Block {
    /// A place that will come.
    pub(crate) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The place is here.
    pub(crate) fn place(&mut self, label: Label) {
        // A jump to the instruction behind it says nothing, unless something else lands between.
        while let Some(&(at, target)) = self.jumps.last()
            && target == label
            && at + 1 == self.instrs.len()
            && self.instrs[at].op == Op::Jump
            && !self.places.contains(&Some(at + 1))
        {
            self.instrs.pop();
            self.jumps.pop();
        }
        self.places[label.0] = Some(self.instrs.len());
    }

    /// An instruction that does not jump.
    pub(crate) fn step(&mut self, op: Op, a: u8, imm: u32) {
        self.instrs.push(Instr { op, a, to: 0, imm });
    }

    /// An instruction that jumps when it fails.
    pub(crate) fn test(&mut self, op: Op, a: u8, imm: u32, otherwise: Label) {
        self.jumps.push((self.instrs.len(), otherwise));
        self.step(op, a, imm);
    }

    /// Goes to a place ahead.
    pub(crate) fn jump(&mut self, label: Label) {
        self.test(Op::Jump, 0, 0, label);
    }

    /// Puts a row into a register.
    pub(crate) fn constant(&mut self, a: u8, table: Table, row: u32) {
        self.instrs.push(Instr {
            op: Op::Constant,
            a,
            to: table as u16,
            imm: row,
        });
    }

    /// The exchange will apply the row in a register.
    pub(crate) fn apply(&mut self, a: u8, table: Table) {
        self.instrs.push(Instr {
            op: Op::Apply,
            a,
            to: table as u16,
            imm: 0,
        });
    }

    /// Everything that another block does, its labels included. Where the other one ends, this one goes on.
    pub(crate) fn append(&mut self, other: &Self) {
        let (start, labels) = (self.instrs.len(), self.places.len());
        self.instrs.extend_from_slice(&other.instrs);
        let jumps = other
            .jumps
            .iter()
            .map(|(at, Label(label))| (at + start, Label(label + labels)));
        self.jumps.extend(jumps);
        let places = other.places.iter().map(|place| place.map(|at| at + start));
        self.places.extend(places);
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.instrs.is_empty()
    }

    /// The finished program; it goes on where its last instruction does not end it.
    ///
    /// # Errors
    /// [`TooLong`] when a jump spans more than 65,535 instructions.
    pub(crate) fn finish(mut self) -> Result<Vec<Instr>, TooLong> {
        self.step(Op::Forward, 0, 0);
        for (at, label) in self.jumps {
            let target = self.places[label.0].unwrap_or(self.instrs.len() - 1);
            self.instrs[at].to = u16::try_from(target - at).map_err(|_error| TooLong)?;
        }
        Ok(self.instrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_count_from_their_own_instruction() {
        let mut block = Block::default();
        let end = block.label();
        block.test(Op::Header, 0, 7, end);
        block.step(Op::Refuse, 0, 1);
        block.place(end);
        let instrs = block.finish().expect("short");
        assert_eq!(instrs[0].to, 2);
        assert_eq!(instrs[2].op, Op::Forward);
    }

    #[test]
    fn a_jump_to_the_next_instruction_is_left_out() {
        let mut block = Block::default();
        let (here, there) = (block.label(), block.label());
        block.test(Op::Empty, 0, 0, here);
        block.jump(there);
        block.place(there);
        block.place(here);
        let ops: Vec<Op> = block.finish().expect("short").iter().map(|i| i.op).collect();
        assert_eq!(ops, [Op::Empty, Op::Forward]);
    }

    #[test]
    fn an_appended_block_goes_on_where_it_ended() {
        let mut inner = Block::default();
        let end = inner.label();
        inner.test(Op::Header, 0, 7, end);
        inner.step(Op::Refuse, 0, 1);
        inner.place(end);
        let mut block = Block::default();
        block.step(Op::Acl, 0, 0);
        block.append(&inner);
        block.step(Op::Take, 0, 0);
        let instrs = block.finish().expect("short");
        assert_eq!(
            (instrs[1].op, instrs[1].to, instrs[3].op),
            (Op::Header, 2, Op::Take)
        );
    }

    #[test]
    fn a_jump_that_a_test_lands_behind_stays() {
        let mut block = Block::default();
        let (here, there) = (block.label(), block.label());
        block.test(Op::Empty, 0, 0, here);
        block.jump(there);
        block.place(here);
        block.place(there);
        assert_eq!(block.finish().expect("short").len(), 3);
    }
}
