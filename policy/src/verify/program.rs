//! Proves every entry: jumps forward, registers set before use and of the right kind on every path, a verdict at
//! every end, and the cost of the longest path.

use alloc::collections::BTreeMap;

use crate::artifact::{Limits, Policy};
use crate::cost::Costs;
use crate::fault::{Fault, FaultKind};
use crate::isa::{APPLICABLE, Entry, Instr, Op, REGISTERS};
use crate::table::{Code, Consumer, Id, Name, Refusal, Regex, Route, Row, Select, Table};
use crate::vm::{EFFECTS_MAX, Question};

/// What a register holds on every path that leads here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unset,
    Text,
    Credential,
    Row(Table),
}

#[derive(Clone, Copy)]
struct Facts {
    registers: [Kind; REGISTERS],
    body_known: bool,
    effects: usize,
    cost: u32,
}

impl Facts {
    const START: Self = Self {
        registers: [Kind::Unset; REGISTERS],
        body_known: false,
        effects: 0,
        cost: 0,
    };

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            if mine != theirs {
                *mine = Kind::Unset;
            }
        }
        self.body_known &= other.body_known;
        self.effects = self.effects.max(other.effects);
        self.cost = self.cost.max(other.cost);
    }
}

pub(super) fn check(policy: &Policy, limits: Limits) -> Result<(), Fault> {
    let mut prover = Prover::new(policy);
    for id in policy.all::<Route>().ids() {
        let route = policy.get(id);
        let fault = |kind| Fault {
            section: "Route",
            at: u64::from(id.number()),
            kind,
        };
        let proven = prover.route(&route)?;
        if proven != route.cost {
            return Err(fault(FaultKind::CostMismatch(route.cost, proven)));
        }
        if proven > limits.program_cost {
            return Err(fault(FaultKind::Cost(proven, limits.program_cost)));
        }
    }
    Ok(())
}

/// The cost of every route's entries, for the builder to state.
pub(crate) fn prove(policy: &Policy) -> Result<alloc::vec::Vec<u32>, Fault> {
    let mut prover = Prover::new(policy);
    policy
        .rows(policy.all::<Route>())
        .map(|route| prover.route(&route))
        .collect()
}

struct Prover<'p> {
    policy: &'p Policy,
    costs: Costs<'p>,
    proven: BTreeMap<(u32, u8), u32>,
    /// Instructions that may still be looked at: each one once for each entry, so that no choice of overlapping
    /// programs takes more than linear time. Builders write programs that do not overlap.
    left: u64,
}

impl<'p> Prover<'p> {
    fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            costs: Costs::of(policy),
            proven: BTreeMap::new(),
            left: u64::from(policy.code_len()) * Entry::ALL.len() as u64,
        }
    }

    fn route(&mut self, route: &Route) -> Result<u32, Fault> {
        let starts = [
            route.on_request,
            route.on_body,
            route.on_response,
            route.on_chunk,
            route.on_end,
        ];
        let mut sum = 0u32;
        for (entry, Code(start)) in Entry::ALL.into_iter().zip(starts) {
            let Some(start) = start else { continue };
            let key = (start, entry as u8);
            let cost = match self.proven.get(&key) {
                Some(&cost) => cost,
                None => self.entry(start, entry)?,
            };
            self.proven.insert(key, cost);
            sum = sum.saturating_add(cost);
        }
        Ok(sum)
    }

    fn entry(&mut self, start: u32, entry: Entry) -> Result<u32, Fault> {
        let mut open = BTreeMap::from([(start, Facts::START)]);
        let mut longest = 0;
        while let Some((pc, facts)) = open.pop_first() {
            let fault = |kind| Fault {
                section: "Code",
                at: u64::from(pc),
                kind,
            };
            let instr = self.policy.instr(pc).ok_or(fault(FaultKind::NoVerdict))?;
            self.left = self.left.checked_sub(1).ok_or(fault(FaultKind::Entangled))?;
            let after = self.step(instr, entry, facts).map_err(fault)?;
            longest = longest.max(after.cost);
            if !instr.op.ends() && instr.op != Op::Jump {
                reach(&mut open, pc + 1, &after);
            }
            if instr.op.jumps() {
                let target = pc.checked_add(u32::from(instr.to)).filter(|&target| target > pc);
                let target = target.filter(|&target| target < self.policy.code_len());
                // The register that a failed test would have set keeps what it held before.
                let skipped = Facts {
                    registers: facts.registers,
                    ..after
                };
                reach(&mut open, target.ok_or(fault(FaultKind::Jump))?, &skipped);
            }
        }
        Ok(longest)
    }

    fn step(&self, instr: Instr, entry: Entry, before: Facts) -> Result<Facts, FaultKind> {
        let Instr { op, a, to, imm } = instr;
        if !op.allowed(entry) {
            return Err(FaultKind::Entry);
        }
        let mut facts = before;
        if let Some(table) = op.operand() {
            holds(&before, a, Kind::Row(table))?;
        }
        match op {
            Op::Refuse => self.row::<Refusal>(imm)?,
            Op::Wait if imm as usize >= Question::ALL.len() => return Err(FaultKind::Value("question")),
            Op::Wait => facts.body_known = true,
            Op::Constant => {
                let table = table(to)?;
                if imm >= self.policy.count(table) {
                    return Err(FaultKind::Reference("constant"));
                }
                set(&mut facts, a, Kind::Row(table))?;
            }
            Op::Select => {
                self.row::<Select>(imm)?;
                let kind = u16::try_from(self.policy.get(Id::<Select>::new(imm)).kind).unwrap_or(u16::MAX);
                set(&mut facts, a, Kind::Row(table(kind)?))?;
            }
            Op::Header | Op::Query => {
                self.row::<Name>(imm)?;
                set(&mut facts, a, Kind::Text)?;
            }
            Op::BodyArgument => {
                self.row::<Name>(imm)?;
                if !before.body_known {
                    return Err(FaultKind::Entry);
                }
                set(&mut facts, a, Kind::Text)?;
            }
            Op::Several | Op::Empty => holds(&before, a, Kind::Text)?,
            Op::Match => {
                self.row::<Regex>(imm)?;
                holds(&before, a, Kind::Text)?;
            }
            Op::Key | Op::Basic => {
                holds(&before, u8::try_from(imm).unwrap_or(u8::MAX), Kind::Text)?;
                set(&mut facts, a, Kind::Credential)?;
            }
            Op::Identify => holds(&before, a, Kind::Credential)?,
            Op::Anonymous => self.row::<Consumer>(imm)?,
            Op::Reserve if entry == Entry::Request && !before.body_known => return Err(FaultKind::Entry),
            Op::Size => facts.effects += 1,
            Op::Apply => {
                let table = table(to)?;
                if !APPLICABLE.contains(&table) {
                    return Err(FaultKind::Value("apply"));
                }
                holds(&before, a, Kind::Row(table))?;
                facts.effects += 1;
            }
            _ => {}
        }
        if facts.effects > EFFECTS_MAX {
            return Err(FaultKind::Effects);
        }
        // Last, because it reads the rows that were judged above.
        facts.cost = facts.cost.saturating_add(self.costs.of_instr(instr));
        Ok(facts)
    }

    fn row<R: Row>(&self, number: u32) -> Result<(), FaultKind> {
        if number < self.policy.count(R::TABLE) {
            Ok(())
        } else {
            Err(FaultKind::Reference(R::TABLE.name()))
        }
    }
}

fn reach(open: &mut BTreeMap<u32, Facts>, pc: u32, facts: &Facts) {
    open.entry(pc)
        .and_modify(|known| known.join(facts))
        .or_insert(*facts);
}

fn table(number: u16) -> Result<Table, FaultKind> {
    Table::ALL
        .get(usize::from(number))
        .copied()
        .ok_or(FaultKind::Value("table"))
}

fn holds(facts: &Facts, register: u8, kind: Kind) -> Result<(), FaultKind> {
    match facts.registers.get(usize::from(register)) {
        None => Err(FaultKind::Register(register)),
        Some(&held) if held == kind => Ok(()),
        Some(_) => Err(FaultKind::Operand(register)),
    }
}

fn set(facts: &mut Facts, register: u8, kind: Kind) -> Result<(), FaultKind> {
    let place = facts
        .registers
        .get_mut(usize::from(register))
        .ok_or(FaultKind::Register(register))?;
    *place = kind;
    Ok(())
}
