//! Programs and requests out of a stream of numbers, so that property tests and fuzzers share them.

use std::collections::BTreeMap;

use policy::artifact::Builder;
use policy::field::BodyLength;
use policy::isa::{APPLICABLE, Instr, Op, REGISTERS};
use policy::table::{Consumer, Id, Name, Refusal, Regex, Row, Select, Table};

use super::request::Request;

/// Numbers that run out into zeros.
pub(crate) struct Entropy<'e> {
    bytes: &'e [u8],
}

impl<'e> Entropy<'e> {
    pub(crate) fn new(bytes: &'e [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> u32 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        u32::from(first)
    }

    /// A number below `bound`, which is at most 256 and not 0.
    fn below(&mut self, bound: u32) -> u32 {
        self.byte() % bound
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        let count = u32::try_from(all.len()).expect("short lists");
        all[self.below(count) as usize]
    }
}

/// What a register holds, as the generator knows it.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Text,
    Credential,
    Row(Table),
}

#[derive(Clone)]
struct Known {
    registers: BTreeMap<u8, Holds>,
    body: bool,
    effects: u32,
}

impl Known {
    fn meet(&mut self, other: &Self) {
        self.registers
            .retain(|register, holds| other.registers.get(register) == Some(holds));
        self.body &= other.body;
        self.effects = self.effects.max(other.effects);
    }

    fn registers_with(&self, wanted: Holds) -> Vec<u8> {
        let all = self.registers.iter();
        all.filter(|(_, holds)| **holds == wanted)
            .map(|(register, _)| *register)
            .collect()
    }
}

/// A program of at most `len` instructions for the request entry. It follows the verifier's rules by its own
/// book-keeping, except that one in sixteen instructions is arbitrary.
pub(crate) fn program(entropy: &mut Entropy<'_>, builder: &Builder, len: u32) -> Vec<Instr> {
    let mut arriving: BTreeMap<u32, Known> = BTreeMap::from([(
        0,
        Known {
            registers: BTreeMap::new(),
            body: false,
            effects: 0,
        },
    )]);
    let mut program = Vec::new();
    for pc in 0..len {
        let left = len - pc;
        let Some(known) = arriving.remove(&pc) else {
            program.push(instr(Op::Forward, 0, 0, 0));
            continue;
        };
        let mut after = known.clone();
        let chosen = choose(entropy, builder, &mut after, left);
        if chosen.op.jumps() {
            let skipped = Known {
                registers: known.registers,
                ..after.clone()
            };
            arrive(&mut arriving, pc + u32::from(chosen.to), &skipped);
        }
        if !chosen.op.ends() && chosen.op != Op::Jump {
            arrive(&mut arriving, pc + 1, &after);
        }
        program.push(chosen);
    }
    let verdict = if entropy.below(3) == 0 {
        Op::Refuse
    } else {
        Op::Forward
    };
    program.push(instr(verdict, 0, 0, 0));
    program
}

fn arrive(arriving: &mut BTreeMap<u32, Known>, pc: u32, known: &Known) {
    arriving
        .entry(pc)
        .and_modify(|there| there.meet(known))
        .or_insert_with(|| known.clone());
}

const fn instr(op: Op, a: u8, to: u16, imm: u32) -> Instr {
    Instr { op, a, to, imm }
}

const USUAL: [Op; 28] = [
    Op::Constant,
    Op::Constant,
    Op::Select,
    Op::Header,
    Op::Header,
    Op::Query,
    Op::BodyArgument,
    Op::Several,
    Op::Empty,
    Op::Method,
    Op::Match,
    Op::Key,
    Op::Key,
    Op::Basic,
    Op::Identify,
    Op::Anonymous,
    Op::Authenticated,
    Op::Acl,
    Op::Ip,
    Op::Take,
    Op::Reserve,
    Op::Size,
    Op::Preflight,
    Op::Respond,
    Op::Apply,
    Op::Wait,
    Op::Jump,
    Op::Refuse,
];

fn choose(entropy: &mut Entropy<'_>, builder: &Builder, known: &mut Known, left: u32) -> Instr {
    let to = u16::try_from(1 + entropy.below(left.min(6))).expect("short programs");
    let a = u8::try_from(entropy.below(6)).expect("six registers");
    if entropy.below(64) == 0 {
        let op = entropy.pick(Op::ALL);
        return instr(
            op,
            u8::try_from(entropy.below(20)).expect("small"),
            to,
            entropy.byte(),
        );
    }
    // Rather something that can go on; what has no operand yet becomes a constant.
    let op = entropy.pick(&USUAL);
    let texts = known.registers_with(Holds::Text);
    match op {
        Op::Header | Op::Query | Op::BodyArgument if op != Op::BodyArgument || known.body => {
            known.registers.insert(a, Holds::Text);
            instr(op, a, to, row::<Name>(entropy, builder))
        }
        Op::Several | Op::Empty | Op::Match if !texts.is_empty() => {
            let imm = if op == Op::Match {
                row::<Regex>(entropy, builder)
            } else {
                0
            };
            instr(op, entropy.pick(&texts), to, imm)
        }
        Op::Key | Op::Basic if !texts.is_empty() => {
            known.registers.insert(a, Holds::Credential);
            instr(op, a, to, u32::from(entropy.pick(&texts)))
        }
        Op::Select => {
            known.registers.insert(a, Holds::Row(Table::Quota));
            instr(op, a, to, row::<Select>(entropy, builder))
        }
        Op::Method => instr(op, 0, to, 1 << entropy.below(32)),
        Op::Authenticated | Op::Jump => instr(op, 0, to, 0),
        Op::Anonymous => instr(op, 0, 0, row::<Consumer>(entropy, builder)),
        Op::Wait => {
            known.body = true;
            instr(op, 0, 0, 0)
        }
        Op::Refuse => instr(op, 0, 0, row::<Refusal>(entropy, builder)),
        _ => gate(entropy, builder, known, op, a),
    }
}

/// An operation on a row, or the constant that it lacks.
fn gate(entropy: &mut Entropy<'_>, builder: &Builder, known: &mut Known, op: Op, a: u8) -> Instr {
    let table = match op {
        Op::Apply => entropy.pick(&APPLICABLE),
        _ => op
            .operand()
            .unwrap_or(entropy.pick(&[Table::Acl, Table::Quota, Table::IpRule, Table::Cors])),
    };
    let wanted = if op == Op::Identify {
        Holds::Credential
    } else {
        Holds::Row(table)
    };
    let holders = known.registers_with(wanted);
    let effect = matches!(op, Op::Apply | Op::Size);
    let takes_row = op.operand().is_some() || matches!(op, Op::Apply | Op::Identify);
    let early = op == Op::Reserve && !known.body;
    let full = effect && known.effects >= 32;
    let usable = takes_row && !early && !full;
    if !holders.is_empty() && usable {
        known.effects += u32::from(effect);
        let to = if op == Op::Apply { table as u16 } else { 0 };
        return instr(op, entropy.pick(&holders), to, 0);
    }
    debug_assert!(usize::from(a) < REGISTERS);
    known.registers.insert(a, Holds::Row(table));
    instr(Op::Constant, a, table as u16, entropy.below(rows(builder, table)))
}

fn row<R: Row>(entropy: &mut Entropy<'_>, builder: &Builder) -> u32 {
    entropy.below(builder.count::<R>())
}

fn rows(builder: &Builder, table: Table) -> u32 {
    use policy::table as t;
    match table {
        Table::Acl => builder.count::<t::Acl>(),
        Table::Quota => builder.count::<t::Quota>(),
        Table::IpRule => builder.count::<t::IpRule>(),
        Table::Cors => builder.count::<t::Cors>(),
        Table::Size => builder.count::<t::Size>(),
        Table::Response => builder.count::<t::Response>(),
        _ => 1,
    }
}

/// A request that meets the estate's names, credentials and ranges often.
pub(crate) fn request(entropy: &mut Entropy<'_>) -> Request {
    const NAMES: [&str; 8] = [
        "apikey",
        "authorization",
        "proxy-authorization",
        "x-version",
        "x-trigger",
        "origin",
        "access-control-request-method",
        "X-Trigger",
    ];
    const VALUES: [&str; 14] = [
        "",
        "key-alice",
        "key-bob",
        "key-carol",
        "key-mallory",
        "Basic YWxpY2U6b3BlbiBzZXNhbWU=",
        "Basic Ym9iOmI6Yg==",
        "basic ZW1wdHk6",
        "Basic eDp5",
        "b12",
        "b",
        "1",
        "https://a.test",
        "Basic %%%",
    ];
    const ADDRESSES: [&str; 6] = [
        "10.1.2.3",
        "192.0.2.9",
        "192.168.1.7",
        "8.8.8.8",
        "2001:db8::1",
        "::1",
    ];
    let method = entropy.pick(&["GET", "POST", "OPTIONS", "PURGE"]);
    let mut request = Request::new(method, "", "/").from(entropy.pick(&ADDRESSES));
    if entropy.below(8) == 0 {
        request.address = None;
    }
    request.length = match entropy.below(4) {
        0 => BodyLength::None,
        1 => BodyLength::Unknown,
        2 => BodyLength::Known(5),
        _ => BodyLength::Known(5000),
    };
    request.expects_continue = entropy.below(2) == 1;
    for _ in 0..entropy.below(5) {
        request = request.with_header(entropy.pick(&NAMES), entropy.pick(&VALUES));
    }
    for _ in 0..entropy.below(4) {
        request = request.argument(entropy.pick(&NAMES), entropy.pick(&VALUES));
    }
    for _ in 0..entropy.below(4) {
        request = request.member(entropy.pick(&NAMES), entropy.pick(&VALUES));
    }
    for quota in 0..4 {
        if entropy.below(3) == 0 {
            request.left.insert(quota, entropy.below(3));
        }
    }
    if entropy.below(3) == 0 {
        request.spent.insert(Id::<policy::table::Budget>::new(0).number());
    }
    request
}
