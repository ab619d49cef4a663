//! Whose counter a request falls on.

use policy::artifact::{Builder, Limits};
use policy::table::{
    BodyShape, Consumer, Credential, Group, Membership, MessageTail, Meta, Period as Row, Proof, Refusal,
    Route, Rows, Scheme, Service, Text, Verify,
};

use super::*;
use crate::http::h1::head::RequestDecoder;
use crate::http::head::RequestHead;

const NOW_MS: u64 = 1_700_000_000_000;

/// A policy with a quota of one request per minute, and one of everything that a limit can look at but for
/// consumers and credentials, of which there are two.
fn policy(by: LimitBy, hide_headers: bool) -> Policy {
    let mut b = Builder::new();
    let [id, json, header, path] = ["some-id", "{}", "x-who", "/counted"].map(|text| b.text(text));
    let meta_row = b.row(&meta(id, Id::new(0)));
    let service = b.row(&Service {
        id,
        name: id,
        source: None,
        scheme: Scheme::Http,
        host: id,
        port: 80,
        path: Text::EMPTY,
        retries: 0,
        connect_timeout: 1,
        write_timeout: 1,
        read_timeout: 1,
        upstream: None,
        verify: Verify::Default,
        verify_depth: u32::MAX,
        authorities: Rows::NONE,
        client_certificate: None,
        proxy_protocol: policy::table::ProxyProtocol::Off,
        http: policy::table::HttpVersion::Http1,
        hedge_after: 0,
        json,
    });
    let unmatched = b.row(&route(id, json, None));
    b.row(&route(id, json, Some(service)));
    b.set(meta_row, &meta(id, unmatched));
    let group = b.row(&Group { id, name: id });
    for name in ["ann", "bob"] {
        let id = b.text(name);
        let groups = b.list(&[Membership { group }]);
        let consumer = b.row(&Consumer {
            id,
            username: id,
            custom_id: Text::EMPTY,
            acl: Rows::NONE,
            acl_header: Text::EMPTY,
            groups,
            json,
        });
        let lookup = [name.as_bytes()[0]; 32];
        let digest = [0; 32];
        b.row(&Credential {
            lookup,
            proof: Proof::Lookup,
            digest,
            consumer,
            id,
            identifier: id,
        });
    }
    let refusal = b.row(&Refusal {
        plugin: id,
        source: None,
        status: 429,
        shape: BodyShape::Error,
        message: id,
        tail: MessageTail::None,
        headers: Rows::NONE,
    });
    add_quota(&mut b, by, hide_headers, [header, path], refusal);
    Policy::load(&b.finish([1; 32], 1).unwrap(), Limits::default()).unwrap()
}

fn add_quota(
    b: &mut Builder,
    by: LimitBy,
    hide_headers: bool,
    [header, path]: [Text; 2],
    refusal: Id<Refusal>,
) {
    let periods = b.list(&[Row {
        unit: PeriodUnit::Minute,
        limit: 1,
    }]);
    b.row(&Quota {
        source: None,
        stable: 42,
        by,
        header,
        path,
        periods,
        hide_headers,
        refusal,
    });
}

fn meta(id: Text, unmatched: Id<Route>) -> Meta {
    Meta {
        salt: [7; 32],
        workspace: id,
        unmatched,
        ..Meta::EMPTY
    }
}

fn route(id: Text, json: Text, service: Option<Id<Service>>) -> Route {
    Route {
        id,
        name: id,
        service,
        json,
        ..Route::EMPTY
    }
}

/// A request: consumer, credential, value of `X-Who`, path, last byte of the address.
type Facts = (Option<u32>, Option<u32>, &'static str, &'static str, u8);

/// Takes for one request after the other; whether each is admitted.
fn admitted(by: LimitBy, requests: &[Facts]) -> Vec<bool> {
    let policy = policy(by, false);
    let table = Table::new(1024);
    let one = |&(consumer, credential, who, path, address): &Facts| {
        let received = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Who: {who}\r\n\r\n");
        let mut head = RequestHead::default();
        RequestDecoder::default()
            .decode(received.as_bytes(), &mut head)
            .unwrap()
            .unwrap();
        let mut state = State::default();
        state.route = Some(Id::new(1));
        state.consumer = consumer.map(Id::new);
        state.credential = credential.map(Id::new);
        let caller = Caller {
            state: &state,
            headers: head.headers.on(received.as_bytes()),
            path: path.as_bytes(),
            address: Some(0xffff_c000_0200 | u128::from(address)),
        };
        take(
            &policy,
            &table,
            Id::new(0),
            &caller,
            NOW_MS,
            &mut Taken::default(),
        )
    };
    requests.iter().map(one).collect()
}

#[test]
fn each_identifier_has_its_own_counter() {
    for (by, first, same, other) in [
        (
            LimitBy::Consumer,
            (Some(0), None, "", "/", 1),
            (Some(0), None, "", "/", 2),
            (Some(1), None, "", "/", 1),
        ),
        (
            LimitBy::Credential,
            (Some(0), Some(0), "", "/", 1),
            (None, Some(0), "", "/", 2),
            (Some(0), Some(1), "", "/", 1),
        ),
        (
            LimitBy::Ip,
            (Some(0), None, "", "/", 1),
            (Some(1), None, "", "/", 1),
            (Some(0), None, "", "/", 2),
        ),
        (
            LimitBy::Header,
            (None, None, "x", "/", 1),
            (None, None, "x", "/", 2),
            (None, None, "y", "/", 1),
        ),
        (
            LimitBy::Path,
            (None, None, "", "/counted", 1),
            (None, None, "", "/counted", 2),
            (None, None, "", "/counted/", 1),
        ),
        (
            LimitBy::ConsumerGroup,
            (Some(0), None, "", "/", 1),
            (Some(1), None, "", "/", 2),
            (None, None, "", "/", 1),
        ),
    ] {
        assert_eq!(
            admitted(by, &[first, same, other]),
            [true, false, true],
            "{}",
            by.name()
        );
    }
    let anywhere = [(None, None, "", "/", 1), (Some(1), None, "", "/", 2)];
    assert_eq!(admitted(LimitBy::Service, &anywhere), [true, false]);
}

#[test]
fn what_is_missing_falls_back_to_the_address() {
    for by in LimitBy::ALL.iter().copied().filter(|by| *by != LimitBy::Service) {
        let requests = [
            (None, None, "", "/", 1),
            (None, None, "", "/", 1),
            (None, None, "", "/", 2),
        ];
        assert_eq!(admitted(by, &requests), [true, false, true], "{}", by.name());
    }
}

#[test]
fn hidden_quotas_are_enforced_and_not_told() {
    let table = Table::new(1024);
    let state = State::default();
    let head = RequestHead::default();
    let caller = Caller {
        state: &state,
        headers: head.headers.on(b""),
        path: b"/",
        address: None,
    };
    for (hidden, told) in [(true, false), (false, true)] {
        let policy = policy(LimitBy::Ip, hidden);
        let mut taken = Taken::default();
        let admitted = take(&policy, &table, Id::new(0), &caller, NOW_MS, &mut taken);
        assert_eq!(
            (admitted, taken.told.is_some()),
            (hidden, told),
            "the second request is one too many"
        );
    }
}

#[test]
fn taking_does_not_allocate() {
    let (policy, table, state) = (
        policy(LimitBy::Consumer, false),
        Table::new(1024),
        State::default(),
    );
    let head = RequestHead::default();
    let caller = Caller {
        state: &state,
        headers: head.headers.on(b""),
        path: b"/",
        address: Some(1),
    };
    let mut taken = Taken::default();
    let mut once = || take(&policy, &table, Id::new(0), &caller, NOW_MS, &mut taken);
    once();
    let info = allocation_counter::measure(|| {
        once();
    });
    assert_eq!(info.count_total, 0);
}
