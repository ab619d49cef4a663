//! key-auth: where a key is looked for, what is refused, what the origin learns.

use anyhow::Result;
use tests::{Client, Curl, Gateway, Origin, Response};

use crate::one_route;

const CONSUMERS: &str = "consumers:\n\
    - {username: ada, custom_id: ada-1, keyauth_credentials: [{key: ada-key}]}\n\
    - {username: nobody}\n";

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: key-auth, config: {config}}}"),
        CONSUMERS,
    ))
}

fn refused(answer: &Response, message: &str) {
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (401, Some(message)),
        "{}",
        answer.text()
    );
}

#[test]
fn missing_unknown_empty_and_duplicate_keys_are_refused() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{key_names: [apikey, x-key]}")?;
    let get = |target: &str, headers: &[(&str, &str)]| Client::get(gateway.addr(), target, headers);
    refused(&get("/", &[])?, "No API key found in request");
    refused(&get("/", &[("apikey", "ada-ke")])?, "Unauthorized");
    refused(&get("/", &[("apikey", "ada-key2")])?, "Unauthorized");
    refused(
        &get("/", &[("apikey", "ada-key"), ("apikey", "ada-key")])?,
        "Duplicate API key found",
    );
    refused(&get("/?apikey=ada-key&apikey=x", &[])?, "Duplicate API key found");
    assert_ne!(
        get("/", &[("apikey", ""), ("x-key", "ada-key")])?.status,
        200,
        "an empty key stops the search"
    );
    assert_eq!(get("/", &[])?.header("WWW-Authenticate"), "Key");
    assert!(origin.requests().is_empty());
    Ok(())
}

#[test]
fn a_key_is_found_in_header_and_query() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{key_names: [apikey, x-key]}")?;
    assert_eq!(
        Curl::new(&gateway.url("/"))?
            .header("apikey", "ada-key")
            .run()?
            .status,
        200
    );
    assert_eq!(
        Curl::new(&gateway.url("/"))?
            .header("X-Key", "ada-key")
            .run()?
            .status,
        200
    );
    assert_eq!(Curl::new(&gateway.url("/?apikey=ada-key"))?.run()?.status, 200);
    Ok(())
}

#[test]
fn places_can_be_switched_off() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{key_in_query: false, key_in_body: true}")?;
    refused(
        &Client::get(gateway.addr(), "/?apikey=ada-key", &[])?,
        "No API key found in request",
    );
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(
        Client::fetch(gateway.addr(), "POST", "/", &form, b"a=1&apikey=ada-key")?.status,
        200
    );
    let json = serde_json::json!({"apikey": "ada-key"});
    assert_eq!(Client::post_json(gateway.addr(), "/", &[], &json)?.status, 200);
    let parts = [("Content-Type", "multipart/form-data; boundary=B")];
    let body = b"--B\r\nContent-Disposition: form-data; name=\"apikey\"\r\n\r\nada-key\r\n--B--\r\n";
    assert_eq!(
        Client::fetch(gateway.addr(), "POST", "/", &parts, body)?.status,
        200
    );
    Ok(())
}

#[test]
fn the_origin_learns_who_asked_and_cannot_be_lied_to() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{hide_credentials: false}")?;
    let lies = [
        ("apikey", "ada-key"),
        ("X-Consumer-Username", "root"),
        ("X-Consumer-ID", "1"),
        ("X-Anonymous-Consumer", "true"),
        ("X-Credential-Identifier", "x"),
    ];
    assert_eq!(Client::get(gateway.addr(), "/", &lies)?.status, 200);
    let seen = origin.last();
    assert_eq!(
        seen.headers.all("X-Consumer-Username").collect::<Vec<_>>(),
        ["ada"]
    );
    assert_eq!(
        seen.headers.all("X-Consumer-Custom-ID").collect::<Vec<_>>(),
        ["ada-1"]
    );
    assert_eq!(seen.header("X-Consumer-ID").len(), 36);
    assert_ne!(seen.header("X-Credential-Identifier"), "x");
    assert!(!seen.headers.has("X-Anonymous-Consumer"));
    assert_eq!(
        seen.header("apikey"),
        "ada-key",
        "3.9 shows credentials to the origin unless told otherwise"
    );
    Ok(())
}

#[test]
fn hidden_credentials_never_reach_the_origin() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{hide_credentials: true}")?;
    assert_eq!(
        Client::get(gateway.addr(), "/", &[("apikey", "ada-key")])?.status,
        200
    );
    assert_eq!(
        Client::get(gateway.addr(), "/?a=1&apikey=ada-key&b=2", &[])?.status,
        200
    );
    assert_eq!(origin.last().target, "/?a=1&b=2");
    assert!(
        origin
            .tapes()
            .iter()
            .all(|tape| !tape.windows(7).any(|window| window == b"ada-key"))
    );
    Ok(())
}

#[test]
fn the_3_15_default_hides_credentials() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = one_route(&origin.url(), "{name: key-auth}", CONSUMERS)
        .replace("paths: [/]", "paths: [/]\n    protocols: [http, https]");
    let gateway = Gateway::builder(policy)
        .compiler_flag("--kong-compat=3.15")
        .start()?;
    assert_eq!(
        Client::get(gateway.addr(), "/", &[("apikey", "ada-key")])?.status,
        200
    );
    assert!(!origin.last().headers.has("apikey"));
    Ok(())
}

#[test]
fn anonymous_consumer_stands_in() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{anonymous: nobody}")?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    assert_eq!(
        (
            origin.last().header("X-Anonymous-Consumer"),
            origin.last().header("X-Consumer-Username")
        ),
        ("true", "nobody")
    );
    Ok(())
}

#[test]
fn preflight_passes_when_told_so() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{run_on_preflight: false, realm: shop}")?;
    assert_eq!(
        Client::fetch(gateway.addr(), "OPTIONS", "/", &[], b"")?.status,
        200
    );
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        (answer.status, answer.header("WWW-Authenticate")),
        (401, "Key realm=\"shop\"")
    );
    Ok(())
}
