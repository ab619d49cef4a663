//! The gateway's own answers, byte for byte as Kong's, in the form the client accepts.

use anyhow::Result;
use tests::{Client, Gateway, Origin, Response};

use crate::{one_route, routes};

fn not_found(headers: &[(&str, &str)]) -> Result<Response> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(routes(&origin.url(), "{name: a, paths: [/a]}"))?;
    let answer = Client::get(gateway.addr(), "/nowhere", headers)?;
    assert_eq!(answer.status, 404);
    assert!(origin.requests().is_empty());
    Ok(answer)
}

#[test]
fn json_is_the_default_form() -> Result<()> {
    let answer = not_found(&[])?;
    let id = answer.header("X-Kong-Request-Id");
    assert_eq!(id.len(), 32);
    let expected =
        format!("{{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"{id}\"\n}}");
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("Content-Type"), "application/json; charset=utf-8");
    assert!(answer.header("X-Kong-Response-Latency").parse::<u64>().is_ok());
    assert!(answer.headers.has("Server"));
    Ok(())
}

#[test]
fn the_accepted_form_with_the_highest_weight_wins() -> Result<()> {
    for (accept, content_type, start) in [
        (
            "text/plain",
            "text/plain; charset=utf-8",
            "no Route matched with those values\nrequest_id: ",
        ),
        (
            "text/*",
            "text/plain; charset=utf-8",
            "no Route matched with those values\n",
        ),
        (
            "application/json;q=0.1, text/html",
            "text/html; charset=utf-8",
            "<!doctype html>\n<html>\n  <head>\n",
        ),
        (
            "application/xml",
            "application/xml; charset=utf-8",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n",
        ),
        (
            "image/png",
            "application/json; charset=utf-8",
            "{\n  \"message\":",
        ),
        ("*/*", "application/json; charset=utf-8", "{\n  \"message\":"),
    ] {
        let answer = not_found(&[("Accept", accept)])?;
        assert_eq!(answer.header("Content-Type"), content_type, "{accept}");
        assert!(answer.text().starts_with(start), "{accept}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn a_route_without_service_has_nowhere_to_go() -> Result<()> {
    let policy = "_format_version: \"3.0\"\nroutes:\n- {name: lonely, paths: [/]}\n";
    let gateway = Gateway::start(policy)?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (503, Some("no Service found with those values"))
    );
    Ok(())
}

#[test]
fn the_connection_survives_a_refusal() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(routes(&origin.url(), "{name: a, paths: [/a]}"))?;
    let mut client = Client::connect(gateway.addr())?;
    assert_eq!(client.ask("POST", "/nowhere", &[], b"unread")?.status, 404);
    assert_eq!(client.ask("GET", "/a", &[], b"")?.status, 200);
    Ok(())
}

#[test]
fn a_refused_upload_is_told_so_although_it_goes_on() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(one_route(&origin.url(), "{name: key-auth}", ""))?;
    let body = vec![b'x'; 3 << 20];
    for _ in 0..5 {
        let mut client = Client::connect(gateway.addr())?;
        let request = client.request("POST", "/", &[], &body);
        client.send(&request)?;
        let answer = client.response("POST")?;
        assert_eq!((answer.status, answer.header("Connection")), (401, "close"));
        client.expect_close()?;
    }
    assert!(origin.requests().is_empty());
    Ok(())
}
