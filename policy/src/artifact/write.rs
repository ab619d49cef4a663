//! Writes artifacts. Rows, texts and automata are numbered as they come; equal texts, lists and automata are
//! stored once. The bytes depend on nothing but the calls made.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{AUTOMATA, CODE, ENDIANNESS, HEAD_DIGEST_LEN, HEADER_LEN, MAGIC, SECTION_LEN, TEXT, VERSION};
use crate::digest;
use crate::fault::Fault;
use crate::isa::Instr;
use crate::table::{Automaton, Id, Meta, Name, Route, Row, Rows, Table, Text};

/// A section outgrew what 32-bit numbers can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// Why an artifact cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A section outgrew what 32-bit numbers can name.
    Overflow,
    /// The rows or programs written are not sound: a fault of the compiler.
    Unsound(Fault),
}

impl From<Overflow> for BuildError {
    fn from(Overflow: Overflow) -> Self {
        Self::Overflow
    }
}

/// An artifact being written.
pub struct Builder {
    tables: Vec<Vec<u32>>,
    lists: Vec<BTreeMap<Vec<u32>, u32>>,
    text: String,
    texts: BTreeMap<String, Text>,
    automata: Vec<u8>,
    automata_by_bytes: BTreeMap<Vec<u8>, Automaton>,
    code: Vec<u32>,
    programs: BTreeMap<Vec<u32>, u32>,
    overflow: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            tables: vec![Vec::new(); Table::ALL.len()],
            lists: vec![BTreeMap::new(); Table::ALL.len()],
            text: String::new(),
            texts: BTreeMap::new(),
            automata: Vec::new(),
            automata_by_bytes: BTreeMap::new(),
            code: Vec::new(),
            programs: BTreeMap::new(),
            overflow: false,
        }
    }
}

impl Builder {
    /// An empty artifact.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a text, or finds it again.
    pub fn text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::EMPTY;
        }
        if let Some(&stored) = self.texts.get(text) {
            return stored;
        }
        let stored = Text {
            offset: self.narrow(self.text.len()),
            len: self.narrow(text.len()),
        };
        self.text.push_str(text);
        self.texts.insert(text.to_string(), stored);
        stored
    }

    /// Stores a text that is known to be its only copy, such as an id: no memory is spent to find it again.
    pub fn unique_text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::EMPTY;
        }
        let stored = Text {
            offset: self.narrow(self.text.len()),
            len: self.narrow(text.len()),
        };
        self.text.push_str(text);
        stored
    }

    /// Stores a list of texts, or finds it again.
    pub fn names<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) -> Rows<Name> {
        let rows: Vec<Name> = texts
            .into_iter()
            .map(|text| Name {
                text: self.text(text),
            })
            .collect();
        self.list(&rows)
    }

    /// Adds a row.
    pub fn row<R: Row>(&mut self, row: &R) -> Id<R> {
        let number = self.count::<R>();
        row.write(&mut self.tables[R::TABLE as usize]);
        Id::new(number)
    }

    /// Adds consecutive rows, or finds an equal list again.
    pub fn list<R: Row>(&mut self, rows: &[R]) -> Rows<R> {
        let count = self.narrow(rows.len());
        if count == 0 {
            return Rows::NONE;
        }
        let mut words = Vec::with_capacity(rows.len() * R::WIDTH);
        for row in rows {
            row.write(&mut words);
        }
        let first = self.count::<R>();
        if let Some(&first) = self.lists[R::TABLE as usize].get(&words) {
            return Rows::new(first, count);
        }
        self.tables[R::TABLE as usize].extend_from_slice(&words);
        self.lists[R::TABLE as usize].insert(words, first);
        Rows::new(first, count)
    }

    /// Adds consecutive rows without looking for an equal list.
    pub fn unique_list<R: Row>(&mut self, rows: &[R]) -> Rows<R> {
        let (first, count) = (self.count::<R>(), self.narrow(rows.len()));
        for row in rows {
            row.write(&mut self.tables[R::TABLE as usize]);
        }
        if count == 0 {
            Rows::NONE
        } else {
            Rows::new(first, count)
        }
    }

    /// Overwrites a row that was added before, for rows that name each other.
    pub fn set<R: Row>(&mut self, id: Id<R>, row: &R) {
        let mut words = Vec::with_capacity(R::WIDTH);
        row.write(&mut words);
        let start = id.index() * R::WIDTH;
        self.tables[R::TABLE as usize][start..start + R::WIDTH].copy_from_slice(&words);
    }

    /// Rows of a table so far.
    pub fn count<R: Row>(&self) -> u32 {
        u32::try_from(self.tables[R::TABLE as usize].len() / R::WIDTH).unwrap_or(u32::MAX)
    }

    /// Stores a serialised automaton, or finds it again.
    pub fn automaton(&mut self, bytes: &[u8]) -> Automaton {
        if let Some(&stored) = self.automata_by_bytes.get(bytes) {
            return stored;
        }
        self.automata.resize(self.automata.len().next_multiple_of(8), 0);
        let stored = Automaton {
            offset: self.narrow(self.automata.len()),
            len: self.narrow(bytes.len()),
        };
        self.automata.extend_from_slice(bytes);
        self.automata_by_bytes.insert(bytes.to_vec(), stored);
        stored
    }

    /// Stores a program, or finds it again; its first instruction.
    pub fn program(&mut self, instrs: &[Instr]) -> u32 {
        let words: Vec<u32> = instrs.iter().flat_map(|instr| instr.words()).collect();
        if let Some(&start) = self.programs.get(&words) {
            return start;
        }
        let start = self.narrow(self.code.len() / 2);
        self.code.extend_from_slice(&words);
        self.programs.insert(words, start);
        start
    }

    /// The file, with the cost of every route stated.
    ///
    /// # Errors
    /// [`BuildError`] when a section outgrew 32-bit numbers, or when what was written cannot be proved.
    pub fn finish(mut self, id: [u8; 32], generation: u64) -> Result<Vec<u8>, BuildError> {
        if self.overflow {
            return Err(BuildError::Overflow);
        }
        let draft = super::read::read(&self.write(id, generation)?).map_err(BuildError::Unsound)?;
        let costs = crate::verify::prove_draft(&draft).map_err(BuildError::Unsound)?;
        for (route, cost) in draft.all::<Route>().ids().zip(costs.routes) {
            self.set(
                route,
                &Route {
                    cost,
                    ..draft.get(route)
                },
            );
        }
        self.set(
            Id::new(0),
            &Meta {
                route_cost: costs.search,
                ..*draft.meta()
            },
        );
        Ok(self.write(id, generation)?)
    }

    fn write(&self, id: [u8; 32], generation: u64) -> Result<Vec<u8>, Overflow> {
        let mut sections: Vec<(u32, u32, Vec<u8>)> = Vec::new();
        for (table, words) in Table::ALL.iter().zip(&self.tables) {
            if !words.is_empty() {
                let width = u32::try_from(table.width()).map_err(|_error| Overflow)?;
                sections.push((*table as u32, width, bytemuck::cast_slice(words).to_vec()));
            }
        }
        sections.push((TEXT, 0, self.text.as_bytes().to_vec()));
        sections.push((AUTOMATA, 0, self.automata.clone()));
        sections.push((CODE, 2, bytemuck::cast_slice(&self.code).to_vec()));
        assemble(&sections, id, generation)
    }

    fn narrow(&mut self, value: usize) -> u32 {
        u32::try_from(value).unwrap_or_else(|_| {
            self.overflow = true;
            u32::MAX
        })
    }
}

fn assemble(sections: &[(u32, u32, Vec<u8>)], id: [u8; 32], generation: u64) -> Result<Vec<u8>, Overflow> {
    let head_len = HEADER_LEN + sections.len() * SECTION_LEN + HEAD_DIGEST_LEN;
    let file_len = sections.iter().fold(head_len, |end, (_, _, bytes)| {
        end.next_multiple_of(8) + bytes.len()
    });
    let file_len = file_len.next_multiple_of(8);
    let mut file = Vec::with_capacity(file_len);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.0.to_le_bytes());
    file.extend_from_slice(&VERSION.1.to_le_bytes());
    file.extend_from_slice(&ENDIANNESS.to_le_bytes());
    file.extend_from_slice(&(file_len as u64).to_le_bytes());
    file.extend_from_slice(&generation.to_le_bytes());
    file.extend_from_slice(
        &u32::try_from(sections.len())
            .map_err(|_error| Overflow)?
            .to_le_bytes(),
    );
    file.extend_from_slice(&u32::try_from(head_len).map_err(|_error| Overflow)?.to_le_bytes());
    file.extend_from_slice(&id);
    file.extend_from_slice(&[0; 32]);
    let mut end = head_len;
    for (kind, row_words, bytes) in sections {
        let offset = end.next_multiple_of(8);
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&row_words.to_le_bytes());
        file.extend_from_slice(&(offset as u64).to_le_bytes());
        file.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        file.extend_from_slice(&digest::plain(bytes));
        end = offset + bytes.len();
    }
    let head_digest = digest::plain(&file);
    file.extend_from_slice(&head_digest);
    for (_, _, bytes) in sections {
        file.resize(file.len().next_multiple_of(8), 0);
        file.extend_from_slice(bytes);
    }
    file.resize(file_len, 0);
    Ok(file)
}
