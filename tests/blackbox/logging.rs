//! file-log: one JSON object per request, without secrets.

use anyhow::Result;
use serde_json::Value;
use tests::{Client, Gateway, Origin, Scratch};

use crate::{eventually, one_route};

const CONSUMERS: &str = "consumers:\n- {username: ada, keyauth_credentials: [{key: ada-secret-key}]}\n";

/// The first `count` lines of a log, once they are there.
pub(crate) fn lines(scratch: &Scratch, count: usize) -> Vec<Value> {
    let path = scratch.path().join("access.log");
    eventually("log lines", || {
        let text = std::fs::read_to_string(&path).ok()?;
        let whole: Vec<&str> = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .collect();
        (whole.len() >= count).then(|| {
            whole
                .iter()
                .map(|line| serde_json::from_str(line).expect("a JSON line"))
                .collect()
        })
    })
}

fn gateway(origin: &Origin, scratch: &Scratch, plugins: &str) -> Result<Gateway> {
    let path = scratch.path().join("access.log");
    let all = format!(
        "{{name: file-log, config: {{path: {}}}}}{plugins}",
        path.display()
    );
    Gateway::start(one_route(&origin.url(), &all, CONSUMERS))
}

#[test]
fn a_proxied_request_is_described() -> Result<()> {
    let (origin, scratch) = (Origin::echo()?, Scratch::new()?);
    let gateway = gateway(&origin, &scratch, ", {name: key-auth}")?;
    let answer = Client::get(
        gateway.addr(),
        "/x?a=1",
        &[("apikey", "ada-secret-key"), ("X-Mine", "yes")],
    )?;
    let entry = lines(&scratch, 1).remove(0);
    assert_eq!(entry["request"]["method"], "GET");
    assert_eq!(entry["request"]["uri"], "/x?a=1");
    assert_eq!(entry["request"]["querystring"]["a"], "1");
    assert_eq!(entry["request"]["headers"]["x-mine"], "yes");
    assert_eq!(entry["request"]["id"], answer.header("X-Kong-Request-Id"));
    assert_eq!(entry["response"]["status"], 200);
    assert_eq!(
        (entry["upstream_uri"].as_str(), entry["source"].as_str()),
        (Some("/x?a=1"), Some("upstream"))
    );
    assert_eq!(entry["client_ip"], "127.0.0.1");
    assert_eq!(entry["consumer"]["username"], "ada");
    assert_eq!(
        (entry["route"]["name"].as_str(), entry["service"]["name"].as_str()),
        (Some("all"), Some("origin"))
    );
    assert_eq!(entry["tries"][0]["port"], origin.addr().port());
    for latency in ["kong", "proxy", "request"] {
        assert!(
            entry["latencies"][latency]
                .as_i64()
                .is_some_and(|ms| (0..10_000).contains(&ms)),
            "{latency}"
        );
    }
    assert!(
        entry["started_at"]
            .as_u64()
            .is_some_and(|ms| ms > 1_700_000_000_000)
    );
    Ok(())
}

#[test]
fn a_refused_request_is_described() -> Result<()> {
    let (origin, scratch) = (Origin::echo()?, Scratch::new()?);
    let gateway = gateway(&origin, &scratch, ", {name: key-auth}")?;
    assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 401);
    let entry = lines(&scratch, 1).remove(0);
    assert_eq!(
        (entry["response"]["status"].as_u64(), entry["source"].as_str()),
        (Some(401), Some("kong"))
    );
    assert_eq!(entry["latencies"]["proxy"], -1);
    Ok(())
}

#[test]
fn secrets_are_in_neither_log() -> Result<()> {
    let (origin, scratch) = (Origin::echo()?, Scratch::new()?);
    let gateway = gateway(&origin, &scratch, ", {name: key-auth}")?;
    let bearer = [
        ("apikey", "ada-secret-key"),
        ("Authorization", "Bearer hunter2"),
        ("Proxy-Authorization", "hunter2"),
    ];
    Client::get(gateway.addr(), "/", &bearer)?;
    Client::get(gateway.addr(), "/?apikey=ada-secret-key", &[])?;
    let entries = lines(&scratch, 2);
    let redacted = |entry: &Value| entry["request"]["headers"]["authorization"] == "REDACTED";
    assert!(entries.iter().any(redacted), "{entries:?}");
    let text = serde_json::to_string(&entries)? + &gateway.log();
    assert!(
        !text.contains("ada-secret-key") && !text.contains("hunter2"),
        "{text}"
    );
    Ok(())
}

#[test]
fn every_request_has_its_line() -> Result<()> {
    let (origin, scratch) = (Origin::echo()?, Scratch::new()?);
    let gateway = gateway(&origin, &scratch, "")?;
    let addr = gateway.addr();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let mut client = Client::connect(addr).expect("connect");
                for n in 0..50 {
                    client
                        .ask("GET", &format!("/{thread}-{n}"), &[], b"")
                        .expect("an answer");
                }
            });
        }
    });
    let entries = lines(&scratch, 400);
    let uris: std::collections::HashSet<&str> = entries
        .iter()
        .filter_map(|entry| entry["request"]["uri"].as_str())
        .collect();
    assert_eq!((entries.len(), uris.len()), (400, 400));
    Ok(())
}
