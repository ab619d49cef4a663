//! request-termination: the gateway answers, the origin is not asked.

use anyhow::Result;
use serde_json::json;
use tests::{Client, Gateway, Origin, Response};

use crate::one_route;

fn ask(config: &str, target: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let origin = Origin::echo()?;
    let plugin = format!("{{name: request-termination, config: {config}}}");
    let gateway = Gateway::start(one_route(&origin.url(), &plugin, ""))?;
    let answer = Client::get(gateway.addr(), target, headers)?;
    assert_eq!(
        origin.requests().is_empty(),
        !answer.headers.has("X-Kong-Upstream-Latency")
    );
    Ok(answer)
}

#[test]
fn default_is_503_in_the_compact_form() -> Result<()> {
    let answer = ask("{}", "/", &[])?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, "{\"message\":\"Service unavailable\"}")
    );
    assert_eq!(answer.header("Content-Type"), "application/json; charset=utf-8");
    Ok(())
}

#[test]
fn message_and_body_are_as_configured() -> Result<()> {
    let answer = ask("{status_code: 403, message: So long}", "/", &[])?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (403, "{\"message\":\"So long\"}")
    );
    let answer = ask(
        "{status_code: 200, content_type: text/plain, body: all \"fine\"}",
        "/",
        &[],
    )?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "all \"fine\""));
    assert_eq!(answer.header("Content-Type"), "text/plain");
    Ok(())
}

#[test]
fn a_trigger_limits_it_to_marked_requests() -> Result<()> {
    assert_eq!(ask("{trigger: X-Stop}", "/", &[])?.status, 200);
    assert_eq!(ask("{trigger: X-Stop}", "/", &[("x-stop", "1")])?.status, 503);
    assert_eq!(ask("{trigger: stop}", "/?stop=1", &[])?.status, 503);
    Ok(())
}

#[test]
fn a_trigger_needs_no_value() -> Result<()> {
    for (target, status) in [
        ("/?stop", 503),
        ("/?stop=", 503),
        ("/?a=1&stop=1", 503),
        ("/?stopped", 200),
    ] {
        assert_eq!(ask("{trigger: stop}", target, &[])?.status, status, "{target}");
    }
    Ok(())
}

#[test]
fn echo_tells_what_was_asked() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n- name: s\n  url: {}\n  routes:\n  - name: r\n    paths: \
         ['~/e/(?<id>[0-9]+)']\n    plugins: [{{name: request-termination, config: {{echo: true, status_code: 200}}}}]\n",
        origin.url()
    );
    let gateway = Gateway::start(policy)?;
    let headers = [("X-A", "1"), ("X-A", "2"), ("Content-Type", "application/json")];
    let answer = Client::fetch(
        gateway.addr(),
        "POST",
        "/e/7?q=a%20b&q=c&flag",
        &headers,
        b"{\"z\":1}",
    )?;
    let told = &answer.json()["request"];
    assert_eq!(answer.status, 200);
    assert_eq!(told["query"], json!({"q": ["a b", "c"], "flag": true}));
    assert_eq!(told["headers"]["x-a"], json!(["1", "2"]));
    assert_eq!(
        (&told["body"], &told["raw_body"]),
        (&json!({"z": 1}), &json!("{\"z\":1}"))
    );
    assert_eq!(told["uri_captures"], json!({"1": "7", "id": "7"}));
    assert!(
        answer.json()["kong"]["node_id"]
            .as_str()
            .is_some_and(|id| id.len() == 36)
    );
    assert_eq!(answer.json()["matched_route"]["name"], "r");
    Ok(())
}
