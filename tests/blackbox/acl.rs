//! acl: which groups pass.

use anyhow::Result;
use tests::{Client, Gateway, Origin};

use crate::one_route;

const CONSUMERS: &str = "consumers:\n\
    - {username: ada, keyauth_credentials: [{key: ada-key}], acls: [{group: staff}, {group: gold}]}\n\
    - {username: bob, keyauth_credentials: [{key: bob-key}], acls: [{group: banned}]}\n\
    - {username: eve, keyauth_credentials: [{key: eve-key}]}\n\
    - {username: nobody}\n";

fn gateway(origin: &Origin, plugins: &str) -> Result<Gateway> {
    Gateway::start(one_route(&origin.url(), plugins, CONSUMERS))
}

fn statuses(gateway: &Gateway) -> Result<[u16; 3]> {
    let status = |key| -> Result<u16> { Ok(Client::get(gateway.addr(), "/", &[("apikey", key)])?.status) };
    Ok([status("ada-key")?, status("bob-key")?, status("eve-key")?])
}

#[test]
fn only_allowed_groups_pass() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        "{name: key-auth}, {name: acl, config: {allow: [gold, silver]}}",
    )?;
    assert_eq!(statuses(&gateway)?, [200, 403, 403]);
    let groups = origin.last();
    let mut groups: Vec<&str> = groups.header("X-Consumer-Groups").split(", ").collect();
    groups.sort_unstable();
    assert_eq!(groups, ["gold", "staff"]);
    let refusal = Client::get(gateway.addr(), "/", &[("apikey", "bob-key")])?;
    assert_eq!(refusal.json()["message"], "You cannot consume this service");
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 401);
    Ok(())
}

#[test]
fn denied_groups_do_not_pass() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        "{name: key-auth}, {name: acl, config: {deny: [banned], hide_groups_header: true}}",
    )?;
    assert_eq!(statuses(&gateway)?, [200, 403, 200]);
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| !request.headers.has("X-Consumer-Groups"))
    );
    Ok(())
}

#[test]
fn a_forged_groups_header_changes_nothing() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{name: key-auth}, {name: acl, config: {allow: [gold]}}")?;
    let forged = [
        ("apikey", "eve-key"),
        ("X-Consumer-Groups", "gold"),
        ("X-Authenticated-Groups", "gold"),
    ];
    assert_eq!(Client::get(gateway.addr(), "/", &forged)?.status, 403);
    Ok(())
}

#[test]
fn the_anonymous_consumer_without_group_is_unauthorized() -> Result<()> {
    let origin = Origin::echo()?;
    let plugins = "{name: key-auth, config: {anonymous: nobody}}, {name: acl, config: {allow: [gold]}}";
    let gateway = gateway(&origin, plugins)?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 401);
    assert_eq!(
        Client::get(gateway.addr(), "/", &[("apikey", "ada-key")])?.status,
        200
    );
    Ok(())
}
