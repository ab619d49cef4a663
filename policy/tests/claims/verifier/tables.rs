//! What look-ups rely on, what may be sent, and numbers.

use policy::FaultKind;
use policy::artifact::Limits;
use policy::table::{
    BodyShape, Edit, EditOp, EditPlace, Instance, JsonType, Level, Line, MessageTail, Part, PartKind,
    Refusal, Regex, Rows, Select, Subject, Table, Text,
};
use policy::{Fault, Policy};
use regex_automata::dfa::{StartKind, dense};

use super::{fault, patched, refused, unsound};
use crate::sample::router::{Path, Wanted};
use crate::sample::tamper::{self, AUTOMATA};
use crate::sample::{ALICE, Entries, Sample, Scene, estate};

/// Routes in rank order, without programs.
fn routed(all: &[Wanted]) -> Sample {
    let mut scene = Scene::new();
    for (rank, wanted) in all.iter().enumerate() {
        scene.route(&format!("r{rank}"), wanted.clone(), &Entries::default());
    }
    scene.finish()
}

fn prefix(prefix: &str) -> Wanted {
    Wanted {
        path: Path::Prefixes(vec![prefix.to_owned()]),
        ..Wanted::default()
    }
}

fn regex(pattern: &str) -> Wanted {
    Wanted {
        path: Path::Regexes(vec![pattern.to_owned()]),
        ..Wanted::default()
    }
}

#[test]
fn candidates_stand_in_rank_order() {
    for (wanted, table, column) in [
        (prefix("/a"), Table::Node, "candidates"),
        (regex("/a"), Table::Bucket, "regexes"),
        (Wanted::default(), Table::Bucket, "bare"),
    ] {
        let sample = routed(&[wanted.clone(), wanted]);
        // The prefixes' node is the root's child.
        let found = patched(&sample, Table::Candidate, 1, "subroute", &[(0, 0)]);
        assert_eq!(
            found,
            Some(fault(
                table.name(),
                u64::from(table == Table::Node),
                FaultKind::Order(column)
            ))
        );
    }
}

#[test]
fn a_regex_stands_among_the_regexes_and_nowhere_else() {
    let sample = routed(&[regex("/a"), prefix("/a"), Wanted::default()]);
    let none = patched(&sample, Table::Subroute, 0, "regex", &[(0, 0)]);
    assert_eq!(none, Some(fault("Bucket", 0, FaultKind::Value("regexes"))));
    let one = |row| patched(&sample, Table::Subroute, row, "regex", &[(0, 1)]);
    assert_eq!(one(1), Some(fault("Node", 1, FaultKind::Value("candidates"))));
    assert_eq!(one(2), Some(fault("Bucket", 0, FaultKind::Value("bare"))));
}

#[test]
fn a_path_tree_has_no_cycle_and_no_ambiguity() {
    // Row 0 is the root; below it stands 1 `/`, with 2 `a` and 3 `b`, whose child is 4 `/c`.
    let sample = routed(&[prefix("/a"), prefix("/b"), prefix("/b/c")]);
    let order = |row| Some(fault("Node", row, FaultKind::Order("children")));
    let children =
        |row, first, count| patched(&sample, Table::Node, row, "children", &[(0, first), (1, count)]);
    assert_eq!(children(1, 1, 2), order(1), "a node among its own children");
    assert_eq!(children(3, 2, 1), order(3), "a cycle");
    let label = |row, of: u32| {
        let mut at = tamper::place(&sample.file, Table::Node, of, "label");
        let offset = tamper::word(&sample.file, at);
        at += 4;
        let len = tamper::word(&sample.file, at);
        patched(&sample, Table::Node, row, "label", &[(0, offset), (1, len)])
    };
    assert_eq!(label(3, 2), order(1), "two children with the same first byte");
    assert_eq!(label(2, 3), order(1));
    let empty = |row| patched(&sample, Table::Node, row, "label", &[(0, 0), (1, 0)]);
    assert_eq!(empty(2), order(1));
    assert_eq!(empty(4), order(3), "an only child without a label");
    assert_eq!(empty(0), None, "a root may have an empty label");
}

#[test]
fn a_host_is_found_by_its_own_hash() {
    let host = |host: &str| Wanted {
        hosts: vec![host.to_owned()],
        ..Wanted::default()
    };
    let sample = routed(&[host("a.test"), host("b.test"), host("c.test")]);
    // The first slot's row with the key of the second.
    let at = tamper::place(&sample.file, Table::Host, 1, "key");
    let (offset, len) = (tamper::word(&sample.file, at), tamper::word(&sample.file, at + 4));
    let found = patched(&sample, Table::Host, 0, "key", &[(0, offset), (1, len)]);
    assert_eq!(found, Some(fault("Host", 0, FaultKind::Hash)));
    let found = patched(&sample, Table::Host, 2, "key", &[(0, 0), (1, 0)]);
    assert_eq!(found, Some(fault("Host", 2, FaultKind::Value("key"))));
    let found = patched(&sample, Table::Meta, 0, "host_seeds", &[(0, 0), (1, 0)]);
    assert_eq!(found, Some(fault("Host", 0, FaultKind::Hash)));
}

#[test]
fn a_host_pattern_is_looked_for() {
    let needs = |host: &str, flag: &'static str| {
        let wanted = Wanted {
            hosts: vec![host.to_owned()],
            ..Wanted::default()
        };
        let sample = routed(&[wanted]);
        let found = patched(&sample, Table::Meta, 0, flag, &[(0, 0)]);
        assert_eq!(found, Some(fault("Host", 0, FaultKind::Value(flag))), "{host}");
    };
    needs("*.a.test", "suffix_hosts");
    needs("a.*", "prefix_hosts");
    needs("a.test:81", "port_hosts");
    needs("*.a.test:81", "port_hosts");
    needs("*.a.test:81", "suffix_hosts");
    needs("a.*:81", "prefix_hosts");
}

#[test]
fn a_credential_is_found_by_its_own_digest_and_proved_as_its_kind() {
    let sample = estate().finish();
    let slot = |rows: Rows<policy::table::Credential>| rows.first;
    let meta = sample.policy.meta();
    for row in [slot(meta.keys), slot(meta.basics)] {
        let at = fault("Credential", u64::from(row), FaultKind::Hash);
        // Three keys in three slots: some other digest falls elsewhere.
        let moved = (0..64).any(|value| {
            let found = patched(
                &sample,
                Table::Credential,
                row,
                "lookup",
                &[(0, value), (1, value << 26)],
            );
            found == Some(at)
        });
        assert!(moved);
    }
    let proof = |row: u32, value| patched(&sample, Table::Credential, row, "proof", &[(0, value)]);
    let key = slot(meta.keys);
    assert_eq!(
        proof(key, 1),
        Some(fault("Credential", u64::from(key), FaultKind::Value("proof")))
    );
    let basic = slot(meta.basics);
    assert_eq!(
        proof(basic, 0),
        Some(fault("Credential", u64::from(basic), FaultKind::Value("proof")))
    );
}

#[test]
fn memberships_and_instances_ascend() {
    let sample = estate().finish();
    let bob = sample
        .policy
        .get(policy::table::Id::<policy::table::Consumer>::new(2));
    let found = patched(
        &sample,
        Table::Membership,
        bob.groups.first + 1,
        "group",
        &[(0, 0)],
    );
    assert_eq!(found, Some(fault("Consumer", 2, FaultKind::Order("groups"))));
    // Level 1 of the estate is the groups': alpha and beta.
    let level = sample.policy.get(policy::table::Id::<Level>::new(1));
    assert_eq!(level.subject, Subject::Group);
    let found = patched(
        &sample,
        Table::Instance,
        level.instances.first,
        "subject",
        &[(0, 1)],
    );
    assert_eq!(found, Some(fault("Level", 1, FaultKind::Order("instances"))));
}

#[test]
fn a_select_names_rows_of_its_kind() {
    let rows = estate().finish().policy.count(Table::Quota);
    let found = refused(Table::Instance, 0, "row", rows);
    assert_eq!(found, fault("Select", 0, FaultKind::Reference("levels")));
    let kinds = u32::try_from(Table::ALL.len()).expect("few tables");
    assert_eq!(
        refused(Table::Select, 0, "kind", kinds),
        fault("Select", 0, FaultKind::Value("kind"))
    );
}

#[test]
fn a_level_for_anyone_has_one_instance() {
    let mut scene = Scene::new();
    let instances = [0, 1].map(|subject| Instance { subject, row: 0 });
    let level = Level {
        subject: Subject::Anyone,
        instances: scene.builder.list(&instances),
    };
    let number = u64::from(scene.builder.count::<Level>());
    let levels = scene.builder.list(&[level]);
    scene.builder.row(&Select {
        kind: Table::Quota as u32,
        levels,
    });
    assert_eq!(
        unsound(scene),
        fault("Level", number, FaultKind::Value("instances"))
    );
}

#[test]
fn ranges_ascend_and_do_not_overlap() {
    let sample = estate().finish();
    // The second denied range begins before the first one ends.
    let found = patched(&sample, Table::Cidr, 1, "first_low", &[(0, 0x0aff_ffff)]);
    assert_eq!(found, Some(fault("IpRule", 0, FaultKind::Order("deny"))));
    let found = patched(&sample, Table::Cidr, 1, "last_low", &[(0, 0)]);
    assert_eq!(found, Some(fault("Cidr", 1, FaultKind::Order("first"))));
}

#[test]
fn a_damaged_automaton_is_refused() {
    let sample = estate().finish();
    let section = tamper::section(&sample.file, AUTOMATA);
    let mut refusals = 0;
    for at in 0..128 {
        let mut file = sample.file.clone();
        file[section.offset + at] ^= 0xff;
        tamper::seal(&mut file, &section);
        if let Err(refused) = Policy::load(&file, Limits::default()) {
            assert_eq!(refused, fault("Regex", 0, FaultKind::Automaton), "byte {at}");
            refusals += 1;
        }
    }
    assert!(refusals > 32, "{refusals} refusals in the automaton's head");
}

fn with_automaton(dfa: &dense::DFA<Vec<u32>>) -> Fault {
    let (bytes, padding) = dfa.to_bytes_little_endian();
    let mut scene = Scene::new();
    let dfa = scene.builder.automaton(&bytes[padding..]);
    scene.builder.row(&Regex {
        dfa,
        patterns: Rows::NONE,
    });
    unsound(scene)
}

#[test]
fn an_automaton_that_may_give_up_is_refused() {
    let row = u64::from(Scene::new().builder.count::<Regex>());
    let automaton = fault("Regex", row, FaultKind::Automaton);
    let anchored = dense::Config::new().start_kind(StartKind::Anchored);
    let quits = dense::Builder::new()
        .configure(anchored.clone().quit(b'x', true))
        .build("abx|y+");
    assert_eq!(with_automaton(&quits.expect("it compiles")), automaton);
    let unanchored = dense::Config::new().start_kind(StartKind::Unanchored);
    let unanchored = dense::Builder::new().configure(unanchored).build("a");
    assert_eq!(with_automaton(&unanchored.expect("it compiles")), automaton);
}

#[test]
fn regexes_with_the_same_automaton_share_it_and_others_do_not_overlap() {
    let mut scene = Scene::new();
    let bytes = crate::sample::router::automaton(&["a+".to_owned()]);
    let dfa = scene.builder.automaton(&bytes);
    for _ in 0..5000 {
        scene.builder.row(&Regex {
            dfa,
            patterns: Rows::NONE,
        });
    }
    scene.finish();
    // An automaton inside another one: both name bytes that only one may have.
    let mut scene = Scene::new();
    let row = scene.builder.row(&Regex {
        dfa,
        patterns: Rows::NONE,
    });
    let dfa = scene.builder.automaton(&bytes);
    scene.builder.set(
        row,
        &Regex {
            dfa,
            patterns: Rows::NONE,
        },
    );
    let inner = policy::table::Automaton {
        offset: dfa.offset,
        len: dfa.len - 4,
    };
    let number = scene.builder.row(&Regex {
        dfa: inner,
        patterns: Rows::NONE,
    });
    assert_eq!(
        unsound(scene),
        fault("Regex", u64::from(number.number()), FaultKind::Automaton)
    );
}

#[test]
fn methods_without_a_bit_are_announced_by_one() {
    let wanted = |methods: &[&str]| Wanted {
        methods: methods.iter().map(|one| (*one).to_owned()).collect(),
        ..Wanted::default()
    };
    let other = routed(&[wanted(&["PURGE"])]);
    let found = patched(&other, Table::Subroute, 0, "methods", &[(0, 0)]);
    assert_eq!(
        found,
        Some(fault("Subroute", 0, FaultKind::Value("methods"))),
        "0 would admit any method"
    );
    let known = routed(&[wanted(&["GET"])]);
    let found = patched(&known, Table::Subroute, 0, "methods", &[(0, 1 << 31)]);
    assert_eq!(found, Some(fault("Subroute", 0, FaultKind::Value("methods"))));
    let found = patched(&known, Table::Subroute, 0, "prefix_len", &[(0, 8193)]);
    assert_eq!(found, Some(fault("Subroute", 0, FaultKind::Value("prefix_len"))));
}

#[test]
fn a_line_that_frames_or_splits_a_message_is_refused() {
    for (name, value) in [
        ("Content-Length", "1"),
        ("TRANSFER-ENCODING", "chunked"),
        ("connection", "close"),
        ("Upgrade", "h2c"),
        ("te", "trailers"),
        ("Trailer", "x"),
        ("Proxy-Connection", "close"),
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\nb", "x"),
        ("é", "x"),
        ("X-Ok", "a\r\nX-Not: ok"),
        ("X-Ok", "a\nb"),
        ("X-Ok", "a\0b"),
        ("X-Ok", "\u{7f}"),
    ] {
        let mut scene = Scene::new();
        let line = Line {
            name: scene.builder.text(name),
            value: scene.builder.text(value),
        };
        let id = scene.builder.row(&line);
        assert_eq!(
            unsound(scene),
            fault("Line", u64::from(id.number()), FaultKind::HeaderLine),
            "{name}: {value}"
        );
    }
    let mut scene = Scene::new();
    let line = Line {
        name: scene.builder.text("X-Ok"),
        value: scene.builder.text("tab\tand é"),
    };
    scene.builder.row(&line);
    scene.finish();
}

fn edited(op: EditOp, place: EditPlace, name: &str, value: &[(PartKind, &str)]) -> Option<FaultKind> {
    let mut scene = Scene::new();
    let parts: Vec<Part> = value
        .iter()
        .map(|(kind, text)| Part {
            kind: *kind,
            text: scene.builder.text(text),
            index: 0,
            otherwise: false,
        })
        .collect();
    let edit = Edit {
        op,
        place,
        name: scene.builder.text(name),
        value: scene.builder.list(&parts),
        json_type: JsonType::String,
    };
    scene.builder.row(&edit);
    match scene.try_finish() {
        Ok(_) => None,
        Err(policy::artifact::BuildError::Unsound(fault)) => Some(fault.kind),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_edit_does_not_frame_or_split_a_message() {
    use EditPlace::{Body, Header, Query};
    let literal = |text| [(PartKind::Literal, text)];
    let refused = Some(FaultKind::HeaderLine);
    assert_eq!(
        edited(EditOp::Set, Header, "Content-Length", &literal("0")),
        refused
    );
    assert_eq!(edited(EditOp::Remove, Header, "transfer-encoding", &[]), refused);
    assert_eq!(edited(EditOp::Add, Header, "X-Ok", &literal("a\r\nb")), refused);
    assert_eq!(
        edited(EditOp::Rename, Header, "X-Old", &literal("Content-Length")),
        refused
    );
    let split = [(PartKind::Literal, "transfer-"), (PartKind::Literal, "encoding")];
    assert_eq!(
        edited(EditOp::Rename, Header, "X-Old", &split),
        refused,
        "in pieces"
    );
    assert_eq!(
        edited(EditOp::Rename, Header, "X-Old", &literal("two words")),
        refused
    );
    assert_eq!(edited(EditOp::Rename, Header, "X-Old", &literal("X-New")), None);
    assert_eq!(
        edited(EditOp::Set, Header, "X-Ok", &split),
        None,
        "as a value it is harmless"
    );
    assert_eq!(edited(EditOp::Set, Query, "content-length", &literal("1")), None);
    assert_eq!(edited(EditOp::Set, Body, "two words", &literal("a\nb")), None);
}

#[test]
fn texts_that_are_sent_hold_no_line_breaks() {
    let mut scene = Scene::new();
    let mut forged = scene.consumer(ALICE);
    forged.username = scene.builder.text("alice\r\nX-Consumer-Groups: gold");
    scene.builder.set(policy::table::Id::new(ALICE), &forged);
    assert_eq!(
        unsound(scene),
        fault("Consumer", u64::from(ALICE), FaultKind::Sent("username"))
    );
    let forge = |table: Table, column: &str, with: &str| {
        let mut scene = estate();
        let text = scene.builder.text(with);
        let sample = scene.finish();
        patched(&sample, table, 0, column, &[(0, text.offset), (1, text.len)]).map(|fault| fault.kind)
    };
    for (table, column, text) in [
        (Table::Cors, "methods", "GET\r\nX: y"),
        (Table::Cors, "max_age", "1\n"),
        (Table::Response, "content_type", "a/b\r\n"),
        (Table::Correlation, "header", "Content-Length"),
        (Table::Correlation, "header", "X Id"),
        (Table::Model, "auth_header", "Transfer-Encoding"),
        (Table::Service, "path", "/a HTTP/1.1\r\nX: y"),
        (Table::Service, "path", "/a b"),
        (Table::Service, "host", "a\tb"),
        (Table::Target, "host", "a\r"),
        (Table::Service, "host", "unix:app.sock"),
        (Table::Service, "host", "unix:@abstract"),
        (Table::Target, "host", "unix:/run/"),
        (Table::Target, "host", "unix:/run/a\0b"),
        (Table::Target, "host", &format!("unix:/{}", "a".repeat(107))),
        (Table::Upstream, "host_header", "a b"),
        (Table::Credential, "identifier", "a\n"),
        (Table::Group, "name", "a\n"),
        (Table::Origin, "text", "https://a\r\n"),
    ] {
        let column_is_named = |kind| matches!(kind, FaultKind::Sent(named) if named == column);
        assert!(
            forge(table, column, text).is_some_and(column_is_named),
            "{}.{column}",
            table.name()
        );
    }
    assert_eq!(forge(Table::Service, "path", "/é"), None);
    assert_eq!(forge(Table::Service, "host", "unix:/run/app.sock"), None);
}

#[test]
fn a_status_is_final() {
    for status in [0, 100, 199, 600, 70_000] {
        let mut scene = Scene::new();
        let id = scene.builder.row(&Refusal {
            plugin: Text::EMPTY,
            source: None,
            status,
            shape: BodyShape::Exit,
            message: Text::EMPTY,
            tail: MessageTail::None,
            headers: Rows::NONE,
        });
        assert_eq!(
            unsound(scene),
            fault("Refusal", u64::from(id.number()), FaultKind::Value("status"))
        );
        let found = refused(Table::Response, 0, "status", status);
        assert_eq!(found, fault("Response", 0, FaultKind::Value("status")));
    }
}

#[test]
fn numbers_are_in_range() {
    for (table, column, value) in [
        (Table::Ceiling, "window", 0),
        (Table::Period, "limit", 0),
        (Table::Target, "weight", 65_536),
        (Table::Target, "port", 65_536),
        (Table::Service, "port", 65_536),
        (Table::Upstream, "queue", 10_001),
        (Table::Upstream, "queue_timeout", 0),
        (Table::Upstream, "eject_after", 65_536),
        (Table::Upstream, "eject_for", 0),
        (Table::Upstream, "eject_most", 101),
    ] {
        assert_eq!(
            refused(table, 0, column, value),
            fault(table.name(), 0, FaultKind::Value(column))
        );
    }
    assert_eq!(
        refused(Table::Upstream, 0, "max_requests", 0),
        fault("Upstream", 0, FaultKind::Value("queue")),
        "without a bound nobody waits"
    );
}
