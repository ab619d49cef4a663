//! A plain interpreter of programs: it walks the graph of instructions recursively, with typed values by name of
//! register, and answers every look-up by reading whole tables. Slow on purpose, and shares no code with the VM.

use std::collections::BTreeMap;

use policy::field::{BodyLength, Exchange, Found, Taken};
use policy::isa::{Instr, Op};
use policy::table::{
    Acl, Cidr, Consumer, Credential, Group, Id, IpRule, Name, Proof, Quota, Regex, Response, Rows, Select,
    Size, Subject, Table,
};
use policy::vm::{State, Verdict};
use policy::{Policy, digest};

use crate::sample::request::Request;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Outcome {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) effects: Vec<(Table, u32)>,
    pub(crate) consumer: Option<u32>,
    pub(crate) credential: Option<u32>,
    pub(crate) anonymous: bool,
    pub(crate) denied_by: Option<u32>,
    pub(crate) waits: u32,
    pub(crate) asked: Vec<(&'static str, u32)>,
    /// What the instructions on the way cost without what their tables add.
    pub(crate) cost: u32,
}

#[derive(Clone, Debug)]
enum Value {
    Text { bytes: Vec<u8>, several: bool },
    Credential(Id<Credential>),
    Row(Table, u32),
}

type Registers = BTreeMap<u8, Value>;

/// Runs the program at `start`, answering every question at once.
pub(crate) fn run(policy: &Policy, start: u32, before: Outcome, request: &mut Request) -> Outcome {
    let mut walk = Walk {
        policy,
        request,
        seen: Outcome {
            effects: Vec::new(),
            ..before
        },
    };
    let verdict = walk.from(start, Registers::new());
    walk.seen.verdict = Some(verdict);
    walk.seen.asked = walk.request.asked.clone();
    walk.seen
}

struct Walk<'w> {
    policy: &'w Policy,
    request: &'w mut Request,
    seen: Outcome,
}

impl Walk<'_> {
    fn from(&mut self, pc: u32, mut registers: Registers) -> Verdict {
        let instr = self.policy.instr(pc).expect("programs end before the code does");
        let Instr { op, a, to, imm } = instr;
        self.seen.cost += op.cost();
        let over = pc + u32::from(to);
        match op {
            Op::Forward => Verdict::Forward,
            Op::Refuse => Verdict::Refuse(Id::new(imm)),
            Op::Jump => self.from(over, registers),
            Op::Wait => {
                self.seen.waits += 1;
                self.request.body_read = true;
                self.from(pc + 1, registers)
            }
            Op::Respond | Op::Preflight | Op::Acl | Op::Ip | Op::Take | Op::Reserve | Op::Size => {
                match self.gate(op, &registers[&a]) {
                    Some(verdict) => verdict,
                    None => self.from(pc + 1, registers),
                }
            }
            Op::Identify | Op::Anonymous | Op::Apply => {
                self.effect(op, imm, registers.get(&a));
                self.from(pc + 1, registers)
            }
            Op::Several | Op::Empty | Op::Method | Op::Match | Op::Authenticated => {
                let next = if self.holds(op, imm, registers.get(&a)) {
                    pc + 1
                } else {
                    over
                };
                self.from(next, registers)
            }
            Op::Constant | Op::Select | Op::Header | Op::Query | Op::BodyArgument | Op::Key | Op::Basic => {
                match self.value(instr, &registers) {
                    Some(value) => {
                        registers.insert(a, value);
                        self.from(pc + 1, registers)
                    }
                    None => self.from(over, registers),
                }
            }
        }
    }

    fn value(&mut self, instr: Instr, registers: &Registers) -> Option<Value> {
        let Instr { op, to, imm, .. } = instr;
        Some(match op {
            Op::Constant => Value::Row(Table::ALL[usize::from(to)], imm),
            Op::Select => {
                let select: Select = self.policy.get(Id::new(imm));
                let row = self.selected(&select)?;
                Value::Row(Table::ALL[select.kind as usize], row)
            }
            Op::Key | Op::Basic => {
                let from = u8::try_from(imm).expect("a register");
                let Value::Text { bytes, .. } = &registers[&from] else {
                    panic!("a credential is looked up by text")
                };
                Value::Credential(if op == Op::Key {
                    self.key(bytes)?
                } else {
                    self.basic(bytes)?
                })
            }
            _ => {
                let name: Name = self.policy.get(Id::new(imm));
                let name = self.policy.text(name.text);
                let found = match op {
                    Op::Header => self.request.header(name),
                    Op::Query => self.request.query(name),
                    _ => self.request.body_argument(name),
                };
                let (span, several) = match found {
                    Found::Absent => return None,
                    Found::Once(span) => (span, false),
                    Found::Several(span) => (span, true),
                };
                Value::Text {
                    bytes: self.request.bytes(span).to_vec(),
                    several,
                }
            }
        })
    }

    fn holds(&self, op: Op, imm: u32, value: Option<&Value>) -> bool {
        match (op, value) {
            (Op::Method, _) => self.request.method().0 & imm != 0,
            (Op::Authenticated, _) => self.seen.credential.is_some(),
            (Op::Several, Some(Value::Text { several, .. })) => *several,
            (Op::Empty, Some(Value::Text { bytes, .. })) => bytes.is_empty(),
            (Op::Match, Some(Value::Text { bytes, .. })) => {
                regex_end(self.policy, Id::new(imm), bytes).is_some()
            }
            _ => panic!("{op:?} tests a text"),
        }
    }

    fn effect(&mut self, op: Op, imm: u32, value: Option<&Value>) {
        match (op, value) {
            (Op::Anonymous, _) => {
                self.seen.consumer = Some(imm);
                self.seen.credential = None;
                self.seen.anonymous = true;
            }
            (Op::Identify, Some(Value::Credential(credential))) => {
                self.seen.credential = Some(credential.number());
                self.seen.consumer = Some(self.policy.get(*credential).consumer.number());
                self.seen.anonymous = false;
            }
            (Op::Apply, Some(Value::Row(table, row))) => self.seen.effects.push((*table, *row)),
            _ => panic!("{op:?} has an operand"),
        }
    }

    /// The verdict of a gate that does not let the request pass.
    fn gate(&mut self, op: Op, value: &Value) -> Option<Verdict> {
        let Value::Row(_, row) = *value else {
            panic!("a gate reads a row")
        };
        match op {
            Op::Acl => self.acl(self.policy.get(Id::new(row))),
            Op::Ip => self.ip(self.policy.get(Id::new(row))),
            Op::Size => self.size(row, self.policy.get(Id::new(row))),
            Op::Take => {
                if self.request.take(Id::new(row), &State::default()) == Taken::Admitted {
                    return None;
                }
                self.seen.denied_by = Some(row);
                Some(Verdict::Refuse(self.policy.get(Id::<Quota>::new(row)).refusal))
            }
            Op::Reserve => {
                let budget = Id::new(row);
                let taken = self.request.reserve(budget, &State::default());
                (taken == Taken::Denied).then(|| Verdict::Refuse(self.policy.get(budget).refusal))
            }
            Op::Respond => {
                let response: Response = self.policy.get(Id::new(row));
                let trigger = self.policy.text(response.trigger);
                let lower = trigger.to_lowercase();
                let present = trigger.is_empty()
                    || self.request.header(&lower) != Found::Absent
                    || self.request.query(trigger) != Found::Absent;
                present.then_some(Verdict::Respond(Id::new(row)))
            }
            _ => {
                let cors: policy::table::Cors = self.policy.get(Id::new(row));
                let preflight = self.request.method == "OPTIONS"
                    && self.request.header("origin") != Found::Absent
                    && self.request.header("access-control-request-method") != Found::Absent;
                (preflight && !cors.preflight_continue).then_some(Verdict::Preflight(Id::new(row)))
            }
        }
    }

    fn acl(&self, acl: Acl) -> Option<Verdict> {
        let Some(consumer) = self.seen.consumer else {
            return Some(Verdict::Refuse(acl.unauthorized));
        };
        let consumer: Consumer = self.policy.get(Id::new(consumer));
        let mine = members(self.policy, consumer.acl);
        let listed = members(self.policy, acl.groups);
        let my_groups: Vec<u32> = self
            .policy
            .rows(consumer.groups)
            .map(|m| m.group.number())
            .collect();
        let listed_groups: Vec<u32> = self
            .policy
            .rows(acl.consumer_groups)
            .map(|m| m.group.number())
            .collect();
        let member = mine.iter().any(|group| listed.contains(group))
            || my_groups.iter().any(|group| listed_groups.contains(group));
        if member == acl.allow {
            return None;
        }
        let groupless = mine.is_empty() && (my_groups.is_empty() || listed_groups.is_empty());
        Some(Verdict::Refuse(
            if acl.allow && groupless && self.seen.anonymous {
                acl.unauthorized
            } else {
                acl.forbidden
            },
        ))
    }

    fn ip(&self, rule: IpRule) -> Option<Verdict> {
        let inside = |list: Rows<Cidr>, address: u128| {
            self.policy.rows(list).any(|range| {
                let first = u128::from(range.first_high) << 64 | u128::from(range.first_low);
                let last = u128::from(range.last_high) << 64 | u128::from(range.last_low);
                (first..=last).contains(&address)
            })
        };
        let refused = match self.request.address {
            None => true,
            Some(address) if inside(rule.deny, address) => true,
            Some(address) => rule.restricted && !inside(rule.allow, address),
        };
        refused.then_some(Verdict::Refuse(rule.refusal))
    }

    fn size(&mut self, row: u32, size: Size) -> Option<Verdict> {
        match self.request.length {
            BodyLength::Known(len) if len > size.limit && self.request.expects_continue => {
                Some(Verdict::Refuse(size.expectation_failed))
            }
            BodyLength::Known(len) if len > size.limit => Some(Verdict::Refuse(size.too_large)),
            BodyLength::None if size.require_length => Some(Verdict::Refuse(size.length_required)),
            BodyLength::Unknown => {
                self.seen.effects.push((Table::Size, row));
                None
            }
            BodyLength::Known(_) | BodyLength::None => None,
        }
    }

    fn selected(&self, select: &Select) -> Option<u32> {
        let consumer = self.seen.consumer;
        let groups: Vec<Id<Group>> = consumer.map_or(Vec::new(), |consumer| {
            let consumer: Consumer = self.policy.get(Id::new(consumer));
            self.policy.rows(consumer.groups).map(|m| m.group).collect()
        });
        for level in self.policy.rows(select.levels) {
            let of = |subject: u32| {
                let mut instances = self.policy.rows(level.instances);
                instances
                    .find(|instance| instance.subject == subject)
                    .map(|i| i.row)
            };
            let found = match level.subject {
                Subject::Anyone => of(0),
                Subject::Consumer => consumer.and_then(of),
                // The group whose name comes first wins.
                Subject::Group => {
                    let mut named: Vec<(&str, u32)> = groups
                        .iter()
                        .map(|&group| (self.policy.text(self.policy.get(group).name), group.number()))
                        .collect();
                    named.sort_unstable();
                    named.into_iter().find_map(|(_, group)| of(group))
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn key(&self, key: &[u8]) -> Option<Id<Credential>> {
        let salt = self.policy.meta().salt;
        let digest = digest::keyed(&salt, digest::Domain::Key, &[key]);
        self.credential(digest)
            .filter(|_| !key.is_empty() && key.len() <= digest::CREDENTIAL_MAX)
    }

    fn basic(&self, value: &[u8]) -> Option<Id<Credential>> {
        let value = std::str::from_utf8(value).ok()?;
        if !value.get(..6)?.eq_ignore_ascii_case("basic ") {
            return None;
        }
        let plain = base64(value[6..].trim_ascii())?;
        let colon = plain.iter().position(|byte| *byte == b':')?;
        let (user, password) = (&plain[..colon], &plain[colon + 1..]);
        let salt = self.policy.meta().salt;
        let credential = self.credential(digest::keyed(&salt, digest::Domain::User, &[user]))?;
        let row = self.policy.get(credential);
        let proof = match row.proof {
            Proof::Lookup => return None,
            Proof::Keyed => digest::keyed(&salt, digest::Domain::Password, &[user, password]),
            Proof::Hashed => {
                let consumer = self.policy.text(self.policy.get(row.consumer).id);
                let hash = digest::kong_hash(password, consumer.as_bytes());
                digest::keyed(&salt, digest::Domain::Hashed, &[user, &hash])
            }
        };
        (row.digest == proof).then_some(credential)
    }

    fn credential(&self, lookup: [u8; 32]) -> Option<Id<Credential>> {
        let all = self.policy.all::<Credential>();
        all.ids().find(|&id| self.policy.get(id).lookup == lookup)
    }
}

/// Standard alphabet, padding required, nothing but zero bits after the last byte.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    for byte in body.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        bits = (bits << 6 | u32::try_from(digit).ok()?) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    (bits & ((1 << held) - 1) == 0).then_some(out)
}

fn members(policy: &Policy, set: Rows<policy::table::Word>) -> Vec<u32> {
    let words = policy.rows(set).zip(0..);
    words
        .flat_map(|(word, at)| {
            (0..32)
                .filter(move |bit| word.bits >> bit & 1 == 1)
                .map(move |bit| at * 32 + bit)
        })
        .collect()
}

/// The end of the first pattern's leftmost-first match at the first byte, by another engine than the VM's.
pub(crate) fn regex_end(policy: &Policy, regex: Id<Regex>, text: &[u8]) -> Option<usize> {
    use regex_automata::nfa::thompson::pikevm::PikeVM;
    use regex_automata::{Anchored, Input, nfa::thompson, util::syntax};
    let row = policy.get(regex);
    let patterns: Vec<&str> = policy
        .rows(row.patterns)
        .map(|name| policy.text(name.text))
        .collect();
    let vm = PikeVM::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build_many(&patterns)
        .expect("the patterns compile");
    let mut cache = vm.create_cache();
    vm.find(&mut cache, Input::new(text).anchored(Anchored::Yes))
        .map(|found| found.end())
}
