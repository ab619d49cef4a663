//! ip-restriction: addresses and networks, deny before allow.

use anyhow::Result;
use tests::{Client, Gateway, Origin, Response};

use crate::one_route;

fn ask(config: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: ip-restriction, config: {config}}}"),
        "",
    ))?;
    Client::get(gateway.addr(), "/", headers)
}

#[test]
fn lists_decide_with_deny_first() -> Result<()> {
    for (config, status) in [
        ("{allow: [127.0.0.1]}", 200),
        ("{allow: [127.0.0.0/8]}", 200),
        ("{allow: [10.0.0.0/8, '::1']}", 403),
        ("{deny: [127.0.0.1]}", 403),
        ("{deny: [10.0.0.0/8]}", 200),
        ("{allow: [127.0.0.0/8], deny: [127.0.0.1]}", 403),
    ] {
        assert_eq!(ask(config, &[])?.status, status, "{config}");
    }
    Ok(())
}

#[test]
fn the_refusal_names_the_address() -> Result<()> {
    let answer = ask("{deny: [127.0.0.1]}", &[])?;
    assert_eq!(answer.json()["message"], "IP address not allowed: 127.0.0.1");
    let own = ask("{deny: [127.0.0.1], status: 451, message: go away}", &[])?;
    assert_eq!(
        (own.status, own.json()["message"].as_str()),
        (451, Some("go away"))
    );
    Ok(())
}

#[test]
fn an_untrusted_forwarded_address_is_not_believed() -> Result<()> {
    let spoofed = [("X-Forwarded-For", "10.1.1.1"), ("X-Real-IP", "10.1.1.1")];
    assert_eq!(ask("{deny: [127.0.0.1]}", &spoofed)?.status, 403);
    assert_eq!(ask("{deny: [10.0.0.0/8]}", &spoofed)?.status, 200);
    Ok(())
}
