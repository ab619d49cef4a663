//! Who proves what to whom over TLS: client certificates, stapled OCSP responses, tickets, and what upstreams ask for.

use anyhow::{Context, Result};
use serde_json::Value;
use tests::{Authority, Certificate, Curl, Gateway, GatewayBuilder, Nginx, OpenSsl, Origin, Scratch};

use crate::eventually;
use crate::tls::{certificates, indented};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A gateway with these certificates that logs into `scratch`.
fn gateway(scratch: &Scratch, origin: &Origin, list: &[(&Certificate, &[&str])]) -> GatewayBuilder {
    let log = scratch.path().join("access.log");
    let plugin = format!("{{name: file-log, config: {{path: {}}}}}", log.display());
    Gateway::builder(crate::one_route(&origin.url(), &plugin, &certificates(list))).tls()
}

fn last_line(scratch: &Scratch, count: usize) -> Value {
    eventually("the log line", || {
        let text = std::fs::read_to_string(scratch.path().join("access.log")).ok()?;
        let lines: Vec<&str> = text.lines().collect();
        (lines.len() >= count).then(|| serde_json::from_str(lines[count - 1]).expect("JSON"))
    })
}

#[test]
fn a_client_certificate_is_verified_and_logged() -> Result<()> {
    let (origin, authority, stranger) = (Origin::echo()?, Authority::new()?, Authority::new()?);
    let own = authority.issue(&["localhost"])?;
    let (known, unknown) = (authority.issue(&["billing"])?, stranger.issue(&["billing"])?);
    for (mode, anonymous) in [("require", false), ("request", true)] {
        let scratch = Scratch::new()?;
        let file = scratch.write("clients.pem", authority.pem())?;
        let gateway = gateway(&scratch, &origin, &[(&own, &["localhost"])])
            .flag(&format!("--client-ca={}", file.display()))
            .flag(&format!("--client-auth={mode}"))
            .start()?;
        let client = || OpenSsl::client(gateway.tls_addr(), "localhost", ASK);
        let answered = |run: OpenSsl| Ok::<_, anyhow::Error>(run.run()?.1.contains("HTTP/1.1 200"));
        assert!(answered(client()?.showing(&known)?)?, "{mode}");
        let line = last_line(&scratch, 1);
        assert_eq!(line["request"]["tls"]["client_verify"], "SUCCESS");
        let shown = &line["tollgate"]["client_certificate"];
        assert_eq!(shown["subject"], "CN=billing");
        assert_eq!(shown["sha256"].as_str().map(str::len), Some(64));
        assert!(!answered(client()?.showing(&unknown)?)?, "{mode}");
        assert_eq!(answered(client()?)?, anonymous, "{mode}");
        if anonymous {
            let line = last_line(&scratch, 2);
            assert_eq!(line["request"]["tls"]["client_verify"], "NONE");
            assert_eq!(line["tollgate"]["client_certificate"], Value::Null);
        }
    }
    Ok(())
}

#[test]
fn a_good_ocsp_response_is_stapled_and_any_other_is_left_out() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let (own, other) = (authority.issue(&["a.test"])?, authority.issue(&["b.test"])?);
    let chain = |own: &Certificate| Certificate {
        certificate: own.certificate.clone() + &authority.pem(),
        key: own.key.clone(),
    };
    let scratch = Scratch::new()?;
    let good = authority.ocsp(&own, true, &scratch)?;
    let revoked = authority.ocsp(&other, false, &scratch)?;
    let gateway = gateway(
        &scratch,
        &origin,
        &[(&chain(&own), &["a.test"]), (&chain(&other), &["b.test"])],
    )
    .flag(&format!("--ocsp={},{}", good.display(), revoked.display()))
    .start()?;
    let stapled = |name: &str| -> Result<bool> {
        let (_, printed) = OpenSsl::client(gateway.tls_addr(), name, ASK)?
            .args(["-status"])
            .run()?;
        assert!(printed.contains("HTTP/1.1 200"), "{name}: {printed}");
        Ok(printed.contains("OCSP Response Status: successful"))
    };
    assert!(stapled("a.test")?);
    assert!(
        !stapled("b.test")?,
        "nobody is told that a certificate is revoked"
    );
    let warning = format!("warning: {} is not stapled", revoked.display());
    assert!(gateway.log().contains(&warning), "{}", gateway.log());
    // What is in the file at a reload counts from then on.
    std::fs::copy(&revoked, &good).context("replace the response")?;
    assert!(gateway.admin().reload()?.status < 300);
    assert!(!eventually_stapled(&gateway)?);
    std::fs::write(&good, "no response")?;
    let refused = gateway.admin().reload()?;
    assert!(
        refused.status >= 400 && refused.text().contains("cannot staple"),
        "{}",
        refused.text()
    );
    Ok(())
}

/// Whether any of some handshakes, spread over the workers, is stapled.
fn eventually_stapled(gateway: &Gateway) -> Result<bool> {
    eventually("the reload", || {
        (gateway.admin().epoch().ok()? == 2).then_some(())
    });
    for _ in 0..6 {
        let (_, printed) = OpenSsl::client(gateway.tls_addr(), "a.test", ASK)?
            .args(["-status"])
            .run()?;
        if printed.contains("OCSP Response Status: successful") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_session_is_resumed_on_any_worker() -> Result<()> {
    let (origin, authority, scratch) = (Origin::echo()?, Authority::new()?, Scratch::new()?);
    let own = authority.issue(&["localhost"])?;
    let gateway = gateway(&scratch, &origin, &[(&own, &["localhost"])])
        .workers(4)
        .start()?;
    let file = scratch.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let client = || OpenSsl::client(gateway.tls_addr(), "localhost", ASK);
        let (_, first) = client()?.args([version, "-sess_out", &file]).run()?;
        assert!(first.contains("New, TLS"), "{first}");
        // The kernel spreads them over the workers by their ports.
        for _ in 0..12 {
            let (_, again) = client()?.args([version, "-sess_in", &file]).run()?;
            assert!(again.contains("Reused, TLS"), "{version}: {again}");
            assert!(again.contains("HTTP/1.1 200"), "{version}: {again}");
        }
    }
    Ok(())
}

#[test]
fn who_asks_for_no_name_gets_the_default_certificate() -> Result<()> {
    let (origin, authority, scratch) = (Origin::echo()?, Authority::new()?, Scratch::new()?);
    let (exact, wildcard, any) = (
        authority.issue(&["api.example.com"])?,
        authority.issue(&["*.example.com"])?,
        authority.issue(&["default.test"])?,
    );
    let gateway = gateway(
        &scratch,
        &origin,
        &[
            (&exact, &["api.example.com"]),
            (&wildcard, &["*.example.com"]),
            (&any, &["*"]),
        ],
    )
    .start()?;
    for (name, expected) in [
        ("api.example.com", "CN = api.example.com"),
        ("www.example.com", "CN = *.example.com"),
        ("a.b.example.com", "CN = default.test"),
        ("else.test", "CN = default.test"),
        ("", "CN = default.test"),
    ] {
        let (_, printed) = OpenSsl::client(gateway.tls_addr(), name, ASK)?.run()?;
        let subject = printed.lines().find(|line| line.starts_with("subject="));
        assert_eq!(subject, Some(&*format!("subject={expected}")), "{name:?}");
    }
    Ok(())
}

#[test]
fn an_upstream_sees_the_services_certificate_and_must_be_near_its_authority() -> Result<()> {
    let (authority, scratch) = (Authority::new()?, Scratch::new()?);
    let (known, stranger) = (
        authority.issue(&["gateway.test"])?,
        Authority::new()?.issue(&["x.test"])?,
    );
    let clients = scratch.write("clients.pem", authority.pem())?;
    let server = format!(
        "ssl_client_certificate {}; ssl_verify_client optional;\n\
         location / {{ return 200 \"$ssl_client_verify $ssl_client_s_dn\"; }}",
        clients.display()
    );
    let nginx = Nginx::start_tls(&server, &authority.issue(&["localhost"])?)?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let id = |number: u8| format!("00000000-0000-4000-8000-00000000001{number}");
    let policy = |extra: &str| {
        let mut text = format!(
            "_format_version: \"3.0\"\nservices:\n- name: origin\n  url: https://localhost:{port}\n  retries: 0\n  \
             {extra}\n  routes: [{{name: a, paths: [/]}}]\nca_certificates:\n- id: {}\n  cert: |\n{}certificates:\n",
            id(9),
            indented(&authority.pem())
        );
        for (number, certificate) in [(0, &known), (1, &stranger)] {
            let (chain, key) = (indented(&certificate.certificate), indented(&certificate.key));
            text += &format!("- id: {}\n  cert: |\n{chain}  key: |\n{key}", id(number));
        }
        text
    };
    let ca = id(9);
    for (extra, status, seen) in [
        (
            format!("client_certificate: {}", id(0)),
            200,
            "SUCCESS CN=gateway.test",
        ),
        (String::new(), 200, "NONE "),
        (format!("client_certificate: {}", id(1)), 400, ""),
        // Nothing stands between the server's certificate and the authority's.
        (
            format!("tls_verify: true\n  ca_certificates: [{ca}]\n  tls_verify_depth: 0"),
            200,
            "NONE ",
        ),
        ("tls_verify: true\n  tls_verify_depth: 3".to_owned(), 502, ""),
    ] {
        let gateway = Gateway::start(policy(&extra))?;
        let answer = Curl::new(&gateway.url("/"))?.run()?;
        assert_eq!(answer.status, status, "{extra}: {}", answer.text());
        assert!(answer.text().contains(seen), "{extra}: {}", answer.text());
    }
    Ok(())
}
