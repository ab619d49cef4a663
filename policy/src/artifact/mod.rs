//! The artifact: one file, read in place. `write` makes one, `read` checks its frame, [`Policy`] is one that was
//! verified. The layout stands at [`MAGIC`].
//!
//! Every byte of a file is covered: header and table by the head digest, sections by theirs, gaps by being zero.
//! Integers are little endian. The same source, compiler and generation give the same bytes.

mod read;
mod write;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use regex_automata::dfa::dense;

use crate::caller::{self, Caller};
use crate::digest::Salted;
use crate::fault::Fault;
use crate::isa::Instr;
use crate::table::{Credential, Id, Meta, Node, Regex, Row, Rows, Table, Text};
use crate::walk::{self, Step};

pub use write::{BuildError, Builder};

/// First eight bytes of a file, which is laid out so:
///
/// ```text
///   0  magic[8]            \x89 T L G \r \n \x1a \n      (text-mode damage shows)
///   8  u16 major, minor    major must match, minor may be older
///  12  u32 endianness      0x0a0b0c0d
///  16  u64 file length
///  24  u64 generation      given to the compiler, grows
///  32  u32 section count, u32 header length
///  40  [32] policy id      digest of the compiled source
///  72  [32] features needed
/// 104  section table: { u32 kind, u32 row words, u64 offset, u64 length, [32] digest } each
///  ..  [32] digest of everything above
///  ..  sections in table order, each at a multiple of 8, gaps zero, the last one padded to 8
/// ```
pub const MAGIC: [u8; 8] = *b"\x89TLG\r\n\x1a\n";
/// Format version that this build writes and reads.
pub const VERSION: (u16, u16) = (2, 0);
const ENDIANNESS: u32 = 0x0a0b_0c0d;
const HEADER_LEN: usize = 104;
const SECTION_LEN: usize = 56;
const HEAD_DIGEST_LEN: usize = 32;

/// Section kinds beyond the tables.
const TEXT: u32 = 200;
const AUTOMATA: u32 = 201;
const CODE: u32 = 202;

/// Largest file that is read, in bytes.
pub const FILE_MAX: usize = 1 << 30;

/// Bounds that the gateway puts on an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Worst case of a route's programs, in cost units.
    pub program_cost: u32,
    /// Worst case of finding a route, in cost units.
    pub route_cost: u32,
}

impl Default for Limits {
    /// 250,000 units (about 250 µs, a few dozen look-ups in the longest body) for programs, 50,000,000 for the search: a file with thousands of regex routes
    /// is slow in its worst case but is what the operator wrote.
    fn default() -> Self {
        Self {
            program_cost: 250_000,
            route_cost: 50_000_000,
        }
    }
}

/// A verified artifact. Only [`Policy::load`] makes one, so every row, reference and program in it is sound.
///
/// Costs one copy of the file, a second one of its texts, code and automata, a line for each credential and half a line for
/// each node of a path tree.
pub struct Policy {
    words: Box<[u32]>,
    tables: [Range<usize>; Table::ALL.len()],
    text: Box<str>,
    code: Box<[Instr]>,
    automata: Vec<dense::DFA<Vec<u32>>>,
    /// For every regex, which of the automata is its own.
    automaton_of: Vec<u32>,
    meta: Meta,
    salted: Salted,
    callers: Box<[Caller]>,
    steps: Box<[Step]>,
    id: [u8; 32],
    digest: [u8; 32],
    generation: u64,
}

impl Policy {
    /// Copies, reads and verifies a file.
    ///
    /// # Errors
    /// The first [`Fault`], with section and place.
    pub fn load(file: &[u8], limits: Limits) -> Result<Self, Fault> {
        let mut policy = read::read(file)?;
        crate::verify::verify(&policy, limits)?;
        policy.callers = caller::lines(&policy);
        policy.steps = walk::steps(&policy);
        Ok(policy)
    }

    /// The row with this id.
    #[inline]
    pub fn get<R: Row>(&self, id: Id<R>) -> R {
        // The width is a constant here, so that reading a row's columns checks no bounds.
        let start = self.tables[R::TABLE as usize].start + id.number() as usize * R::WIDTH;
        R::read(&self.words[start..start + R::WIDTH])
    }

    /// Rows in order.
    pub fn rows<R: Row>(&self, rows: Rows<R>) -> impl Iterator<Item = R> + use<'_, R> {
        rows.ids().map(|id| self.get(id))
    }

    /// Every row of a table.
    pub fn all<R: Row>(&self) -> Rows<R> {
        Rows::new(0, self.count(R::TABLE))
    }

    /// How many rows a table has.
    pub fn count(&self, table: Table) -> u32 {
        u32::try_from(self.tables[table as usize].len() / table.width()).unwrap_or(u32::MAX)
    }

    /// The words of a row.
    #[inline]
    pub fn row_words(&self, table: Table, row: u32) -> &[u32] {
        let width = table.width();
        let start = self.tables[table as usize].start + row as usize * width;
        &self.words[start..start + width]
    }

    /// A text.
    pub fn text(&self, text: Text) -> &str {
        &self.text[text.offset as usize..][..text.len as usize]
    }

    /// The bytes of a text, without a second look at its characters.
    #[inline]
    pub fn bytes(&self, text: Text) -> &[u8] {
        &self.text.as_bytes()[text.offset as usize..][..text.len as usize]
    }

    /// An instruction; `None` past the end of the code.
    #[inline]
    pub fn instr(&self, pc: u32) -> Option<Instr> {
        self.code.get(pc as usize).copied()
    }

    /// Instructions in the code section.
    pub fn code_len(&self) -> u32 {
        u32::try_from(self.code.len()).unwrap_or(u32::MAX)
    }

    /// The anchored automaton of a regex.
    pub fn automaton(&self, regex: Id<Regex>) -> &dense::DFA<Vec<u32>> {
        &self.automata[self.automaton_of[regex.index()] as usize]
    }

    /// For every automaton, one regex that has it.
    pub(crate) fn regexes(&self) -> impl Iterator<Item = Id<Regex>> + '_ {
        let mut next = 0;
        let numbered = (0..).zip(&self.automaton_of);
        numbered.filter_map(move |(row, &automaton)| {
            let new = automaton == next;
            next += u32::from(new);
            new.then_some(Id::new(row))
        })
    }

    /// What holds for the whole artifact.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The memory that decisions read at random. For who can ask the system to hold it in larger pages.
    pub fn memory(&self) -> [&[u8]; 2] {
        [bytemuck::cast_slice(&self.words), self.text.as_bytes()]
    }

    /// What decisions read of callers, likewise.
    pub fn callers(&self) -> &[Caller] {
        &self.callers
    }

    /// The nodes of path trees, likewise.
    #[inline]
    pub(crate) fn steps(&self, nodes: Rows<Node>) -> &[Step] {
        &self.steps[nodes.first as usize..][..nodes.count as usize]
    }

    #[inline]
    pub(crate) fn caller(&self, credential: Id<Credential>) -> &Caller {
        &self.callers[credential.index()]
    }

    /// The salt of credentials, made ready.
    pub(crate) const fn salted(&self) -> &Salted {
        &self.salted
    }

    /// Digest of the compiled source.
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Digest of the artifact's head, which covers every section's digest.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The number that the compiler was given.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Seeds of an index, as they are stored.
    pub(crate) fn seeds(&self, rows: Rows<crate::table::Seed>) -> &[u32] {
        let start = self.tables[Table::Seed as usize].start + rows.first as usize;
        &self.words[start..start + rows.count as usize]
    }

    /// All texts, one after the other.
    pub(crate) fn texts(&self) -> &str {
        &self.text
    }
}

impl core::fmt::Debug for Policy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Policy")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
