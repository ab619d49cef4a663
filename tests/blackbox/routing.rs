//! Which route a request matches and what path its upstream sees (Kong's `traditional_compatible` router).

use anyhow::Result;
use tests::{Client, Gateway, Origin};

use crate::routes;

/// The target the origin saw for `GET path`, or the refusing status.
fn target(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Result<String> {
    let answer = Client::get(gateway.addr(), path, headers)?;
    if answer.status != 200 {
        return Ok(answer.status.to_string());
    }
    Ok(answer.json()["target"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn prefix_is_stripped_and_the_service_path_joined() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(routes(
        &format!("{}/base", origin.url()),
        "{name: a, paths: [/api]}",
    ))?;
    for (path, expected) in [
        ("/api", "/base"),
        ("/api/", "/base/"),
        ("/api/x?q=1&q=2", "/base/x?q=1&q=2"),
        ("/apix", "/base/x"),
        ("/api/x?", "/base/x?"),
    ] {
        assert_eq!(target(&gateway, path, &[])?, expected, "{path}");
    }
    Ok(())
}

#[test]
fn unstripped_path_is_kept_whole() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::start(routes(
        &origin.url(),
        "{name: a, paths: [/api], strip_path: false}",
    ))?;
    assert_eq!(target(&gateway, "/api/x", &[])?, "/api/x");
    Ok(())
}

#[test]
fn longer_prefix_wins_and_regex_beats_both() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n\
         - {{name: short, url: {0}/short, routes: [{{name: short, paths: [/a]}}]}}\n\
         - {{name: long, url: {0}/long, routes: [{{name: long, paths: [/a/b/c]}}]}}\n\
         - {{name: regex, url: {0}/regex, routes: [{{name: regex, paths: ['~/a/b/\\d+$']}}]}}\n",
        origin.url()
    );
    let gateway = Gateway::start(policy)?;
    assert_eq!(target(&gateway, "/a/z", &[])?, "/short/z");
    assert_eq!(target(&gateway, "/a/b/c/z", &[])?, "/long/z");
    assert_eq!(target(&gateway, "/a/b/12", &[])?, "/regex");
    assert_eq!(target(&gateway, "/a/b/12x", &[])?, "/short/b/12x");
    Ok(())
}

#[test]
fn hosts_methods_and_headers_narrow_a_route() -> Result<()> {
    let origin = Origin::echo()?;
    let service = |name: &str, matchers: &str| {
        format!(
            "- {{name: {name}, url: {}/{name}, routes: [{{name: {name}, {matchers}}}]}}\n",
            origin.url()
        )
    };
    let policy = [
        "_format_version: \"3.0\"\nservices:\n".to_owned(),
        service("plain", "hosts: [api.example.com]"),
        service("wild", "hosts: ['*.example.com']"),
        service("post", "hosts: [api.example.com], methods: [POST]"),
        service(
            "beta",
            "hosts: [api.example.com], headers: {x-stage: [beta, gamma]}",
        ),
    ];
    let gateway = Gateway::start(policy.concat())?;
    let host = |value| [("Host", value)];
    assert_eq!(target(&gateway, "/", &host("api.example.com"))?, "/plain/");
    assert_eq!(target(&gateway, "/", &host("API.Example.com:8000"))?, "/plain/");
    assert_eq!(target(&gateway, "/", &host("www.example.com"))?, "/wild/");
    assert_eq!(target(&gateway, "/", &host("example.com"))?, "404");
    assert_eq!(
        target(
            &gateway,
            "/",
            &[("Host", "api.example.com"), ("X-Stage", "GAMMA")]
        )?,
        "/beta/"
    );
    let posted = Client::fetch(gateway.addr(), "POST", "/", &host("api.example.com"), b"x")?.json();
    assert_eq!(posted["target"], "/post/");
    Ok(())
}

#[test]
fn canonical_path_is_matched_and_forwarded() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = routes(
        &origin.url(),
        "{name: admin, paths: [/admin], plugins: [{name: request-termination, config: {status_code: 403}}]}, \
         {name: rest, paths: [/], strip_path: false}",
    );
    let gateway = Gateway::start(policy)?;
    for path in [
        "/admin",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/%61dmin",
        "/admin/",
        "/admin?x",
    ] {
        assert_eq!(target(&gateway, path, &[])?, "403", "{path}");
    }
    for (path, expected) in [
        ("/x/./y//z", "/x/y/z"),
        ("/%7Ea", "/~a"),
        ("/a%3fb", "/a%3Fb"),
        ("/a%2fb", "400"),
        ("/ADMIN", "/ADMIN"),
    ] {
        assert_eq!(target(&gateway, path, &[])?, expected, "{path}");
    }
    Ok(())
}

#[test]
fn https_only_route_sends_http_clients_away() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = routes(
        &origin.url(),
        "{name: upgrade, paths: [/u], protocols: [https]}, \
         {name: redirect, paths: [/r], protocols: [https], https_redirect_status_code: 308}",
    );
    let gateway = Gateway::start(policy)?;
    let upgrade = Client::get(gateway.addr(), "/u", &[])?;
    assert_eq!(upgrade.status, 426);
    assert_eq!(upgrade.json()["message"], "Please use HTTPS protocol");
    assert_eq!(upgrade.header("Upgrade"), "TLS/1.2, HTTP/1.1");
    let redirect = Client::get(gateway.addr(), "/r/x?y=1", &[("Host", "example.com")])?;
    assert_eq!(
        (redirect.status, redirect.header("Location")),
        (308, "https://example.com/r/x?y=1")
    );
    assert!(origin.requests().is_empty());
    Ok(())
}

#[test]
fn a_disabled_service_has_no_routes() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = format!(
        "_format_version: \"3.0\"\nservices:\n\
         - {{name: disabled, url: {}, enabled: false, routes: [{{name: a, paths: [/a]}}]}}\n",
        origin.url()
    );
    assert_eq!(target(&Gateway::start(policy)?, "/a", &[])?, "404");
    Ok(())
}

#[test]
fn host_is_the_services_unless_preserved() -> Result<()> {
    let origin = Origin::echo()?;
    let policy = routes(
        &origin.url(),
        "{name: own, paths: [/own]}, {name: kept, paths: [/kept], preserve_host: true}",
    );
    let gateway = Gateway::start(policy)?;
    let host_seen = |path| -> Result<String> {
        Client::get(gateway.addr(), path, &[("Host", "client.example:81")])?;
        Ok(origin.last().header("host").to_owned())
    };
    assert_eq!(host_seen("/own")?, origin.addr().to_string());
    assert_eq!(host_seen("/kept")?, "client.example:81");
    Ok(())
}
