//! Algorithms of upstreams: which target a request goes to, as the targets saw it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tests::{Client, Gateway, Origin, Script, Step};

use crate::eventually;

/// A policy whose service goes to an upstream with these fields (flow style) and equal targets.
pub(crate) fn pool(origins: &[Origin], fields: &str) -> String {
    let targets: String = origins
        .iter()
        .map(|origin| format!("{{target: '{}'}},", origin.addr()))
        .collect();
    format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: s, host: pool, routes: [{{name: a, paths: [/]}}]}}\n\
         upstreams:\n- {{name: pool, {fields} targets: [{targets}]}}\n"
    )
}

fn requests(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.requests().len()).collect()
}

/// An origin that answers nothing while the gate is closed.
fn gated(open: &Arc<AtomicBool>) -> Result<Origin> {
    let open = Arc::clone(open);
    Origin::start(move |_| {
        if open.load(Ordering::Acquire) {
            Script::respond(200, &[], "ok")
        } else {
            Script::default().then(Step::Hold)
        }
    })
}

#[test]
fn least_connections_avoids_who_is_busy_until_the_client_leaves() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?, gated(&open)?];
    let gateway = Gateway::builder(pool(&origins, "algorithm: least-connections,"))
        .workers(1)
        .start()?;
    let mut waiting = Client::connect(gateway.addr())?;
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let busy = eventually("one origin is asked", || {
        requests(&origins).iter().position(|count| *count > 0)
    });
    open.store(true, Ordering::Release);
    for _ in 0..10 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    assert_eq!(requests(&origins)[busy], 1, "it still holds the first request");
    drop(waiting);
    origins[busy].wait_closed(Duration::from_secs(5))?;
    for _ in 0..10 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    assert_eq!(requests(&origins)[busy], 6, "it has its share again");
    Ok(())
}

#[test]
fn a_reload_does_not_forget_what_targets_carry() -> Result<()> {
    let open = Arc::new(AtomicBool::new(false));
    let origins = [gated(&open)?, gated(&open)?];
    let policy = pool(&origins, "algorithm: least-connections,");
    let mut gateway = Gateway::builder(policy.clone()).workers(1).start()?;
    let mut waiting = Client::connect(gateway.addr())?;
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let busy = eventually("one origin is asked", || {
        requests(&origins).iter().position(|count| *count > 0)
    });
    open.store(true, Ordering::Release);
    gateway.replace_policy(policy.replace("name: s,", "name: s, tags: [new],"))?;
    gateway.admin().reload()?;
    eventually("the new epoch", || {
        gateway.admin().epoch().ok().filter(|epoch| *epoch == 2)
    });
    for _ in 0..10 {
        assert_eq!(Client::get(gateway.addr(), "/", &[])?.status, 200);
    }
    assert_eq!(requests(&origins)[busy], 1);
    Ok(())
}

#[test]
fn latency_prefers_who_answers_sooner() -> Result<()> {
    let slow = Script::respond(200, &[], "ok").after(Step::Pause(Duration::from_millis(150)));
    let origins = [Origin::always(slow)?, Origin::echo()?];
    let gateway = Gateway::builder(pool(&origins, "algorithm: latency,"))
        .workers(1)
        .start()?;
    let mut client = Client::connect(gateway.addr())?;
    for _ in 0..40 {
        assert_eq!(client.ask("GET", "/", &[], b"")?.status, 200);
    }
    let requests = requests(&origins);
    assert!(requests[0] >= 1 && requests[0] <= 3, "{requests:?}");
    Ok(())
}

/// The origin that a request goes to.
fn lands(gateway: &Gateway, origins: &[Origin], target: &str, headers: &[(&str, &str)]) -> Result<usize> {
    let before = requests(origins);
    assert_eq!(Client::get(gateway.addr(), target, headers)?.status, 200);
    let after = requests(origins);
    let landed = (0..origins.len()).find(|number| after[*number] > before[*number]);
    Ok(landed.expect("an origin was asked"))
}

fn echoes(count: usize) -> Result<Vec<Origin>> {
    (0..count).map(|_| Origin::echo()).collect()
}

#[test]
fn a_header_value_stays_with_its_target_on_every_worker() -> Result<()> {
    let origins = echoes(4)?;
    let fields = "hash_on: header, hash_on_header: x-tenant, hash_fallback: query_arg, \
                  hash_fallback_query_arg: t,";
    let gateway = Gateway::builder(pool(&origins, fields)).workers(2).start()?;
    let mut homes = std::collections::BTreeSet::new();
    for tenant in 0..16 {
        let tenant = format!("t{tenant}");
        let home = lands(&gateway, &origins, "/", &[("X-Tenant", &tenant)])?;
        homes.insert(home);
        for _ in 0..4 {
            assert_eq!(
                lands(&gateway, &origins, "/?t=other", &[("X-Tenant", &tenant)])?,
                home
            );
        }
        let fallback = lands(&gateway, &origins, &format!("/?a=b&t={tenant}"), &[])?;
        assert_eq!(fallback, home, "the same value has the same hash");
    }
    assert!(homes.len() > 1, "all sixteen went to one target");
    let nothing = lands(&gateway, &origins, "/", &[])?;
    for _ in 0..8 {
        assert_eq!(
            lands(&gateway, &origins, "/", &[])?,
            nothing,
            "what has no value is one key"
        );
    }
    Ok(())
}

#[test]
fn who_has_no_cookie_gets_one_and_stays_where_it_leads() -> Result<()> {
    let origins = echoes(4)?;
    let fields = "hash_on: cookie, hash_on_cookie: sid, hash_on_cookie_path: /app,";
    let gateway = Gateway::start(pool(&origins, fields))?;
    for _ in 0..6 {
        let before = requests(&origins);
        let first = Client::get(gateway.addr(), "/", &[])?;
        let after = requests(&origins);
        let home = (0..4).find(|number| after[*number] > before[*number]);
        let set = first.header("set-cookie").to_owned();
        let (pair, attributes) = set.split_once(';').expect("the cookie has attributes");
        assert_eq!(attributes, " Path=/app; Same-Site=Lax; HttpOnly");
        assert_eq!((&pair[..4], pair.len()), ("sid=", 4 + 36));
        for _ in 0..4 {
            let again = lands(&gateway, &origins, "/", &[("Cookie", &format!("a=b; {pair}"))])?;
            assert_eq!(Some(again), home);
        }
        let answer = Client::get(gateway.addr(), "/", &[("Cookie", pair)])?;
        assert_eq!(answer.header("set-cookie"), "");
    }
    Ok(())
}

#[test]
fn consumers_paths_and_captures_are_hashed() -> Result<()> {
    let origins = echoes(4)?;
    let one_home = |gateway: &Gateway, requests: &[(&str, &[(&str, &str)])]| -> Result<usize> {
        let homes: Result<std::collections::BTreeSet<usize>> = requests
            .iter()
            .map(|(target, headers)| lands(gateway, &origins, target, headers))
            .collect();
        Ok(homes?.len())
    };
    let path = Gateway::start(pool(&origins, "hash_on: path,"))?;
    assert_eq!(
        one_home(&path, &[("/a/b", &[]), ("/a/./b?x=1", &[]), ("/a/c/../b", &[])])?,
        1
    );
    let capture = pool(&origins, "hash_on: uri_capture, hash_on_uri_capture: id,")
        .replace("paths: [/]", "paths: ['~/users/(?<id>[^/]+)/(?<what>.*)']");
    let capture = Gateway::start(capture)?;
    assert_eq!(
        one_home(&capture, &[("/users/ada/x", &[]), ("/users/ada/y", &[])])?,
        1
    );
    let names: Vec<String> = (0..16).map(|number| format!("/users/u{number}/x")).collect();
    let all: Vec<(&str, &[(&str, &str)])> = names.iter().map(|name| (&**name, &[][..])).collect();
    assert!(one_home(&capture, &all)? > 1);
    let consumer = format!(
        "{}plugins: [{{name: key-auth}}]\nconsumers:\n- {{username: a, keyauth_credentials: [{{key: k1}}, {{key: k2}}]}}\n",
        pool(&origins, "hash_on: consumer, hash_fallback: ip,")
    );
    let consumer = Gateway::start(consumer)?;
    let keys: [(&str, &[(&str, &str)]); 4] = [
        ("/", &[("apikey", "k1")]),
        ("/", &[("apikey", "k2")]),
        ("/x", &[("apikey", "k1")]),
        ("/y?z", &[("apikey", "k2")]),
    ];
    assert_eq!(one_home(&consumer, &keys)?, 1);
    Ok(())
}

#[test]
fn a_key_whose_target_is_dead_goes_to_the_next_in_its_own_order() -> Result<()> {
    let mut origins = echoes(3)?;
    let gateway = Gateway::start(pool(&origins, "hash_on: header, hash_on_header: k,"))?;
    let keys: Vec<String> = (0..24).map(|key| key.to_string()).collect();
    let home = |origins: &[Origin], key: &str| lands(&gateway, origins, "/", &[("k", key)]);
    let before: Result<Vec<usize>> = keys.iter().map(|key| home(&origins, key)).collect();
    let before = before?;
    assert!(before.contains(&2), "{before:?}");
    drop(origins.pop());
    for (key, before) in keys.iter().zip(before) {
        let now = home(&origins, key)?;
        assert!(before == 2 || now == before, "{key} moved from {before} to {now}");
    }
    Ok(())
}

#[test]
fn a_session_sticks_to_its_target_until_that_is_gone() -> Result<()> {
    let mut origins = echoes(3)?;
    let fields =
        "algorithm: sticky-sessions, sticky_sessions_cookie: home, sticky_sessions_cookie_path: /app,";
    let gateway = Gateway::start(pool(&origins, fields))?;
    let visit = |origins: &[Origin], cookie: &str| -> Result<(usize, String)> {
        let before = requests(origins);
        let answer = Client::get(gateway.addr(), "/", &[("Cookie", cookie)])?;
        assert_eq!(answer.status, 200);
        let after = requests(origins);
        let landed = (0..origins.len()).find(|number| after[*number] > before[*number]);
        Ok((
            landed.expect("an origin was asked"),
            answer.header("set-cookie").to_owned(),
        ))
    };
    let mut gone = String::new();
    for stranger in [
        "",
        "home=",
        "home=nonsense",
        "home=0123456789abcdef",
        "other=1",
        "",
    ] {
        let (home, set) = visit(&origins, stranger)?;
        let (pair, attributes) = set.split_once(';').expect("the cookie has attributes");
        assert_eq!(
            attributes, " Path=/app; SameSite=Lax; HttpOnly",
            "after {stranger:?}"
        );
        for _ in 0..4 {
            assert_eq!(visit(&origins, pair)?, (home, String::new()));
        }
        if home == 2 {
            gone = pair.to_owned();
        }
    }
    assert!(!gone.is_empty(), "six sessions reach every target");
    drop(origins.pop());
    let (home, set) = visit(&origins, &gone)?;
    let pair = set.split(';').next().unwrap_or_default();
    assert_ne!(pair, gone);
    assert_eq!(visit(&origins, pair)?, (home, String::new()));
    Ok(())
}
