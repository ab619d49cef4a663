//! ai-rate-limiting-advanced: a budget is a ceiling. The provider's own bill is held against it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tests::{Client, Gateway, Llm, Response, Scenario};

use crate::eventually;
use crate::llm::{chat, proxy, start};

/// Tokens a call takes with [`ask`]: six for the prompt and fifty for the answer.
const COST: u64 = 56;

fn limited(llm: &Llm, config: &str) -> Result<Gateway> {
    let plugin = format!(", {{name: ai-rate-limiting-advanced, config: {{window_type: fixed, {config}}}}}");
    start(proxy(llm, "", "", &plugin))
}

fn budget(tokens: u64) -> String {
    format!("llm_providers: [{{name: openai, limit: [{tokens}], window_size: [31536000]}}]")
}

fn ask(gateway: &Gateway, model: &str, stream: bool) -> Result<Response> {
    let body = chat(model, &json!({"max_tokens": 50, "stream": stream}));
    Client::post_json(gateway.addr(), "/v1/chat/completions", &[], &body)
}

#[test]
fn a_burst_never_overspends_and_the_difference_comes_back() -> Result<()> {
    for stream in [false, true] {
        let llm = Llm::start(Scenario::parse("tokens=200,delay_ms=1")?)?;
        let gateway = limited(&llm, &budget(2000))?;
        let statuses = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..80)
                .map(|_| scope.spawn(|| ask(&gateway, "m", stream)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            joined
                .map(|answer| Ok(answer?.status))
                .collect::<Result<Vec<u16>>>()
        })?;
        assert!(
            statuses.iter().all(|status| matches!(status, 200 | 429)),
            "{statuses:?}"
        );
        assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
        assert!(
            llm.bill().total_tokens() <= 2000,
            "spent {} of 2000",
            llm.bill().total_tokens()
        );
        // What the burst reserved and did not use is there again: sequential calls use the budget up.
        eventually("reservations are settled", || {
            (gateway
                .admin()
                .metric("tollgate_reservations_in_flight", &[])
                .ok()?
                < 0.5)
                .then_some(())
        });
        while ask(&gateway, "m", stream)?.status == 200 {}
        let spent = llm.bill().total_tokens();
        assert!(
            (2000 - 500..=2000).contains(&spent),
            "stream={stream}: spent {spent} of 2000"
        );
    }
    Ok(())
}

#[test]
fn headers_tell_the_budget_and_the_refusal_is_final() -> Result<()> {
    let llm = Llm::start(Scenario::parse("tokens=50")?)?;
    let gateway = limited(&llm, &budget(500))?;
    assert_eq!(ask(&gateway, "m", false)?.status, 200);
    let second = ask(&gateway, "m", false)?;
    assert_eq!(second.header("X-AI-RateLimit-Limit-31536000-openai"), "500");
    let remaining: u64 = second
        .header("X-AI-RateLimit-Remaining-31536000-openai")
        .parse()?;
    assert!(
        remaining <= 500 - COST,
        "after one settled call {remaining} remain"
    );
    let refusal = loop {
        let answer = ask(&gateway, "m", false)?;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refusal.status, 429);
    assert_eq!(
        refusal.json()["error"]["message"],
        "AI token rate limit exceeded for provider(s): openai"
    );
    assert!(
        refusal
            .header("Retry-After")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 0)
    );
    assert_eq!(refusal.header("x-should-retry"), "false");
    Ok(())
}

#[test]
fn a_call_larger_than_the_budget_never_starts() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = limited(&llm, &budget(100))?;
    let body = chat("m", &json!({"max_tokens": 200}));
    assert_eq!(
        Client::post_json(gateway.addr(), "/v1/chat/completions", &[], &body)?.status,
        429
    );
    for cap in [json!(-1), json!(1e300), json!("many"), json!(1.5)] {
        let body = chat("m", &json!({"max_tokens": cap}));
        let answer = Client::post_json(gateway.addr(), "/v1/chat/completions", &[], &body)?;
        assert!(
            matches!(answer.status, 400 | 429),
            "max_tokens {cap}: {}",
            answer.status
        );
    }
    let many = chat("m", &json!({"max_tokens": 50, "n": 128}));
    assert_eq!(
        Client::post_json(gateway.addr(), "/v1/chat/completions", &[], &many)?.status,
        429
    );
    assert!(llm.origin().requests().is_empty());
    Ok(())
}

#[test]
fn a_caller_who_vanishes_is_charged_for_what_was_said() -> Result<()> {
    let llm = Llm::start(Scenario::parse("tokens=1000,delay_ms=2,ignore_cap")?)?;
    let gateway = limited(&llm, &budget(5000))?;
    let body = chat("m", &json!({"max_tokens": 1000, "stream": true})).to_string();
    let head = [("Content-Type", "application/json")];
    let mut stream =
        Client::connect(gateway.addr())?.stream("POST", "/v1/chat/completions", &head, body.as_bytes())?;
    for _ in 0..20 {
        stream.piece()?.context("the stream ended early")?;
    }
    drop(stream);
    llm.origin().wait_closed(Duration::from_secs(5))?;
    let metric = |name: &str| gateway.admin().metric(name, &[]);
    eventually("the reservation is settled", || {
        (metric("tollgate_reservations_in_flight").ok()? < 0.5).then_some(())
    });
    assert!(metric("tollgate_reserved")? < 0.5);
    let remaining: u64 = ask(&gateway, "m:tokens=1", false)?
        .header("X-AI-RateLimit-Remaining-31536000-openai")
        .parse()?;
    let billed = llm.bill().calls()[0].clone();
    assert!(
        remaining < 5000 - 19,
        "nineteen tokens were received, yet {remaining} of 5000 remain"
    );
    assert!(
        remaining > 5000 - 1000,
        "the reservation was kept: {remaining} of 5000 remain; {billed:?}"
    );
    Ok(())
}

#[test]
fn a_provider_without_usage_is_charged_an_estimate() -> Result<()> {
    for stream in [false, true] {
        let llm = Llm::start(Scenario::parse("tokens=50,usage=omit")?)?;
        let gateway = limited(&llm, &budget(2000))?;
        for _ in 0..200 {
            if ask(&gateway, "m", stream)?.status == 429 {
                break;
            }
        }
        assert_eq!(
            ask(&gateway, "m", stream)?.status,
            429,
            "stream={stream}: silence is not free"
        );
        assert!(
            llm.bill().total_tokens() <= 2000,
            "stream={stream}: {}",
            llm.bill().total_tokens()
        );
    }
    Ok(())
}

#[test]
fn a_provider_that_dies_gives_the_reservation_back() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = limited(&llm, &budget(100_000))?;
    for end in ["fin-1", "rst-1", "fin-0"] {
        let _ = ask(&gateway, &format!("m:end={end}"), true);
        let _ = ask(&gateway, &format!("m:status=500,end={end}"), true);
    }
    eventually("every reservation is settled", || {
        (gateway
            .admin()
            .metric("tollgate_reservations_in_flight", &[])
            .ok()?
            < 0.5)
            .then_some(())
    });
    let remaining: u64 = ask(&gateway, "m", false)?
        .header("X-AI-RateLimit-Remaining-31536000-openai")
        .parse()?;
    assert!(remaining > 100_000 - 2_000, "{remaining}");
    Ok(())
}

#[test]
fn consumers_have_budgets_of_their_own() -> Result<()> {
    let llm = Llm::start(Scenario::parse("tokens=50")?)?;
    let plugin = format!(
        ", {{name: key-auth}}, {{name: ai-rate-limiting-advanced, config: {{window_type: fixed, {}}}}}",
        budget(400)
    );
    let consumers = "consumers:\n- {username: ada, keyauth_credentials: [{key: ada}]}\n\
        - {username: bob, keyauth_credentials: [{key: bob}]}\n";
    let gateway = start(proxy(&llm, "", "", &plugin) + consumers)?;
    let status = |key: &str| -> Result<u16> {
        let body = chat("m", &json!({"max_tokens": 50}));
        Ok(Client::post_json(gateway.addr(), "/v1/chat/completions", &[("apikey", key)], &body)?.status)
    };
    while status("ada")? == 200 {}
    assert_eq!((status("ada")?, status("bob")?), (429, 200));
    Ok(())
}

#[test]
fn policies_match_models_with_a_budget_each() -> Result<()> {
    let llm = Llm::start(Scenario::parse("tokens=50")?)?;
    let policies = "policies: [{match: [{type: model, values: [dear], partition_by: true}], window_type: fixed, \
        limits: [{limit: 400, window_size: 31536000, tokens_count_strategy: completion_tokens}]}]";
    let plugin = format!(", {{name: ai-rate-limiting-advanced, config: {{{policies}}}}}");
    let gateway = start(proxy(&llm, "", "", &plugin))?;
    for call in 0..8 {
        assert_eq!(
            ask(&gateway, "dear", false)?.status,
            200,
            "call {call}: exactly eight answers of fifty fit 400"
        );
    }
    assert_eq!(ask(&gateway, "dear", false)?.status, 429);
    assert_eq!(ask(&gateway, "cheap", false)?.status, 200);
    Ok(())
}
