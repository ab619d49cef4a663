//! Checks what look-ups rely on: orders, indexes, trees, automata, and header lines that may be sent.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use regex_automata::dfa::Automaton as _;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, util::start};

use crate::artifact::Policy;
use crate::digest;
use crate::fault::{Fault, FaultKind};
use crate::index;
use crate::route;
use crate::table::{
    Bucket, Candidate, Ceiling, Cidr, Consumer, Credential, Edit, EditPlace, Id, IpRule, Level, Line,
    Membership, Node, Period, Regex, Row, Rows, Seed, Select, Subject, Subroute, Table, Target,
};
use crate::vm::join;

type Check = fn(&Policy) -> Result<(), Fault>;

pub(super) fn check(policy: &Policy) -> Result<(), Fault> {
    const CHECKS: [Check; 9] = [
        hosts,
        credentials,
        buckets,
        nodes,
        automata,
        selects,
        addresses,
        lines,
        numbers,
    ];
    CHECKS.iter().try_for_each(|check| check(policy))
}

fn fault<R: Row>(id: Id<R>, kind: FaultKind) -> Fault {
    Fault {
        section: R::TABLE.name(),
        at: u64::from(id.number()),
        kind,
    }
}

fn hosts(policy: &Policy) -> Result<(), Fault> {
    let meta = policy.meta();
    for (slot, id) in (0..).zip(meta.hosts.ids()) {
        let key = policy.bytes(policy.get(id).key);
        let hash = route::host_hash(&meta.salt, key);
        if index::slot(hash, policy.seeds(meta.host_seeds), meta.hosts.count) != Some(slot) {
            return Err(fault(id, FaultKind::Hash));
        }
        if key.len() > route::HOST_MAX {
            return Err(fault(id, FaultKind::Value("key")));
        }
    }
    Ok(())
}

fn credentials(policy: &Policy) -> Result<(), Fault> {
    let meta = policy.meta();
    let indexed = |rows: Rows<Credential>, seeds: Rows<Seed>| -> Result<(), Fault> {
        for (slot, id) in (0..).zip(rows.ids()) {
            let hash = digest::index_hash(&policy.get(id).lookup);
            if index::slot(hash, policy.seeds(seeds), rows.count) != Some(slot) {
                return Err(fault(id, FaultKind::Hash));
            }
        }
        Ok(())
    };
    indexed(meta.keys, meta.key_seeds)?;
    indexed(meta.basics, meta.basic_seeds)?;
    ascending::<Consumer, Membership>(
        policy,
        |consumer| consumer.groups,
        |m| u64::from(m.group.number()),
        "groups",
    )
}

fn buckets(policy: &Policy) -> Result<(), Fault> {
    let rank = |candidate: Candidate| u64::from(candidate.subroute.number());
    ascending::<Bucket, Candidate>(policy, |bucket| bucket.regexes, rank, "regexes")?;
    ascending::<Bucket, Candidate>(policy, |bucket| bucket.bare, rank, "bare")?;
    ascending::<Node, Candidate>(policy, |node| node.candidates, rank, "candidates")?;
    for id in policy.all::<Bucket>().ids() {
        let regexes = policy.get(id).regexes;
        if policy
            .rows(regexes)
            .any(|candidate| policy.get(candidate.subroute).regex.is_none())
        {
            return Err(fault(id, FaultKind::Value("regexes")));
        }
    }
    Ok(())
}

fn nodes(policy: &Policy) -> Result<(), Fault> {
    for id in policy.all::<Node>().ids() {
        let node = policy.get(id);
        // A child after its parent makes a cycle impossible.
        if !node.children.is_empty() && node.children.first <= id.number() {
            return Err(fault(id, FaultKind::Order("children")));
        }
    }
    let first = |policy: &Policy, node: Node| {
        policy
            .bytes(node.label)
            .first()
            .map_or(0, |byte| u64::from(*byte))
    };
    for id in policy.all::<Node>().ids() {
        let children: Vec<Node> = policy.rows(policy.get(id).children).collect();
        let ordered = children
            .windows(2)
            .all(|pair| first(policy, pair[0]) < first(policy, pair[1]));
        if !ordered || children.iter().any(|child| child.label.is_empty()) {
            return Err(fault(id, FaultKind::Order("children")));
        }
    }
    Ok(())
}

/// Automata must be searchable from an anchored start and must never give up in a search.
fn automata(policy: &Policy) -> Result<(), Fault> {
    for id in policy.all::<Regex>().ids() {
        let dfa = policy.automaton(id);
        let refuse = |()| fault(id, FaultKind::Automaton);
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .map_err(|_error| refuse(()))?;
        let mut seen: BTreeSet<StateID> = BTreeSet::from([start]);
        let mut open = Vec::from([start]);
        while let Some(state) = open.pop() {
            if dfa.is_quit_state(state) {
                return Err(refuse(()));
            }
            let next = (0..=u8::MAX).map(|byte| dfa.next_state(state, byte));
            for state in next.chain([dfa.next_eoi_state(state)]) {
                if seen.insert(state) {
                    open.push(state);
                }
            }
        }
    }
    Ok(())
}

fn selects(policy: &Policy) -> Result<(), Fault> {
    for id in policy.all::<Select>().ids() {
        let select = policy.get(id);
        let table = Table::ALL
            .get(select.kind as usize)
            .ok_or(fault(id, FaultKind::Value("kind")))?;
        let rows = policy.count(*table);
        for level in policy.rows(select.levels) {
            if policy.rows(level.instances).any(|instance| instance.row >= rows) {
                return Err(fault(id, FaultKind::Reference("levels")));
            }
        }
    }
    for id in policy.all::<Level>().ids() {
        let level = policy.get(id);
        if level.subject == Subject::Anyone && level.instances.count != 1 {
            return Err(fault(id, FaultKind::Value("instances")));
        }
    }
    let subject = |instance: crate::table::Instance| u64::from(instance.subject);
    ascending::<Level, crate::table::Instance>(policy, |level| level.instances, subject, "instances")
}

fn addresses(policy: &Policy) -> Result<(), Fault> {
    for id in policy.all::<IpRule>().ids() {
        let rule = policy.get(id);
        for list in [rule.deny, rule.allow] {
            let mut before = None;
            for range in policy.rows::<Cidr>(list) {
                let first = join(range.first_high, range.first_low);
                let last = join(range.last_high, range.last_low);
                if first > last || before.is_some_and(|end| end >= first) {
                    return Err(fault(id, FaultKind::Order("deny/allow")));
                }
                before = Some(last);
            }
        }
    }
    Ok(())
}

/// Headers that frame or route a message are never an artifact's to set.
const FRAMING: [&str; 6] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn lines(policy: &Policy) -> Result<(), Fault> {
    for id in policy.all::<Line>().ids() {
        let line = policy.get(id);
        let name = policy.text(line.name);
        let framing = FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name));
        if framing || !is_token(name) || !is_value(policy.text(line.value)) {
            return Err(fault(id, FaultKind::HeaderLine));
        }
    }
    for id in policy.all::<Edit>().ids() {
        let edit = policy.get(id);
        let name = policy.text(edit.name);
        let framing = FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name));
        let pieces = policy
            .rows(edit.value)
            .all(|part| is_value(policy.text(part.text)));
        if edit.place == EditPlace::Header && (framing || !is_token(name) || !pieces) {
            return Err(fault(id, FaultKind::HeaderLine));
        }
    }
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// RFC 9110 §5.5: no controls but HTAB.
fn is_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

fn numbers(policy: &Policy) -> Result<(), Fault> {
    for id in policy.all::<Ceiling>().ids() {
        if policy.get(id).window == 0 {
            return Err(fault(id, FaultKind::Value("window")));
        }
    }
    for id in policy.all::<Period>().ids() {
        if policy.get(id).limit == 0 {
            return Err(fault(id, FaultKind::Value("limit")));
        }
    }
    for id in policy.all::<Target>().ids() {
        let target = policy.get(id);
        if target.weight > 65_535 || target.port > 65_535 {
            return Err(fault(id, FaultKind::Value("weight")));
        }
    }
    for id in policy.all::<Subroute>().ids() {
        if policy.get(id).prefix_len > route::PATH_MAX {
            return Err(fault(id, FaultKind::Value("prefix_len")));
        }
    }
    Ok(())
}

/// Checks that the lists of every row of `R` strictly ascend by a key.
fn ascending<R: Row, I: Row>(
    policy: &Policy,
    list: impl Fn(&R) -> Rows<I>,
    key: impl Fn(I) -> u64,
    column: &'static str,
) -> Result<(), Fault> {
    for id in policy.all::<R>().ids() {
        let mut before = None;
        for item in policy.rows(list(&policy.get(id))) {
            let now = key(item);
            if before.is_some_and(|before| before >= now) {
                return Err(fault(id, FaultKind::Order(column)));
            }
            before = Some(now);
        }
    }
    Ok(())
}
