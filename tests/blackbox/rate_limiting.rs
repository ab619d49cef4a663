//! rate-limiting: exact counts whatever the number of workers, and the headers that tell of them.
//!
//! Limits are per year, so that no window ends while a test runs (save at midnight of new year's eve).

use anyhow::Result;
use tests::{Client, Gateway, Origin};

use crate::one_route;

const CONSUMERS: &str = "consumers:\n\
    - {username: ada, keyauth_credentials: [{key: ada-key}, {key: ada-other}]}\n\
    - {username: bob, keyauth_credentials: [{key: bob-key}]}\n";

fn limited(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: rate-limiting, config: {config}}}"),
        "",
    ))
}

fn status(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Result<u16> {
    Ok(Client::get(gateway.addr(), target, headers)?.status)
}

#[test]
fn five_per_year_is_five_under_a_concurrent_burst() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = Gateway::builder(one_route(
        &origin.url(),
        "{name: rate-limiting, config: {year: 5}}",
        "",
    ))
    .workers(4)
    .start()?;
    let addr = gateway.addr();
    let statuses = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..60)
            .map(|_| scope.spawn(move || Client::get(addr, "/", &[])))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        joined
            .map(|answer| answer.map(|answer| answer.status))
            .collect::<Result<Vec<u16>>>()
    })?;
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        5,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        55,
        "{statuses:?}"
    );
    assert_eq!(origin.requests().len(), 5);
    Ok(())
}

#[test]
fn headers_count_down_and_the_refusal_says_when_to_return() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = limited(&origin, "{year: 2, day: 2}")?;
    for remaining in ["1", "0"] {
        let answer = Client::get(gateway.addr(), "/", &[])?;
        assert_eq!(answer.status, 200);
        for (header, expected) in [
            ("X-RateLimit-Limit-Year", "2"),
            ("X-RateLimit-Remaining-Year", remaining),
            ("X-RateLimit-Limit-Day", "2"),
            ("X-RateLimit-Remaining-Day", remaining),
            ("RateLimit-Limit", "2"),
            ("RateLimit-Remaining", remaining),
        ] {
            assert_eq!(answer.header(header), expected, "{header}");
        }
        let reset: u64 = answer.header("RateLimit-Reset").parse()?;
        assert!(
            reset > 86_400,
            "of equally tight periods the longest is told, so not {reset}"
        );
    }
    let refusal = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        (refusal.status, refusal.json()["message"].as_str()),
        (429, Some("API rate limit exceeded"))
    );
    assert_eq!(refusal.header("Retry-After"), refusal.header("RateLimit-Reset"));
    assert_eq!(refusal.header("RateLimit-Remaining"), "0");
    Ok(())
}

#[test]
fn the_refusal_and_headers_can_be_changed() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = limited(
        &origin,
        "{year: 1, hide_client_headers: true, error_code: 503, error_message: slow down}",
    )?;
    let first = Client::get(gateway.addr(), "/", &[])?;
    assert!(
        first
            .headers
            .0
            .iter()
            .all(|(name, _)| !name.to_ascii_lowercase().contains("ratelimit"))
    );
    let second = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(
        (second.status, second.json()["message"].as_str()),
        (503, Some("slow down"))
    );
    Ok(())
}

#[test]
fn each_consumer_has_its_own_count_whatever_key_it_shows() -> Result<()> {
    let origin = Origin::echo()?;
    let plugins = "{name: key-auth}, {name: rate-limiting, config: {year: 2}}";
    let gateway = Gateway::start(one_route(&origin.url(), plugins, CONSUMERS))?;
    for (key, expected) in [
        ("ada-key", 200),
        ("ada-other", 200),
        ("ada-key", 429),
        ("bob-key", 200),
        ("ada-other", 429),
    ] {
        assert_eq!(status(&gateway, "/", &[("apikey", key)])?, expected, "{key}");
    }
    assert_eq!(status(&gateway, "/", &[])?, 401);
    Ok(())
}

#[test]
fn credential_header_and_path_can_be_what_is_counted() -> Result<()> {
    let origin = Origin::echo()?;
    let plugins = "{name: key-auth}, {name: rate-limiting, config: {year: 1, limit_by: credential}}";
    let gateway = Gateway::start(one_route(&origin.url(), plugins, CONSUMERS))?;
    for (key, expected) in [("ada-key", 200), ("ada-other", 200), ("ada-key", 429)] {
        assert_eq!(status(&gateway, "/", &[("apikey", key)])?, expected, "{key}");
    }
    let gateway = limited(&origin, "{year: 1, limit_by: header, header_name: X-Tenant}")?;
    for (tenant, expected) in [("a", 200), ("b", 200), ("a", 429)] {
        assert_eq!(
            status(&gateway, "/", &[("x-tenant", tenant)])?,
            expected,
            "{tenant}"
        );
    }
    assert_eq!(
        status(&gateway, "/", &[])?,
        200,
        "without the header the address is counted"
    );
    assert_eq!(status(&gateway, "/", &[])?, 429);
    Ok(())
}

#[test]
fn a_global_limit_counts_over_routes_and_a_route_limit_does_not() -> Result<()> {
    let origin = Origin::echo()?;
    let plugin = "{name: rate-limiting, config: {year: 1}}";
    let global = format!(
        "{}plugins: [{plugin}]\n",
        crate::routes(&origin.url(), "{name: a, paths: [/a]}, {name: b, paths: [/b]}")
    );
    let gateway = Gateway::start(global)?;
    assert_eq!(
        (status(&gateway, "/a", &[])?, status(&gateway, "/b", &[])?),
        (200, 429)
    );
    let own = format!(
        "{{name: a, paths: [/a], plugins: [{plugin}]}}, {{name: b, paths: [/b], plugins: [{plugin}]}}"
    );
    let gateway = Gateway::start(crate::routes(&origin.url(), &own))?;
    assert_eq!(
        (status(&gateway, "/a", &[])?, status(&gateway, "/b", &[])?),
        (200, 200)
    );
    assert_eq!(
        (status(&gateway, "/a", &[])?, status(&gateway, "/b", &[])?),
        (429, 429)
    );
    Ok(())
}

#[test]
fn the_most_specific_limit_is_the_one_that_counts() -> Result<()> {
    let origin = Origin::echo()?;
    let rest = "consumers:\n\
        - {username: ada, keyauth_credentials: [{key: ada-key}], plugins: [{name: rate-limiting, config: {year: 2}}]}\n\
        - {username: bob, keyauth_credentials: [{key: bob-key}]}\n\
        plugins: [{name: rate-limiting, config: {year: 1}}]\n";
    let gateway = Gateway::start(one_route(&origin.url(), "{name: key-auth}", rest))?;
    for (key, expected) in [
        ("ada-key", 200),
        ("ada-key", 200),
        ("ada-key", 429),
        ("bob-key", 200),
        ("bob-key", 429),
    ] {
        assert_eq!(status(&gateway, "/", &[("apikey", key)])?, expected, "{key}");
    }
    Ok(())
}
