//! Changes bytes of a finished artifact behind its digests.

use policy::digest;
use policy::table::Table;

const HEADER: usize = 104;
const ENTRY: usize = 56;
pub(crate) const TEXT: u32 = 200;
pub(crate) const AUTOMATA: u32 = 201;
pub(crate) const CODE: u32 = 202;

/// A section as the file's own table describes it.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) kind: u32,
    /// Where its entry stands.
    pub(crate) entry: usize,
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

pub(crate) fn sections(file: &[u8]) -> Vec<Section> {
    (0..word(file, 32) as usize)
        .map(|number| {
            let entry = HEADER + number * ENTRY;
            Section {
                kind: word(file, entry),
                entry,
                offset: word(file, entry + 8) as usize,
                len: word(file, entry + 16) as usize,
            }
        })
        .collect()
}

pub(crate) fn section(file: &[u8], kind: u32) -> Section {
    sections(file)
        .into_iter()
        .find(|section| section.kind == kind)
        .expect("the sample fills every section")
}

pub(crate) fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn set_word(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Where a column of a row stands in the file.
pub(crate) fn place(file: &[u8], table: Table, row: u32, column: &str) -> usize {
    let mut words = 0;
    for known in table.columns() {
        if known.name == column {
            let section = section(file, table as u32);
            let at = section.offset + 4 * (row as usize * table.width() + words);
            assert!(at < section.offset + section.len, "the row exists");
            return at;
        }
        words += known.shape.width();
    }
    panic!("{} has no column {column}", table.name());
}

/// Computes one section's digest and the head's anew.
pub(crate) fn seal(file: &mut [u8], section: &Section) {
    let digest = digest::plain(&file[section.offset..section.offset + section.len]);
    file[section.entry + 24..section.entry + 56].copy_from_slice(&digest);
    seal_head(file);
}

pub(crate) fn seal_head(file: &mut [u8]) {
    let covered = HEADER + word(file, 32) as usize * ENTRY;
    let digest = digest::plain(&file[..covered]);
    file[covered..covered + 32].copy_from_slice(&digest);
}
