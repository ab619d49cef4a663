//! request-transformer: what the origin receives instead of what was sent.

use anyhow::Result;
use serde_json::json;
use tests::{Client, Gateway, Origin};

use crate::one_route;

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: request-transformer, config: {config}}}"),
        "",
    ))
}

#[test]
fn headers_change_in_kongs_order() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        "{remove: {headers: [x-gone]}, rename: {headers: ['x-old:x-new']}, replace: {headers: ['x-new:2', 'x-absent:1']}, \
          add: {headers: ['x-new:3', 'x-added:a:b']}, append: {headers: ['x-many:2']}}",
    )?;
    let sent = [("X-Gone", "1"), ("X-Old", "1"), ("X-Many", "1")];
    Client::get(gateway.addr(), "/", &sent)?;
    let seen = origin.last();
    for gone in ["x-gone", "x-old", "x-absent"] {
        assert!(!seen.headers.has(gone), "{gone}");
    }
    assert_eq!(seen.headers.all("x-new").collect::<Vec<_>>(), ["2"]);
    assert_eq!(seen.header("x-added"), "a:b");
    let many: Vec<&str> = seen
        .headers
        .all("x-many")
        .flat_map(|value| value.split(", "))
        .collect();
    assert_eq!(many, ["1", "2"]);
    Ok(())
}

#[test]
fn query_arguments_change() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        "{remove: {querystring: [gone]}, rename: {querystring: ['old:new']}, replace: {querystring: ['v:2']}, \
          add: {querystring: ['v:3', 'added:x y']}}",
    )?;
    Client::get(gateway.addr(), "/p?gone=1&old=1&v=1&keep=%C3%A9", &[])?;
    let target = origin.last().target;
    let (path, query) = target.split_once('?').unwrap_or_default();
    let mut arguments: Vec<&str> = query.split('&').collect();
    arguments.sort_unstable();
    assert_eq!(path, "/p");
    assert_eq!(arguments, ["added=x%20y", "keep=%C3%A9", "new=1", "v=2"]);
    Ok(())
}

#[test]
fn json_bodies_change_at_the_top_level_and_nowhere_else() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(
        &origin,
        "{remove: {body: [gone]}, rename: {body: ['old:new']}, replace: {body: ['v:2']}, add: {body: ['added:x']}}",
    )?;
    let sent = json!({"gone": 1, "old": {"gone": 1}, "v": 1, "n": 12345678901234567890u64});
    Client::post_json(gateway.addr(), "/", &[], &sent)?;
    let seen = origin.last();
    assert_eq!(
        seen.json(),
        json!({"new": {"gone": 1}, "v": "2", "n": 12345678901234567890u64, "added": "x"})
    );
    Ok(())
}

#[test]
fn form_bodies_change() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{remove: {body: [gone]}, add: {body: ['added:x y']}}")?;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    Client::fetch(gateway.addr(), "POST", "/", &form, b"gone=1&keep=2")?;
    let seen = String::from_utf8(origin.last().body)?;
    let mut arguments: Vec<&str> = seen.split('&').collect();
    arguments.sort_unstable();
    assert!(
        arguments == ["added=x%20y", "keep=2"] || arguments == ["added=x+y", "keep=2"],
        "{seen}"
    );
    Ok(())
}

#[test]
fn method_uri_and_templates() -> Result<()> {
    let origin = Origin::echo()?;
    let plugin = "{name: request-transformer, config: {http_method: POST, replace: {uri: '/users/$(uri_captures.id)'}, \
        add: {headers: ['x-from:$(headers.user_agent or \"none\")', 'x-page:$(query_params.page)']}}}";
    let route = format!("{{name: a, paths: ['~/u/(?<id>\\d+)'], plugins: [{plugin}]}}");
    let gateway = Gateway::start(crate::routes(&format!("{}/base", origin.url()), &route))?;
    Client::get(gateway.addr(), "/u/42?page=7", &[])?;
    let seen = origin.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/users/42?page=7")
    );
    assert_eq!((seen.header("x-from"), seen.header("x-page")), ("none", "7"));
    Ok(())
}
