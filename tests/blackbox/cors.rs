//! cors: preflights answered by the gateway, headers on actual responses.

use anyhow::Result;
use tests::{Client, Gateway, Origin, Response};

use crate::one_route;

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: cors, config: {config}}}"),
        "",
    ))
}

fn preflight(gateway: &Gateway, from: &str) -> Result<Response> {
    let headers = [
        ("Origin", from),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "x-a,x-b"),
    ];
    Client::fetch(gateway.addr(), "OPTIONS", "/", &headers, b"")
}

const ALLOW: &str = "Access-Control-Allow-Origin";

#[test]
fn a_preflight_is_answered_without_the_origin() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{methods: [GET, PUT], max_age: 600}")?;
    let answer = preflight(&gateway, "https://shop.example")?;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    for (header, expected) in [
        (ALLOW, "*"),
        ("Access-Control-Allow-Methods", "GET,PUT"),
        ("Access-Control-Allow-Headers", "x-a,x-b"),
        ("Access-Control-Max-Age", "600"),
    ] {
        assert_eq!(answer.header(header), expected, "{header}");
    }
    assert!(origin.requests().is_empty());
    assert_eq!(
        Client::fetch(gateway.addr(), "OPTIONS", "/", &[], b"")?.json()["method"],
        "OPTIONS"
    );
    Ok(())
}

#[test]
fn a_preflight_needs_no_credentials() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "{name: cors}, {name: key-auth}", ""))?;
    assert_eq!(preflight(&gateway, "https://shop.example")?.status, 200);
    let refusal = Client::get(gateway.addr(), "/", &[("Origin", "https://shop.example")])?;
    assert_eq!((refusal.status, refusal.header(ALLOW)), (401, "*"));
    Ok(())
}

#[test]
fn one_origin_is_always_told_and_several_are_matched() -> Result<()> {
    let upstream = Origin::echo()?;
    let single = gateway(&upstream, "{origins: ['https://a.example']}")?;
    let answer = Client::get(single.addr(), "/", &[("Origin", "https://evil.example")])?;
    assert_eq!(
        (answer.header(ALLOW), answer.header("Vary")),
        ("https://a.example", "Origin")
    );
    let several = gateway(
        &upstream,
        "{origins: ['https://a.example', '.*\\.b\\.example'], credentials: true}",
    )?;
    for (from, expected) in [
        ("https://a.example", "https://a.example"),
        ("https://x.b.example", "https://x.b.example"),
        ("https://a.example.evil", ""),
        ("https://xb.example", ""),
    ] {
        let answer = Client::get(several.addr(), "/", &[("Origin", from)])?;
        assert_eq!((answer.status, answer.header(ALLOW)), (200, expected), "{from}");
    }
    Ok(())
}

#[test]
fn credentials_turn_the_star_into_the_origin() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{credentials: true, exposed_headers: [X-One, X-Two]}")?;
    let answer = Client::get(gateway.addr(), "/", &[("Origin", "https://a.example")])?;
    assert_eq!(answer.header(ALLOW), "https://a.example");
    assert_eq!(answer.header("Access-Control-Allow-Credentials"), "true");
    assert_eq!(answer.header("Access-Control-Expose-Headers"), "X-One,X-Two");
    Ok(())
}
