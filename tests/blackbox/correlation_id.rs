//! correlation-id: made when absent, kept when present, shown when asked.

use std::collections::HashSet;

use anyhow::Result;
use tests::{Client, Gateway, Origin};

use crate::one_route;

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: correlation-id, config: {config}}}"),
        "",
    ))
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[test]
fn uuids_differ_and_are_echoed() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        "{generator: uuid, header_name: X-Trace, echo_downstream: true}",
    )?;
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let answer = Client::get(gateway.addr(), "/", &[])?;
        let id = origin.last().header("X-Trace").to_owned();
        assert!(is_uuid(&id), "{id}");
        assert_eq!(answer.header("X-Trace"), id);
        assert!(seen.insert(id));
    }
    Ok(())
}

#[test]
fn the_default_counts_up_behind_a_uuid_and_stays_upstream() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(&origin.url(), "{name: correlation-id}", ""))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    let mut last = None;
    for _ in 0..3 {
        let answer = client.ask("GET", "/", &[], b"")?;
        assert!(!answer.headers.has("Kong-Request-ID"));
        let seen = origin.last();
        let (uuid, count) = seen.header("Kong-Request-ID").split_once('#').unwrap_or_default();
        let count: u64 = count.parse()?;
        assert!(is_uuid(uuid));
        assert!(last.is_none_or(|(id, before): (String, u64)| id == uuid && count == before + 1));
        last = Some((uuid.to_owned(), count));
    }
    Ok(())
}

#[test]
fn an_incoming_id_is_kept() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{echo_downstream: true}")?;
    let answer = Client::get(gateway.addr(), "/", &[("kong-request-id", "mine")])?;
    assert_eq!(
        (
            origin.last().header("Kong-Request-ID"),
            answer.header("Kong-Request-ID")
        ),
        ("mine", "mine")
    );
    Ok(())
}

#[test]
fn refusals_have_an_id_too() -> Result<()> {
    let origin = Origin::echo()?;
    let config = "{generator: uuid, header_name: X-Trace, echo_downstream: true}";
    let plugins = format!("{{name: correlation-id, config: {config}}}, {{name: key-auth}}");
    let gateway = Gateway::start(one_route(&origin.url(), &plugins, ""))?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(answer.status, 401);
    assert!(is_uuid(answer.header("X-Trace")), "{:?}", answer.headers);
    let kept = Client::get(gateway.addr(), "/", &[("x-trace", "mine")])?;
    assert_eq!((kept.status, kept.header("X-Trace")), (401, "mine"));
    Ok(())
}

#[test]
fn a_body_too_large_to_judge_is_refused_under_its_id() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(
        &origin.url(),
        "{name: correlation-id, config: {generator: uuid, header_name: X-Trace, echo_downstream: true}}, \
         {name: key-auth, config: {key_in_body: true}}",
        "",
    ))?;
    let body = vec![b'x'; 9 << 20];
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = Client::fetch(gateway.addr(), "POST", "/", &form, &body)?;
    assert_eq!(answer.status, 413);
    assert!(
        is_uuid(answer.header("X-Trace")),
        "{:?}",
        answer.header("X-Trace")
    );
    Ok(())
}
