//! The machine that runs verified programs.
//!
//! A program reads the exchange, passes gates and collects effects; it ends with a verdict, or suspends with a
//! question. It cannot loop, write memory, or fail: whatever the verifier admitted ends within its proven cost.

mod credential;

use crate::artifact::Policy;
use crate::caller;
use crate::field::{BodyLength, Exchange, Found, Method, Span, Taken};
use crate::isa::{Entry, Instr, Op, REGISTERS};
use crate::select;
use crate::table::{
    Acl, Cidr, Consumer, Cors, Credential, Id, IpRule, Name, Quota, Refusal, Regex, Response, Route, Row,
    Rows, Select, Size, Table,
};

/// Longest trigger that is looked up as a header, in bytes; longer ones are query arguments only.
const HEADER_NAME_MAX: usize = 128;

/// Effects that one entry can collect.
pub const EFFECTS_MAX: usize = 32;

/// How an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request, response or piece goes on.
    Forward,
    /// The request is refused.
    Refuse(Id<Refusal>),
    /// The request is answered as an operator wrote.
    Respond(Id<Response>),
    /// The request is a CORS preflight and is answered as one.
    Preflight(Id<Cors>),
    /// The program is suspended; [`resume`] goes on once the question is answered.
    Wait(Question),
}

/// What a suspended program waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The whole request body.
    Body,
}

impl Question {
    /// Every question in the order of its stored number.
    pub const ALL: [Self; 1] = [Self::Body];
}

/// Something that the exchange applies: a row of one of [`crate::isa::APPLICABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The row's table.
    pub table: Table,
    /// The row.
    pub row: u32,
}

impl Effect {
    /// The row's id, if the effect is of `R`'s table.
    pub fn id<R: Row>(self) -> Option<Id<R>> {
        (self.table == R::TABLE).then_some(Id::new(self.row))
    }
}

/// The effects of one entry, in order.
#[derive(Clone, Copy, Debug)]
pub struct Effects {
    list: [Effect; EFFECTS_MAX],
    len: u8,
}

impl Effects {
    const NONE: Self = Self {
        list: [Effect {
            table: Table::Meta,
            row: 0,
        }; EFFECTS_MAX],
        len: 0,
    };

    /// The effects in order.
    pub fn iter(&self) -> impl Iterator<Item = Effect> + '_ {
        self.list[..usize::from(self.len)].iter().copied()
    }

    fn push(&mut self, effect: Effect) {
        // The verifier admits at most `EFFECTS_MAX` on any path.
        if let Some(place) = self.list.get_mut(usize::from(self.len)) {
            *place = effect;
            self.len += 1;
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    low: u64,
    high: u64,
}

impl Slot {
    const SEVERAL: u64 = 1 << 8;

    fn of_span(span: Span, several: bool) -> Self {
        let flag = if several { Self::SEVERAL } else { 0 };
        Self {
            low: u64::from(span.offset) | u64::from(span.len) << 32,
            high: u64::from(span.source) | flag,
        }
    }

    fn span(self) -> Span {
        let [a, b, c, d, e, f, g, h] = self.low.to_le_bytes();
        Span {
            source: self.high.to_le_bytes()[0],
            offset: u32::from_le_bytes([a, b, c, d]),
            len: u32::from_le_bytes([e, f, g, h]),
        }
    }

    fn of_row(row: u32) -> Self {
        Self {
            low: u64::from(row),
            high: 0,
        }
    }

    fn row(self) -> u32 {
        self.span().offset
    }
}

/// What one exchange's programs know and have decided. Lives as long as the exchange; copies nothing of it.
#[derive(Clone)]
pub struct State {
    /// The route, once found.
    pub route: Option<Id<Route>>,
    /// The caller.
    pub consumer: Option<Id<Consumer>>,
    /// What the caller proved its identity with.
    pub credential: Option<Id<Credential>>,
    /// Whether the caller is the anonymous consumer of an authentication plugin.
    pub anonymous: bool,
    /// The quota that refused, when one did.
    pub denied_by: Option<Id<Quota>>,
    effects: Effects,
    slots: [Slot; REGISTERS],
    pc: u32,
    waits: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            route: None,
            consumer: None,
            credential: None,
            anonymous: false,
            denied_by: None,
            effects: Effects::NONE,
            slots: [Slot::default(); REGISTERS],
            pc: 0,
            waits: false,
        }
    }
}

impl State {
    /// A number for the caller by which to count it: a digest of its consumer's id, the same in every artifact that
    /// has this consumer. None when nobody was recognised.
    #[inline]
    pub fn identity(&self, policy: &Policy) -> Option<u64> {
        Some(caller::identity_of(policy, self.consumer?, self.credential))
    }

    /// The effects of the entry that ran last.
    pub const fn effects(&self) -> &Effects {
        &self.effects
    }
}

/// Runs an entry of a route's program. An entry without code forwards.
pub fn run<E: Exchange>(
    policy: &Policy,
    route: Id<Route>,
    entry: Entry,
    state: &mut State,
    exchange: &mut E,
) -> Verdict {
    let row = policy.get(route);
    state.route = Some(route);
    state.effects.len = 0;
    state.waits = false;
    let start = match entry {
        Entry::Request => row.on_request,
        Entry::Body => row.on_body,
        Entry::Response => row.on_response,
        Entry::Chunk => row.on_chunk,
        Entry::End => row.on_end,
    };
    let Some(start) = start.0 else {
        return Verdict::Forward;
    };
    state.pc = start;
    go(policy, state, exchange)
}

/// Goes on after [`Verdict::Wait`], with the question answered.
///
/// # Panics
/// When the entry that ran last did not end in [`Verdict::Wait`]: going on behind a verdict would run whatever
/// program happens to stand there.
pub fn resume<E: Exchange>(policy: &Policy, state: &mut State, exchange: &mut E) -> Verdict {
    assert!(state.waits, "only a suspended program is resumed");
    go(policy, state, exchange)
}

fn go<E: Exchange>(policy: &Policy, state: &mut State, exchange: &mut E) -> Verdict {
    while let Some(instr) = policy.instr(state.pc) {
        let step = Machine {
            policy,
            state,
            exchange,
        }
        .step(instr);
        match step {
            Step::Next => state.pc += 1,
            Step::Over => state.pc += u32::from(instr.to),
            Step::End(verdict) => {
                state.pc += 1;
                state.waits = matches!(verdict, Verdict::Wait(_));
                return verdict;
            }
        }
    }
    // To forward here would be to fail open.
    unreachable!("verified code has a verdict on every path")
}

enum Step {
    Next,
    Over,
    End(Verdict),
}

impl Step {
    const fn test(holds: bool) -> Self {
        if holds { Self::Next } else { Self::Over }
    }
}

struct Machine<'m, E> {
    policy: &'m Policy,
    state: &'m mut State,
    exchange: &'m mut E,
}

impl<E: Exchange> Machine<'_, E> {
    fn step(&mut self, instr: Instr) -> Step {
        let Instr { op, a, imm, .. } = instr;
        match op {
            Op::Forward => Step::End(Verdict::Forward),
            Op::Refuse => Step::End(Verdict::Refuse(Id::new(imm))),
            Op::Respond => self.respond(self.id(a)),
            Op::Wait => Step::End(Verdict::Wait(Question::Body)),
            Op::Jump => Step::Over,
            Op::Constant => self.set(a, Slot::of_row(imm)),
            Op::Select => match select::find(self.policy, Id::<Select>::new(imm), self.state.consumer) {
                Some(row) => self.set(a, Slot::of_row(row)),
                None => Step::Over,
            },
            Op::Header => {
                let found = self.exchange.header(self.name(imm));
                self.found(a, found)
            }
            Op::Query => {
                let found = self
                    .exchange
                    .query(self.policy.text(self.policy.get(Id::<Name>::new(imm)).text));
                self.found(a, found)
            }
            Op::BodyArgument => {
                let name = self.policy.text(self.policy.get(Id::<Name>::new(imm)).text);
                let found = self.exchange.body_argument(name);
                self.found(a, found)
            }
            Op::Several => Step::test(self.slot(a).high & Slot::SEVERAL != 0),
            Op::Empty => Step::test(self.slot(a).span().len == 0),
            Op::Method => Step::test(self.exchange.method().0 & imm != 0),
            Op::Match => {
                let value = self.exchange.bytes(self.slot(a).span());
                Step::test(crate::route::regex_end(self.policy, Id::<Regex>::new(imm), value).is_some())
            }
            Op::Key | Op::Basic => self.prove(op, a, imm),
            Op::Identify => {
                let credential = self.id::<Credential>(a);
                self.state.credential = Some(credential);
                self.state.consumer = Some(self.policy.caller(credential).consumer);
                self.state.anonymous = false;
                Step::Next
            }
            Op::Anonymous => {
                self.state.consumer = Some(Id::new(imm));
                self.state.credential = None;
                self.state.anonymous = true;
                Step::Next
            }
            Op::Authenticated => Step::test(self.state.credential.is_some()),
            Op::Acl => self.acl(self.id(a)),
            Op::Ip => self.address(self.id(a)),
            Op::Take => self.take(self.id(a)),
            Op::Reserve => {
                let budget = self.id(a);
                match self.exchange.reserve(budget, self.state) {
                    Taken::Admitted => Step::Next,
                    Taken::Denied => Step::End(Verdict::Refuse(self.policy.get(budget).refusal)),
                }
            }
            Op::Size => self.size(self.id(a)),
            Op::Preflight => self.preflight(self.id(a)),
            Op::Apply => {
                let row = self.slot(a).row();
                if let Some(&table) = Table::ALL.get(usize::from(instr.to)) {
                    self.state.effects.push(Effect { table, row });
                }
                Step::Next
            }
        }
    }

    fn slot(&self, register: u8) -> Slot {
        self.state.slots[usize::from(register) % REGISTERS]
    }

    fn id<R: Row>(&self, register: u8) -> Id<R> {
        Id::new(self.slot(register).row())
    }

    fn set(&mut self, register: u8, slot: Slot) -> Step {
        self.state.slots[usize::from(register) % REGISTERS] = slot;
        Step::Next
    }

    fn name(&self, row: u32) -> &str {
        self.policy.text(self.policy.get(Id::<Name>::new(row)).text)
    }

    fn found(&mut self, register: u8, found: Found) -> Step {
        match found {
            Found::Absent => Step::Over,
            Found::Once(span) => self.set(register, Slot::of_span(span, false)),
            Found::Several(span) => self.set(register, Slot::of_span(span, true)),
        }
    }

    fn prove(&mut self, op: Op, register: u8, from: u32) -> Step {
        let from = u8::try_from(from).unwrap_or_default();
        let presented = self.exchange.bytes(self.slot(from).span());
        let credential = if op == Op::Key {
            credential::by_key(self.policy, presented)
        } else {
            credential::by_basic(self.policy, presented)
        };
        match credential {
            Some(credential) => self.set(register, Slot::of_row(credential.number())),
            None => Step::Over,
        }
    }

    fn respond(&mut self, response: Id<Response>) -> Step {
        let trigger = self.policy.text(self.policy.get(response).trigger);
        let fires = trigger.is_empty() || self.has_header(trigger) || self.exchange.has_argument(trigger);
        if fires {
            Step::End(Verdict::Respond(response))
        } else {
            Step::Next
        }
    }

    /// Whether a header is present, by its name as an operator wrote it: query arguments know case, headers do not.
    fn has_header(&self, name: &str) -> bool {
        let mut lower = [0; HEADER_NAME_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else {
            return false;
        };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        core::str::from_utf8(lower).is_ok_and(|name| self.exchange.header(name) != Found::Absent)
    }

    fn acl(&mut self, acl: Id<Acl>) -> Step {
        let acl = self.policy.get(acl);
        let Some(consumer) = self.state.consumer else {
            return Step::End(Verdict::Refuse(acl.unauthorized));
        };
        let member = caller::member_of(self.policy, consumer, self.state.credential);
        let member = overlap(self.policy, member.acl, acl.groups)
            || self.policy.rows(member.groups).any(|membership| {
                self.policy
                    .rows(acl.consumer_groups)
                    .any(|listed| listed.group == membership.group)
            });
        if member == acl.allow {
            return Step::Next;
        }
        // Kong answers an anonymous consumer without groups as if it were nobody.
        let unknown = acl.allow && self.state.anonymous && self.groupless(consumer, &acl);
        Step::End(Verdict::Refuse(if unknown {
            acl.unauthorized
        } else {
            acl.forbidden
        }))
    }

    fn groupless(&self, consumer: Id<Consumer>, acl: &Acl) -> bool {
        let consumer = self.policy.get(consumer);
        let in_acl = self.policy.rows(consumer.acl).any(|word| word.bits != 0);
        let counted = !consumer.groups.is_empty() && !acl.consumer_groups.is_empty();
        !in_acl && !counted
    }

    fn address(&mut self, rule: Id<IpRule>) -> Step {
        let rule = self.policy.get(rule);
        let passes = self.exchange.client_address().is_some_and(|address| {
            !contains(self.policy, rule.deny, address)
                && (!rule.restricted || contains(self.policy, rule.allow, address))
        });
        if passes {
            Step::Next
        } else {
            Step::End(Verdict::Refuse(rule.refusal))
        }
    }

    fn take(&mut self, quota: Id<Quota>) -> Step {
        match self.exchange.take(quota, self.state) {
            Taken::Admitted => Step::Next,
            Taken::Denied => {
                self.state.denied_by = Some(quota);
                Step::End(Verdict::Refuse(self.policy.get(quota).refusal))
            }
        }
    }

    fn size(&mut self, size: Id<Size>) -> Step {
        let rule = self.policy.get(size);
        match self.exchange.body_length() {
            BodyLength::Known(len) if len > rule.limit => {
                let expects = self.exchange.expects_continue();
                Step::End(Verdict::Refuse(if expects {
                    rule.expectation_failed
                } else {
                    rule.too_large
                }))
            }
            // Kong asks even bodiless requests for a length.
            BodyLength::None if rule.require_length => Step::End(Verdict::Refuse(rule.length_required)),
            BodyLength::Known(_) | BodyLength::None => Step::Next,
            BodyLength::Unknown => {
                self.state.effects.push(Effect {
                    table: Table::Size,
                    row: size.number(),
                });
                Step::Next
            }
        }
    }

    fn preflight(&mut self, cors: Id<Cors>) -> Step {
        let preflight = self.exchange.method() == Method::OPTIONS
            && self.exchange.header("origin") != Found::Absent
            && self.exchange.header("access-control-request-method") != Found::Absent;
        if preflight && !self.policy.get(cors).preflight_continue {
            Step::End(Verdict::Preflight(cors))
        } else {
            Step::Next
        }
    }
}

fn overlap(policy: &Policy, left: Rows<crate::table::Word>, right: Rows<crate::table::Word>) -> bool {
    policy
        .rows(left)
        .zip(policy.rows(right))
        .any(|(left, right)| left.bits & right.bits != 0)
}

/// Whether an address is in an ordered list of ranges.
pub fn contains(policy: &Policy, ranges: Rows<Cidr>, address: u128) -> bool {
    let (mut low, mut high) = (ranges.first, ranges.first + ranges.count);
    while low < high {
        let middle = low + (high - low) / 2;
        let range = policy.get(Id::<Cidr>::new(middle));
        if address < join(range.first_high, range.first_low) {
            high = middle;
        } else if address > join(range.last_high, range.last_low) {
            low = middle + 1;
        } else {
            return true;
        }
    }
    false
}

pub(crate) fn join(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
