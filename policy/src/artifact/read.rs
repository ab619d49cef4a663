//! Reads the file's frame: header, section table, digests, padding. What the rows mean is `verify`'s business.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use regex_automata::dfa::dense;

use super::{
    AUTOMATA, CODE, ENDIANNESS, FILE_MAX, HEAD_DIGEST_LEN, HEADER_LEN, MAGIC, Policy, SECTION_LEN, TEXT,
    VERSION,
};
use crate::digest::{self, Salted};
use crate::fault::{Fault, FaultKind};
use crate::isa::Instr;
use crate::table::{Automaton, Cell, Meta, Regex, Row, Table};

struct Section {
    kind: u32,
    row_words: u32,
    bytes: Range<usize>,
}

struct Frame {
    id: [u8; 32],
    digest: [u8; 32],
    generation: u64,
    sections: Vec<Section>,
}

pub(super) fn read(file: &[u8]) -> Result<Policy, Fault> {
    // Cheap refusals first: nothing is allocated for what is not even an artifact of this length.
    plausible(file)?;
    // Copied before anything is believed: the caller's buffer may be a mapping that somebody still writes to.
    let mut words: Box<[u32]> = vec![0; file.len() / 4].into_boxed_slice();
    bytemuck::cast_slice_mut::<u32, u8>(&mut words).copy_from_slice(file);
    let copy: &[u8] = bytemuck::cast_slice(&words);
    plausible(copy)?;
    let frame = frame(copy)?;
    check_bodies(copy, &frame)?;
    assemble(words, &frame)
}

fn fault(at: usize, kind: FaultKind) -> Fault {
    Fault {
        section: "header",
        at: at as u64,
        kind,
    }
}

fn array<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], Fault> {
    file.get(at..at + N)
        .and_then(|b| b.try_into().ok())
        .ok_or(fault(at, FaultKind::Truncated))
}

fn u32_at(file: &[u8], at: usize) -> Result<u32, Fault> {
    Ok(u32::from_le_bytes(array(file, at)?))
}

fn u64_at(file: &[u8], at: usize) -> Result<u64, Fault> {
    Ok(u64::from_le_bytes(array(file, at)?))
}

fn plausible(file: &[u8]) -> Result<(), Fault> {
    if array::<8>(file, 0)? != MAGIC {
        return Err(fault(0, FaultKind::Magic));
    }
    let major = u16::from_le_bytes(array(file, 8)?);
    let minor = u16::from_le_bytes(array(file, 10)?);
    if major != VERSION.0 || minor > VERSION.1 {
        return Err(fault(8, FaultKind::Version(major, VERSION.0)));
    }
    if u32_at(file, 12)? != ENDIANNESS {
        return Err(fault(12, FaultKind::Magic));
    }
    let stated = u64_at(file, 16)?;
    match stated.cmp(&(file.len() as u64)) {
        core::cmp::Ordering::Greater => return Err(fault(16, FaultKind::Truncated)),
        core::cmp::Ordering::Less => return Err(fault(16, FaultKind::TrailingBytes)),
        core::cmp::Ordering::Equal => {}
    }
    if !file.len().is_multiple_of(8) || file.len() > FILE_MAX {
        return Err(fault(16, FaultKind::Layout));
    }
    Ok(())
}

fn frame(file: &[u8]) -> Result<Frame, Fault> {
    let count = u32_at(file, 32)? as usize;
    if count > Table::ALL.len() + 3 {
        return Err(fault(32, FaultKind::Layout));
    }
    let head_len = HEADER_LEN + count * SECTION_LEN + HEAD_DIGEST_LEN;
    if u32_at(file, 36)? as usize != head_len || head_len > file.len() {
        return Err(fault(32, FaultKind::Layout));
    }
    let covered = head_len - HEAD_DIGEST_LEN;
    let head_digest: [u8; 32] = array(file, covered)?;
    if digest::plain(&file[..covered]) != head_digest {
        return Err(fault(covered, FaultKind::Digest));
    }
    if array::<32>(file, 72)? != [0; 32] {
        return Err(fault(72, FaultKind::Feature));
    }
    Ok(Frame {
        id: array(file, 40)?,
        digest: head_digest,
        generation: u64_at(file, 24)?,
        sections: sections(file, count, head_len)?,
    })
}

fn sections(file: &[u8], count: usize, head_len: usize) -> Result<Vec<Section>, Fault> {
    let mut sections: Vec<Section> = Vec::with_capacity(count);
    let mut end = head_len;
    for number in 0..count {
        let at = HEADER_LEN + number * SECTION_LEN;
        let kind = u32_at(file, at)?;
        let offset = usize::try_from(u64_at(file, at + 8)?).unwrap_or(usize::MAX);
        let len = usize::try_from(u64_at(file, at + 16)?).unwrap_or(usize::MAX);
        let ordered = sections.last().is_none_or(|before| before.kind < kind);
        let start = end.next_multiple_of(8);
        if !ordered || offset != start || len > file.len().saturating_sub(offset) {
            return Err(fault(at, FaultKind::Layout));
        }
        if let Some(byte) = file[end..start].iter().position(|&byte| byte != 0) {
            return Err(fault(end + byte, FaultKind::Padding));
        }
        end = offset + len;
        sections.push(Section {
            kind,
            row_words: u32_at(file, at + 4)?,
            bytes: offset..end,
        });
    }
    if end.next_multiple_of(8) != file.len() {
        return Err(fault(end, FaultKind::TrailingBytes));
    }
    match file[end..].iter().position(|&byte| byte != 0) {
        Some(byte) => Err(fault(end + byte, FaultKind::Padding)),
        None => Ok(sections),
    }
}

fn check_bodies(file: &[u8], frame: &Frame) -> Result<(), Fault> {
    for (number, section) in frame.sections.iter().enumerate() {
        let at = HEADER_LEN + number * SECTION_LEN + 24;
        if digest::plain(&file[section.bytes.clone()]) != array::<32>(file, at)? {
            return Err(Fault {
                section: name(section.kind),
                at: 0,
                kind: FaultKind::Digest,
            });
        }
    }
    Ok(())
}

fn name(kind: u32) -> &'static str {
    match kind {
        TEXT => "Text",
        AUTOMATA => "Automata",
        CODE => "Code",
        kind => Table::ALL
            .get(kind as usize)
            .map_or("unknown section", |table| table.name()),
    }
}

fn assemble(words: Box<[u32]>, frame: &Frame) -> Result<Policy, Fault> {
    const EMPTY: Range<usize> = 0..0;
    let mut tables = [EMPTY; Table::ALL.len()];
    let (mut text, mut automata, mut code) = (EMPTY, EMPTY, EMPTY);
    for section in &frame.sections {
        let refuse = |kind| {
            Err(Fault {
                section: name(section.kind),
                at: 0,
                kind,
            })
        };
        let in_words = section.bytes.start / 4..section.bytes.end / 4;
        match section.kind {
            TEXT if section.row_words == 0 => text = section.bytes.clone(),
            AUTOMATA if section.row_words == 0 => automata = section.bytes.clone(),
            CODE if section.row_words == 2 && section.bytes.len() % 8 == 0 => code = in_words,
            TEXT | AUTOMATA | CODE => return refuse(FaultKind::Width),
            kind => {
                let Some(table) = Table::ALL.get(kind as usize) else {
                    return refuse(FaultKind::Layout);
                };
                let whole = section.bytes.len() % (4 * table.width()) == 0;
                if section.row_words as usize != table.width() || !whole {
                    return refuse(FaultKind::Width);
                }
                tables[kind as usize] = in_words;
            }
        }
    }
    let text = load_text(bytemuck::cast_slice(&words[..]), text)?;
    let code = load_code(&words[code])?;
    let meta_words = tables[Table::Meta as usize].clone();
    if meta_words.len() != Meta::WIDTH {
        return Err(Fault {
            section: "Meta",
            at: 0,
            kind: FaultKind::Missing,
        });
    }
    crate::verify::choices(Meta::COLUMNS, &words[meta_words.clone()]).map_err(|kind| Fault {
        section: "Meta",
        at: 0,
        kind,
    })?;
    let meta = Meta::read(&words[meta_words]);
    let (automata, automaton_of) = load_automata(&words, &tables[Table::Regex as usize], &automata)?;
    let (id, digest, generation) = (frame.id, frame.digest, frame.generation);
    Ok(Policy {
        words,
        tables,
        text,
        code,
        automata,
        automaton_of,
        salted: Salted::new(&meta.salt),
        // Made of what is verified, which this is not yet.
        callers: Box::default(),
        steps: Box::default(),
        meta,
        id,
        digest,
        generation,
    })
}

fn load_text(file: &[u8], place: Range<usize>) -> Result<Box<str>, Fault> {
    let text = core::str::from_utf8(&file[place]).map_err(|error| Fault {
        section: "Text",
        at: error.valid_up_to() as u64,
        kind: FaultKind::Text,
    })?;
    Ok(text.into())
}

fn load_code(words: &[u32]) -> Result<Box<[Instr]>, Fault> {
    let pairs = words.chunks_exact(2).zip(0..);
    pairs
        .map(|(pair, at)| {
            Instr::from_words([pair[0], pair[1]]).ok_or(Fault {
                section: "Code",
                at,
                kind: FaultKind::Opcode(pair[0].to_le_bytes()[0]),
            })
        })
        .collect()
}

type Automata = (Vec<dense::DFA<Vec<u32>>>, Vec<u32>);

/// Reads every automaton once, whatever number of regexes has it. All of them together are no longer than the
/// section, so that overlapping ones cannot fill the memory.
fn load_automata(words: &[u32], table: &Range<usize>, automata: &Range<usize>) -> Result<Automata, Fault> {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    let section = &bytes[automata.clone()];
    let mut known: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let (mut loaded, mut automaton_of) = (Vec::new(), Vec::with_capacity(table.len() / Regex::WIDTH));
    let mut left = section.len();
    for (row, words) in words[table.clone()].chunks_exact(Regex::WIDTH).enumerate() {
        let place = Automaton::read(words);
        let fault = |kind| Fault {
            section: "Regex",
            at: row as u64,
            kind,
        };
        if let Some(&number) = known.get(&(place.offset, place.len)) {
            automaton_of.push(number);
            continue;
        }
        let end = (place.offset as usize).saturating_add(place.len as usize);
        let dfa = section
            .get(place.offset as usize..end)
            .ok_or(fault(FaultKind::Reference("dfa")))?;
        left = left.checked_sub(dfa.len()).ok_or(fault(FaultKind::Automaton))?;
        // Its own reader checks every state and transition; all its bytes must be the automaton's.
        let (dfa, read) = dense::DFA::from_bytes(dfa).map_err(|_error| fault(FaultKind::Automaton))?;
        if read != place.len as usize {
            return Err(fault(FaultKind::Automaton));
        }
        let number = u32::try_from(loaded.len()).map_err(|_error| fault(FaultKind::Automaton))?;
        known.insert((place.offset, place.len), number);
        automaton_of.push(number);
        loaded.push(dfa.to_owned());
    }
    Ok((loaded, automaton_of))
}

const _: () = assert!(matches!(Regex::COLUMNS[0].shape, crate::table::Shape::Automaton));
