//! response-transformer: what the client receives instead of what was answered.

use anyhow::Result;
use serde_json::json;
use tests::{Client, Gateway, Origin, Script};

use crate::one_route;

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: response-transformer, config: {config}}}"),
        "",
    ))
}

#[test]
fn headers_change() -> Result<()> {
    let origin = Origin::always(Script::respond(
        200,
        &[("X-Gone", "1"), ("X-Old", "1"), ("X-V", "1")],
        "plain",
    ))?;
    let gateway = gateway(
        &origin,
        "{remove: {headers: [x-gone]}, rename: {headers: ['x-old:x-new']}, replace: {headers: ['x-v:2']}, \
          add: {headers: ['x-added:1', 'x-v:3']}, append: {headers: ['x-v:4']}}",
    )?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert!(!answer.headers.has("x-gone") && !answer.headers.has("x-old"));
    assert_eq!((answer.header("x-new"), answer.header("x-added")), ("1", "1"));
    assert_eq!(answer.headers.all("x-v").collect::<Vec<_>>(), ["2", "4"]);
    assert_eq!(answer.text(), "plain");
    Ok(())
}

#[test]
fn json_bodies_change_with_types() -> Result<()> {
    let body = json!({"gone": 1, "v": 1, "keep": [1, 2]}).to_string();
    let origin = Origin::always(Script::respond(
        200,
        &[("Content-Type", "application/json")],
        body,
    ))?;
    let gateway = gateway(
        &origin,
        "{remove: {json: [gone]}, replace: {json: ['v:2'], json_types: [number]}, \
          add: {json: ['yes:true', 'text:true'], json_types: [boolean, string]}}",
    )?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        answer.json(),
        json!({"v": 2, "keep": [1, 2], "yes": true, "text": "true"})
    );
    Ok(())
}

#[test]
fn a_body_that_is_not_json_is_left_alone() -> Result<()> {
    for kind in ["text/plain", "application/json"] {
        let origin = Origin::always(Script::respond(200, &[("Content-Type", kind)], "{\"gone\":1"))?;
        let gateway = gateway(&origin, "{remove: {json: [gone]}}")?;
        assert_eq!(
            Client::get(gateway.addr(), "/", &[])?.text(),
            "{\"gone\":1",
            "{kind}"
        );
    }
    Ok(())
}

#[test]
fn it_also_works_on_the_gateways_own_answers() -> Result<()> {
    let origin = Origin::echo()?;
    let plugins = "{name: key-auth}, {name: response-transformer, config: {add: {headers: ['x-added:1']}}}";
    let gateway = Gateway::start(one_route(&origin.url(), plugins, ""))?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!((answer.status, answer.header("x-added")), (401, "1"));
    Ok(())
}

#[test]
fn head_announces_no_length_that_an_edit_would_change() -> Result<()> {
    let origin = Origin::always(Script::respond(
        200,
        &[("Content-Type", "application/json")],
        "{\"gone\":1}",
    ))?;
    let gateway = gateway(&origin, "{remove: {json: [gone]}}")?;
    let answer = Client::fetch(gateway.addr(), "HEAD", "/", &[], b"")?;
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.has("Content-Length"), "{:?}", answer.headers);
    assert_eq!(
        Client::get(gateway.addr(), "/", &[])?.header("Content-Length"),
        "2"
    );
    Ok(())
}
