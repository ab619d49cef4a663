//! The code section: one instruction a line, with the entries that start there and the places that jumps go to.

use std::collections::{BTreeMap, BTreeSet};

use policy::Policy;
use policy::isa::{Entry, Instr, Op};
use policy::table::{Code, Id, Name, Refusal, Regex, Route, Select, Table};

use serde_json::{Value, json};

use super::{line, quoted};

pub(super) fn listing(policy: &Policy, out: &mut String) {
    if policy.code_len() == 0 {
        return;
    }
    line(out, format_args!("\n[Code]"));
    let entries = entries(policy);
    let targets: BTreeSet<u32> = (0..policy.code_len())
        .filter_map(|pc| policy.instr(pc).and_then(|instr| target(pc, instr)))
        .collect();
    for pc in 0..policy.code_len() {
        for title in entries.get(&pc).into_iter().flatten() {
            line(out, format_args!("; {title}"));
        }
        let mark = if targets.contains(&pc) { '>' } else { ' ' };
        let words = policy
            .instr(pc)
            .map_or_else(|| "?".to_owned(), |instr| instruction(policy, pc, instr));
        line(out, format_args!("{mark}@{pc:<5} {words}"));
    }
}

/// The instructions in order: their text, and the entries that start there.
pub(super) fn document(policy: &Policy) -> Value {
    let mut entries = entries(policy);
    let instructions = (0..policy.code_len()).map(|pc| {
        let words = policy.instr(pc).map(|instr| instruction(policy, pc, instr));
        json!({"at": pc, "instruction": words, "starts": entries.remove(&pc).unwrap_or_default()})
    });
    instructions.collect()
}

/// What starts where. Routes that share a program are counted, not listed, beyond the first three.
fn entries(policy: &Policy) -> BTreeMap<u32, Vec<String>> {
    let mut starts: BTreeMap<(u32, &str), Vec<String>> = BTreeMap::new();
    for id in policy.all::<Route>().ids() {
        let route = policy.get(id);
        let codes = [
            route.on_request,
            route.on_body,
            route.on_response,
            route.on_chunk,
            route.on_end,
        ];
        let title = match policy.text(route.name) {
            "" if id == policy.meta().unmatched => "no route".to_owned(),
            "" => format!("Route#{}", id.number()),
            name => format!("Route#{} {}", id.number(), quoted(name)),
        };
        for (entry, Code(start)) in Entry::ALL.into_iter().zip(codes) {
            if let Some(start) = start {
                starts
                    .entry((start, entry.name()))
                    .or_default()
                    .push(title.clone());
            }
        }
    }
    let mut titles: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for ((start, entry), routes) in starts {
        let more = match routes.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = routes[..routes.len().min(3)].join(", ");
        titles
            .entry(start)
            .or_default()
            .push(format!("{entry} of {shown}{more}"));
    }
    titles
}

fn target(pc: u32, instr: Instr) -> Option<u32> {
    instr.op.jumps().then(|| pc + u32::from(instr.to))
}

fn instruction(policy: &Policy, pc: u32, instr: Instr) -> String {
    let Instr { op, a, to, imm } = instr;
    let name = op.name();
    let table = Table::ALL.get(usize::from(to)).map_or("?", |table| table.name());
    let text = |row: u32| quoted(policy.text(policy.get(Id::<Name>::new(row)).text));
    let words = match op {
        Op::Forward => name.to_owned(),
        Op::Refuse => {
            let refusal = policy.get(Id::<Refusal>::new(imm));
            let (plugin, message) = (policy.text(refusal.plugin), quoted(policy.text(refusal.message)));
            format!("{name} Refusal#{imm}  ; {plugin}: {} {message}", refusal.status)
        }
        Op::Wait => format!("{name} body"),
        Op::Jump => format!("{name} @{}", pc + u32::from(to)),
        Op::Constant => format!("r{a} = {table}#{imm}"),
        Op::Select => {
            let kind = policy.get(Id::<Select>::new(imm)).kind as usize;
            let kind = Table::ALL.get(kind).map_or("?", |table| table.name());
            format!("r{a} = {name} Select#{imm}  ; a {kind}")
        }
        Op::Header | Op::Query | Op::BodyArgument => format!("r{a} = {name} {}", text(imm)),
        Op::Several | Op::Empty => format!("{name} r{a}"),
        Op::Method => format!("{name} {}", methods(imm)),
        Op::Match => {
            let patterns = policy.get(Id::<Regex>::new(imm)).patterns;
            let first = patterns
                .ids()
                .next()
                .map_or_else(String::new, |id| text(id.number()));
            format!("{name} r{a} Regex#{imm}  ; {first}")
        }
        Op::Key | Op::Basic => format!("r{a} = {name} r{imm}"),
        Op::Identify => format!("{name} r{a}"),
        Op::Anonymous => format!("{name} Consumer#{imm}"),
        Op::Authenticated => name.to_owned(),
        Op::Respond | Op::Acl | Op::Ip | Op::Take | Op::Reserve | Op::Size | Op::Preflight => {
            format!("{name} r{a}")
        }
        Op::Apply => format!("{name} {table} r{a}"),
    };
    match target(pc, instr) {
        Some(target) if op != Op::Jump => format!("{words}  else @{target}"),
        _ => words,
    }
}

fn methods(mask: u32) -> String {
    let names: Vec<&str> = policy::field::Method::NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| mask >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect();
    names.join("|")
}
