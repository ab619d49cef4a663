//! TLS on both sides: certificates by name towards clients, verification towards origins.

use anyhow::Result;
use tests::{Authority, Certificate, Curl, Gateway, Nginx, Origin};

/// A `certificates` list of a decK file.
pub(crate) fn certificates(entries: &[(&Certificate, &[&str])]) -> String {
    let mut text = "certificates:\n".to_owned();
    for (number, (certificate, names)) in entries.iter().enumerate() {
        let snis: String = names.iter().map(|name| format!("{{name: '{name}'}},")).collect();
        text += &format!(
            "- id: 00000000-0000-4000-8000-00000000000{number}\n  snis: [{snis}]\n  cert: |\n{}  key: |\n{}",
            indented(&certificate.certificate),
            indented(&certificate.key)
        );
    }
    text
}

pub(crate) fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("    {line}\n")).collect()
}

#[test]
fn the_certificate_follows_the_name_asked_for() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let exact = authority.issue(&["api.example.com"])?;
    let wildcard = authority.issue(&["*.example.com"])?;
    let list = certificates(&[(&exact, &["api.example.com"]), (&wildcard, &["*.example.com"])]);
    let gateway = Gateway::builder(crate::one_route(&origin.url(), "", &list))
        .tls()
        .start()?;
    let authority_file = gateway.scratch().write("authority.pem", authority.pem())?;
    let port = gateway.tls_addr().port();
    let call = |name: &str| {
        Curl::new(&format!("https://{name}:{port}/x"))?
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1"), "--cacert"])
            .args([&authority_file])
            .run()
    };
    for name in ["api.example.com", "www.example.com"] {
        let answer = call(name)?;
        assert_eq!(answer.json()["target"], "/x", "{name}");
        assert_eq!(
            crate::echoed(&answer.json(), "X-Forwarded-Proto").as_deref(),
            Some("https")
        );
    }
    assert!(
        call("example.org").is_err(),
        "no certificate of ours is for example.org"
    );
    Ok(())
}

#[test]
fn https_only_routes_answer_over_tls() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let certificate = authority.issue(&["localhost"])?;
    let policy = crate::routes(&origin.url(), "{name: a, paths: [/], protocols: [https]}")
        + &certificates(&[(&certificate, &["localhost"])]);
    let gateway = Gateway::builder(policy).tls().start()?;
    let over_tls = Curl::new(&format!("https://{}/", gateway.tls_addr()))?
        .args(["--insecure"])
        .run()?;
    assert_eq!(over_tls.status, 200);
    assert_eq!(Curl::new(&gateway.url("/"))?.run()?.status, 426);
    Ok(())
}

#[test]
fn junk_on_the_tls_port_is_survived() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let certificate = authority.issue(&["localhost"])?;
    let list = certificates(&[(&certificate, &["localhost"])]);
    let gateway = Gateway::builder(crate::one_route(&origin.url(), "", &list))
        .tls()
        .start()?;
    for junk in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
        b"\0",
    ] {
        let mut client = tests::Client::connect(gateway.tls_addr())?;
        client.send(junk)?;
        client.half_close()?;
        client.read_to_close().ok();
    }
    assert_eq!(
        Curl::new(&format!("https://{}/", gateway.tls_addr()))?
            .args(["--insecure"])
            .run()?
            .status,
        200
    );
    assert!(origin.tapes().len() == 1);
    Ok(())
}

#[test]
fn an_origins_certificate_is_verified_when_the_service_says_so() -> Result<()> {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let nginx = Nginx::start_tls(
        "location / { return 200 secure; }",
        &authority.issue(&["localhost"])?,
    )?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let id = "00000000-0000-4000-8000-000000000001";
    let policy = |extra: &str, trusted: &Authority| {
        format!(
            "_format_version: \"3.0\"\nservices:\n- name: origin\n  url: https://localhost:{port}\n  retries: 0\n{extra}  \
             routes: [{{name: a, paths: [/]}}]\nca_certificates:\n- id: {id}\n  cert: |\n{}",
            indented(&trusted.pem())
        )
    };
    let verified = format!("  tls_verify: true\n  ca_certificates: [{id}]\n");
    for (extra, trusted, status) in [
        (verified.as_str(), &authority, 200),
        (verified.as_str(), &stranger, 502),
        ("", &stranger, 200),
    ] {
        let gateway = Gateway::start(policy(extra, trusted))?;
        let answer = Curl::new(&gateway.url("/"))?.run()?;
        assert_eq!(answer.status, status, "{extra:?}: {}", answer.text());
        assert!(status != 200 || answer.text() == "secure");
    }
    Ok(())
}

#[test]
fn a_reload_keeps_the_connections_that_are_still_right() -> Result<()> {
    let authority = Authority::new()?;
    let nginx = Nginx::start_tls(
        "location / { return 200 $connection; }",
        &authority.issue(&["localhost"])?,
    )?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let id = "00000000-0000-4000-8000-000000000001";
    let policy = |route: &str, verify: bool| {
        format!(
            "_format_version: \"3.0\"\nservices:\n- name: origin\n  url: https://localhost:{port}\n  tls_verify: {verify}\n  \
             ca_certificates: [{id}]\n  routes: [{{name: {route}, paths: [/]}}]\nca_certificates:\n- id: {id}\n  cert: |\n{}",
            indented(&authority.pem())
        )
    };
    let mut gateway = Gateway::builder(policy("one", true)).workers(1).start()?;
    let mut connections = Vec::new();
    for (route, verify) in [("one", true), ("two", true), ("two", false)] {
        if !connections.is_empty() {
            gateway.replace_policy(policy(route, verify))?;
            assert!(gateway.admin().reload()?.status < 300);
        }
        connections.push(Curl::new(&gateway.url("/"))?.run()?.text());
    }
    assert_eq!(
        connections[0], connections[1],
        "another route is no reason to leave"
    );
    assert_ne!(
        connections[1], connections[2],
        "a server that was verified, and one that is not"
    );
    Ok(())
}

#[test]
fn old_versions_of_tls_are_refused() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let certificate = authority.issue(&["localhost"])?;
    let list = certificates(&[(&certificate, &["localhost"])]);
    for (flag, oldest) in [("--tls-min=1.2", "1.2"), ("--tls-min=1.3", "1.3")] {
        let gateway = Gateway::builder(crate::one_route(&origin.url(), "", &list))
            .tls()
            .flag(flag)
            .start()?;
        for version in ["1.1", "1.2", "1.3"] {
            // Without the lower level, OpenSSL would not even offer 1.1.
            let answer = Curl::new(&format!("https://{}/", gateway.tls_addr()))?
                .args(["--insecure", &format!("--tlsv{version}"), "--tls-max", version])
                .args(["--ciphers", "DEFAULT@SECLEVEL=0"])
                .run();
            assert_eq!(answer.is_ok(), version >= oldest, "TLS {version} with {flag}");
        }
    }
    Ok(())
}
