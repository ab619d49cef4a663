use proptest::prelude::*;

use super::*;

/// A message written by hand: nothing here is from the library that reads it.
#[derive(Clone)]
struct Written {
    id: u16,
    flags: u16,
    questions: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    authority: Vec<Vec<u8>>,
}

const ANSWER: u16 = 0x8180;

fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn question(text: &str, kind: u16) -> Vec<u8> {
    [name(text), kind.to_be_bytes().into(), vec![0, 1]].concat()
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [
        &name(owner)[..],
        &kind.to_be_bytes(),
        &[0, 1],
        &ttl.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

fn a(owner: &str, ttl: u32, last: u8) -> Vec<u8> {
    record(owner, 1, ttl, &[192, 0, 2, last])
}

fn cname(owner: &str, ttl: u32, target: &str) -> Vec<u8> {
    record(owner, 5, ttl, &name(target))
}

fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
    let data = [
        &name("ns.test")[..],
        &name("admin.test"),
        &[0; 16],
        &minimum.to_be_bytes(),
    ]
    .concat();
    record("test", 6, ttl, &data)
}

impl Written {
    fn answer(asked: Vec<u8>, answers: Vec<Vec<u8>>) -> Self {
        Self {
            id: 7,
            flags: ANSWER,
            questions: vec![asked],
            answers,
            authority: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let counts =
            [&self.questions, &self.answers, &self.authority].map(|it| u16::try_from(it.len()).unwrap());
        let mut bytes = Vec::new();
        for word in [self.id, self.flags, counts[0], counts[1], counts[2], 0] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        for part in [&self.questions, &self.answers, &self.authority]
            .into_iter()
            .flatten()
        {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

fn ask(kind: Kind) -> Question {
    Question::new("web.test", kind).unwrap()
}

fn read(answers: Vec<Vec<u8>>) -> Reply {
    let message = Written::answer(question("web.test", 1), answers);
    ask(Kind::A).read(7, &message.bytes()).unwrap()
}

fn addresses(last: &[u8], ttl_s: u32) -> Reply {
    Reply::Addresses(
        last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect(),
        ttl_s,
    )
}

#[test]
fn a_question_is_written_as_rfc_1035_and_6891_say() {
    let bytes = ask(Kind::Aaaa).write(0x1234, true);
    let expected = [
        &[0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1][..],
        &question("web.test", 28),
        &[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert_eq!(bytes, expected);
    let plain = ask(Kind::Srv).write(1, false);
    assert_eq!(
        plain,
        [
            &[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            &question("web.test", 33)
        ]
        .concat()
    );
}

#[test]
fn what_is_no_name_is_no_question() {
    let long = "a".repeat(64);
    let longer = ["abcdefgh"; 40].join(".");
    for wrong in [
        "",
        ".",
        "a..b",
        ".a",
        "a b",
        "bücher.test",
        "a\u{0}b",
        &long,
        &longer,
    ] {
        assert!(Question::new(wrong, Kind::A).is_none(), "{wrong:?}");
    }
    for right in ["a", "a.", "_http._tcp.web.test", "A-b_c.test"] {
        assert!(Question::new(right, Kind::A).is_some(), "{right:?}");
    }
}

#[test]
fn only_an_answer_to_this_very_question_is_believed() {
    let good = Written::answer(question("WEB.test", 1), vec![a("web.TEST", 60, 1)]);
    assert_eq!(ask(Kind::A).read(7, &good.bytes()), Ok(addresses(&[1], 60)));
    let forged = [
        Written {
            id: 8,
            ..good.clone()
        },
        Written {
            flags: 0x0100,
            ..good.clone()
        },
        Written {
            flags: ANSWER | 0x2800,
            ..good.clone()
        },
        Written {
            questions: vec![question("evil.test", 1)],
            ..good.clone()
        },
        Written {
            questions: vec![question("web.test", 28)],
            ..good.clone()
        },
        Written {
            questions: vec![],
            ..good.clone()
        },
        Written {
            questions: vec![question("web.test", 1), question("web.test", 1)],
            ..good.clone()
        },
    ];
    for (number, forged) in forged.iter().enumerate() {
        assert_eq!(ask(Kind::A).read(7, &forged.bytes()), Err(Foreign), "{number}");
    }
    let mut other_class = good.bytes();
    let class = 12 + question("web.test", 1).len() - 1;
    other_class[class] = 3;
    assert_eq!(ask(Kind::A).read(7, &other_class), Err(Foreign));
    assert_eq!(ask(Kind::A).read(7, &good.bytes()[..11]), Err(Foreign));
}

#[test]
fn records_of_other_names_and_types_are_not_read() {
    let six = record("web.test", 28, 60, &[0; 16]);
    assert_eq!(
        read(vec![a("evil.test", 60, 9), six, a("web.test", 60, 1)]),
        addresses(&[1], 60)
    );
    let alone = Reply::Nothing {
        exists: true,
        ttl_s: None,
    };
    assert_eq!(read(vec![a("evil.test", 60, 9)]), alone);
}

#[test]
fn aliases_lead_to_addresses_in_any_order_and_the_shortest_time_counts() {
    let chain = vec![
        a("c.test", 30, 1),
        cname("b.test", 20, "c.test"),
        cname("web.test", 60, "b.test"),
        a("c.test", 40, 2),
    ];
    assert_eq!(read(chain), addresses(&[1, 2], 20));
    assert_eq!(
        read(vec![cname("web.test", 60, "else.where")]),
        Reply::Alias("else.where".into(), 60)
    );
    let circle = vec![cname("web.test", 60, "b.test"), cname("b.test", 60, "web.test")];
    assert_eq!(read(circle), Reply::Failed);
    assert_eq!(read(vec![cname("web.test", 60, "web.test")]), Reply::Failed);
}

#[test]
fn nothing_is_believed_as_long_as_the_zone_says() {
    let asked = || question("web.test", 1);
    let message = |flags, authority: Vec<Vec<u8>>, answers| Written {
        flags,
        authority,
        ..Written::answer(asked(), answers)
    };
    let read = |message: Written| ask(Kind::A).read(7, &message.bytes()).unwrap();
    let none = |exists, ttl_s| Reply::Nothing { exists, ttl_s };
    assert_eq!(
        read(message(ANSWER | 3, vec![soa(900, 5)], vec![])),
        none(false, Some(5))
    );
    assert_eq!(
        read(message(ANSWER | 3, vec![soa(4, 60)], vec![])),
        none(false, Some(4))
    );
    assert_eq!(read(message(ANSWER | 3, vec![], vec![])), none(false, None));
    assert_eq!(
        read(message(ANSWER, vec![soa(900, 6)], vec![])),
        none(true, Some(6))
    );
    let alias = vec![cname("web.test", 3, "b.test")];
    assert_eq!(
        read(message(ANSWER, vec![soa(900, 6)], alias)),
        none(true, Some(3))
    );
}

#[test]
fn refusals_and_truncation_are_told_apart() {
    let with = |flags| Written {
        flags,
        ..Written::answer(question("web.test", 1), vec![a("web.test", 1, 1)])
    };
    let read = |flags| ask(Kind::A).read(7, &with(flags).bytes()).unwrap();
    assert_eq!(read(ANSWER | 2), Reply::Failed);
    assert_eq!(read(ANSWER | 5), Reply::Failed);
    assert_eq!(read(ANSWER | 1), Reply::NotUnderstood);
    assert_eq!(read(ANSWER | 4), Reply::NotUnderstood);
    assert_eq!(read(ANSWER | 0x0200), Reply::Truncated);
    let bare = Written {
        flags: ANSWER | 1,
        questions: vec![],
        answers: vec![],
        ..with(0)
    };
    assert_eq!(ask(Kind::A).read(7, &bare.bytes()), Ok(Reply::NotUnderstood));
}

#[test]
fn services_bring_port_and_weight_and_a_dot_is_none() {
    let srv = |priority: u16, weight: u16, port: u16, target: &str| {
        let words = [priority, weight, port].map(u16::to_be_bytes).concat();
        record("web.test", 33, 9, &[words, name(target)].concat())
    };
    let message = Written::answer(
        question("web.test", 33),
        vec![
            srv(1, 2, 8080, "a.test"),
            srv(0, 0, 0, "B.test"),
            srv(0, 1, 1, "."),
        ],
    );
    let service = |priority, weight, port, target: &str| Service {
        priority,
        weight,
        port,
        target: target.into(),
    };
    let expected = vec![service(1, 2, 8080, "a.test"), service(0, 0, 0, "B.test")];
    assert_eq!(
        ask(Kind::Srv).read(7, &message.bytes()),
        Ok(Reply::Services(expected, 9))
    );
}

#[test]
fn times_beyond_what_rfc_2181_allows_are_zero_and_too_many_records_are_cut() {
    assert_eq!(read(vec![a("web.test", 0x8000_0000, 1)]), addresses(&[1], 0));
    let many = (0..300_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        record("web.test", 1, 5, &[192, 0, high, low])
    });
    let Reply::Addresses(found, 5) = read(many.collect()) else {
        panic!("addresses");
    };
    assert_eq!(found.len(), limits::DNS_RECORDS);
}

#[test]
fn a_record_of_the_wrong_length_is_a_failure_of_the_server() {
    assert_eq!(read(vec![record("web.test", 1, 5, &[1, 2, 3])]), Reply::Failed);
    assert_eq!(
        read(vec![record("web.test", 1, 5, &[1, 2, 3, 4, 5])]),
        Reply::Failed
    );
    let mut circular = record("web.test", 5, 5, &[0, 0]);
    let at = circular.len() - 2;
    // A name that points at itself.
    let whole = 12 + question("web.test", 1).len() + at;
    circular[at] = 0xc0 | u8::try_from(whole >> 8).unwrap();
    circular[at + 1] = u8::try_from(whole & 0xff).unwrap();
    assert_eq!(read(vec![circular]), Reply::Failed);
}

proptest! {
    #[test]
    fn any_bytes_behind_a_good_question_are_read_without_harm(
        tail in proptest::collection::vec(any::<u8>(), 0..300),
        counts in proptest::array::uniform3(0_u16..6),
        kind in proptest::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Srv]),
    ) {
        let mut bytes = Written::answer(question("web.test", kind.rtype().to_int()), vec![]).bytes();
        for (place, count) in [6, 8, 10].into_iter().zip(counts) {
            bytes[place..place + 2].copy_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(&tail);
        let reply = ask(kind).read(7, &bytes);
        prop_assert!(reply.is_ok());
        prop_assert_eq!(ask(kind).read(8, &bytes), Err(Foreign));
    }

    #[test]
    fn every_address_that_is_named_is_found(
        lasts in proptest::collection::btree_set(any::<u8>(), 1..40),
        ttls in proptest::collection::vec(0_u32..100_000, 40),
        hops in 0_usize..6,
    ) {
        let names: Vec<String> = (0..=hops).map(|hop| if hop == 0 { "web.test".to_owned() } else { format!("h{hop}.test") }).collect();
        let mut answers: Vec<Vec<u8>> = names.windows(2).map(|pair| cname(&pair[0], 200_000, &pair[1])).collect();
        answers.extend(lasts.iter().zip(&ttls).map(|(last, ttl)| a(&names[hops], *ttl, *last)));
        answers.reverse();
        let least = *ttls[..lasts.len()].iter().min().unwrap();
        let Reply::Addresses(mut found, ttl_s) = read(answers) else { panic!("addresses") };
        found.sort();
        let expected: Vec<IpAddr> = lasts.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect();
        prop_assert_eq!((found, ttl_s), (expected, least));
    }
}
