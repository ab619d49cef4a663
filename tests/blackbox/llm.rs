//! ai-proxy with raw clients: authentication, checks, what reaches the provider, and what a stream may look like.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::{Client, Gateway, Llm, Response, Scenario, Scratch};

use crate::eventually;

/// A gateway in front of `llm` with the three APIs under `/v1`. `config` is more ai-proxy configuration, `model` what
/// stands beside the provider, `plugins` more plugins for every route.
pub(crate) fn proxy(llm: &Llm, config: &str, model: &str, plugins: &str) -> String {
    let route = |name: &str, path: &str, route_type: &str| {
        format!(
            "{{name: {name}, paths: ['/v1{path}'], plugins: [{{name: ai-proxy, config: {{route_type: {route_type}, \
             auth: {{header_name: Authorization, header_value: 'Bearer {{vault://env/provider-key}}'}}, {config} \
             model: {{provider: openai, {model} options: {{upstream_url: '{}'}}}}}}}}{plugins}]}}",
            llm.url(&format!("/v1{path}"))
        )
    };
    let routes = [
        route("chat", "/chat/completions", "llm/v1/chat"),
        route("completions", "/completions", "llm/v1/completions"),
        route("embeddings", "/embeddings", "llm/v1/embeddings"),
    ];
    // A service is needed for the route to be proxied; ai-proxy replaces its address.
    crate::routes("http://unused.invalid", &routes.join(", "))
}

/// Starts a policy made by [`proxy`], with the provider's key in the environment.
pub(crate) fn start(policy: String) -> Result<Gateway> {
    Gateway::builder(policy)
        .env("PROVIDER_KEY", "sk-provider-secret")
        .start()
}

/// A chat request of one short message.
pub(crate) fn chat(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "12345678"}]});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    body
}

fn post(gateway: &Gateway, body: &Value) -> Result<Response> {
    Client::post_json(gateway.addr(), "/v1/chat/completions", &[], body)
}

/// The data of each event of a stream.
fn events(body: &str) -> Vec<&str> {
    body.split(['\r', '\n'])
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim_start)
        .collect()
}

/// The text of a chat stream.
fn text_of(body: &str) -> Result<String> {
    let mut text = String::new();
    for data in events(body).into_iter().filter(|data| *data != "[DONE]") {
        let event: Value = serde_json::from_str(data).with_context(|| data.to_owned())?;
        text += event["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default();
    }
    Ok(text)
}

#[test]
fn the_provider_sees_the_gateways_key_and_not_the_callers() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    let own = [("Authorization", "Bearer caller-token")];
    let answer = Client::post_json(
        gateway.addr(),
        "/v1/chat/completions",
        &own,
        &chat("m", &json!({})),
    )?;
    assert_eq!(
        answer.json()["choices"][0]["message"]["content"],
        Scenario::text(16)
    );
    let seen = llm.origin().last();
    assert_eq!(
        seen.headers.all("Authorization").collect::<Vec<_>>(),
        ["Bearer sk-provider-secret"]
    );
    assert_eq!(seen.header("Host"), llm.addr().to_string());
    assert_eq!(answer.header("X-Kong-LLM-Model"), "openai/m");
    assert!(
        !answer.headers.has("Set-Cookie"),
        "the provider's cookies are not the caller's"
    );
    Ok(())
}

#[test]
fn a_missing_vault_secret_is_not_sent_as_a_reference() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    // Refusing to start is right as well: then no call can go out without its secret.
    let Ok(gateway) = Gateway::start(proxy(&llm, "", "", "")) else {
        return Ok(());
    };
    assert_eq!(post(&gateway, &chat("m", &json!({})))?.status, 500);
    assert!(llm.origin().requests().is_empty());
    Ok(())
}

#[test]
fn unknown_fields_and_number_texts_reach_the_provider_untouched() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    let body = r#"{"model":"m","x_new":{"a":[1.0,1e3,12345678901234567890]},"messages":[{"role":"user","content":"hé\u00e9"}]}"#;
    let head = [("Content-Type", "application/json")];
    assert_eq!(
        Client::fetch(
            gateway.addr(),
            "POST",
            "/v1/chat/completions",
            &head,
            body.as_bytes()
        )?
        .status,
        200
    );
    let seen = String::from_utf8(llm.origin().last().body)?;
    for part in [
        r#""x_new":{"a":[1.0,1e3,12345678901234567890]}"#,
        r#""content":"hé\u00e9""#,
    ] {
        assert!(seen.contains(part), "{seen}");
    }
    Ok(())
}

#[test]
fn requests_that_make_no_sense_are_refused_in_kongs_words() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let own_model = start(proxy(&llm, "response_streaming: deny,", "name: fixed,", ""))?;
    for (body, message) in [
        (
            json!({"model": "fixed"}),
            "request body doesn't contain valid prompts",
        ),
        (
            json!({"model": "fixed", "messages": []}),
            "request body doesn't contain valid prompts",
        ),
        (chat("other", &json!({})), "cannot use own model - must be: fixed"),
        (
            chat("fixed", &json!({"stream": true})),
            "response streaming is not enabled for this LLM",
        ),
    ] {
        let answer = post(&own_model, &body)?;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json(), json!({"error": {"message": message}}), "{body}");
    }
    let any_model = start(proxy(&llm, "", "", ""))?;
    let answer = post(
        &any_model,
        &json!({"messages": [{"role": "user", "content": "x"}]}),
    )?;
    let expected = "model parameter not found in request, nor in gateway configuration";
    assert_eq!(answer.json()["error"]["message"], expected);
    let head = [("Content-Type", "application/json")];
    let broken = Client::fetch(
        any_model.addr(),
        "POST",
        "/v1/chat/completions",
        &head,
        b"{\"model\":",
    )?;
    assert_eq!(broken.status, 400);
    let twice = br#"{"model":"cheap","model":"dear","messages":[{"role":"user","content":"x"}]}"#;
    let twice = Client::fetch(any_model.addr(), "POST", "/v1/chat/completions", &head, twice)?;
    assert_eq!(twice.status, 400, "two models are no model");
    assert!(llm.origin().requests().is_empty());
    Ok(())
}

#[test]
fn a_configured_model_is_sent_when_the_request_names_none() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "name: fixed,", ""))?;
    let answer = post(&gateway, &json!({"messages": [{"role": "user", "content": "x"}]}))?;
    assert_eq!(
        (answer.status, llm.origin().last().json()["model"].as_str()),
        (200, Some("fixed"))
    );
    Ok(())
}

#[test]
fn streams_arrive_whole_however_they_are_split() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    for words in [
        "split=whole",
        "split=event",
        "split=1",
        "split=7",
        "split=utf8",
        "split=crlf,eol=crlf",
        "split=1,eol=crlf",
        "split=3,eol=cr",
        "comments,split=5",
        "usage=each",
        "usage=twice",
        "usage=omit",
        "delay_ms=2",
    ] {
        let answer = post(&gateway, &chat(&format!("m:{words}"), &json!({"stream": true})))?;
        assert!(
            answer.header("Content-Type").starts_with("text/event-stream"),
            "{words}"
        );
        assert_eq!(
            text_of(&answer.text()).context(words)?,
            Scenario::text(16),
            "{words}"
        );
        assert_eq!(events(&answer.text()).last(), Some(&"[DONE]"), "{words}");
    }
    Ok(())
}

#[test]
fn usage_is_asked_of_the_provider_and_kept_from_a_caller_who_did_not_ask() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    for split in ["whole", "event", "1", "crlf,eol=crlf"] {
        let model = format!("m:split={split}");
        let silent = post(&gateway, &chat(&model, &json!({"stream": true})))?.text();
        assert_eq!(
            llm.origin().last().json()["stream_options"]["include_usage"],
            true
        );
        for data in events(&silent).into_iter().filter(|data| *data != "[DONE]") {
            let event: Value = serde_json::from_str(data)?;
            assert!(
                !event["usage"].is_object() && event["choices"] != json!([]),
                "split={split}: {data}"
            );
        }
        let asked = chat(
            &model,
            &json!({"stream": true, "stream_options": {"include_usage": true}}),
        );
        let told = post(&gateway, &asked)?.text();
        let frames = events(&told)
            .iter()
            .filter(|data| data.contains("\"total_tokens\":22"))
            .count();
        assert_eq!(frames, 1, "split={split}");
    }
    Ok(())
}

#[test]
fn events_are_passed_on_as_they_come() -> Result<()> {
    let llm = Llm::start(Scenario::parse("end=stall-3")?)?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    let body = chat("m", &json!({"stream": true})).to_string();
    let head = [("Content-Type", "application/json")];
    let mut stream =
        Client::connect(gateway.addr())?.stream("POST", "/v1/chat/completions", &head, body.as_bytes())?;
    let mut seen = String::new();
    while !seen.contains(" gate") {
        let piece = stream.piece()?.context("the stream ended")?;
        seen += &String::from_utf8_lossy(&piece);
    }
    drop(stream);
    llm.origin().wait_closed(Duration::from_secs(5))
}

#[test]
fn a_caller_who_leaves_stops_the_provider() -> Result<()> {
    let llm = Llm::start(Scenario::parse("tokens=5000,delay_ms=2")?)?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    let body = chat("m", &json!({"stream": true})).to_string();
    let head = [("Content-Type", "application/json")];
    let mut stream =
        Client::connect(gateway.addr())?.stream("POST", "/v1/chat/completions", &head, body.as_bytes())?;
    for _ in 0..5 {
        stream.piece()?;
    }
    drop(stream);
    llm.origin().wait_closed(Duration::from_secs(5))?;
    let call = llm.bill().calls().remove(0);
    assert!(!call.finished && call.completion_tokens < 1000, "{call:?}");
    Ok(())
}

#[test]
fn a_provider_that_dies_mid_stream_is_never_a_clean_end() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    for end in ["fin-3", "rst-3"] {
        match post(&gateway, &chat(&format!("m:end={end}"), &json!({"stream": true}))) {
            Err(_) => {}
            Ok(answer) => {
                let text = answer.text();
                assert!(!text.contains("[DONE]"), "{end}: {text}");
                assert!(
                    text.contains("\"error\""),
                    "{end}: a whole body must tell of the failure: {text}"
                );
            }
        }
        let whole = post(&gateway, &chat(&format!("m:end={end}"), &json!({})));
        assert!(
            whole.as_ref().map_or(true, |answer| answer.status == 502),
            "{end}: {whole:?}"
        );
    }
    Ok(())
}

#[test]
fn a_key_in_the_query_is_the_only_one_and_in_no_log() -> Result<()> {
    let (llm, scratch) = (Llm::start(Scenario::default())?, Scratch::new()?);
    let path = scratch.path().join("ai.log");
    let log = format!(", {{name: file-log, config: {{path: {}}}}}", path.display());
    let policy = proxy(&llm, "", "", &log).replace(
        "auth: {header_name: Authorization, header_value: 'Bearer {vault://env/provider-key}'}",
        "auth: {param_name: key, param_value: '{vault://env/provider-key}', param_location: query}",
    );
    let gateway = start(policy)?;
    let target = "/v1/chat/completions?a=1&key=mine&k%65y=too";
    let answer = Client::post_json(gateway.addr(), target, &[], &chat("m", &json!({})))?;
    assert_eq!(answer.status, 200);
    let asked = llm.origin().last().target;
    assert_eq!(
        asked.split_once('?').map(|it| it.1),
        Some("a=1&key=sk-provider-secret")
    );
    let text = eventually("a log line", || {
        std::fs::read_to_string(&path)
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    assert!(text.contains("key=REDACTED"), "{text}");
    assert!(
        !text.contains("sk-provider-secret") && !text.contains("mine"),
        "{text}"
    );
    Ok(())
}

#[test]
fn the_models_name_can_depend_on_the_request() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "name: 'm-$(headers.x_tier)',", ""))?;
    let ask = |headers: &[(&str, &str)]| {
        let body = json!({"messages": [{"role": "user", "content": "12345678"}]});
        Client::post_json(gateway.addr(), "/v1/chat/completions", headers, &body)
    };
    let answer = ask(&[("X-Tier", "mini")])?;
    assert_eq!(
        (answer.status, answer.header("X-Kong-LLM-Model")),
        (200, "openai/m-mini")
    );
    assert_eq!(llm.origin().last().json()["model"], "m-mini");
    assert_eq!(ask(&[])?.status, 500, "there is no such header");
    assert_eq!(llm.origin().requests().len(), 1);
    Ok(())
}

#[test]
fn a_providers_errors_are_passed_on() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    for status in [400, 401, 404, 429, 500, 503] {
        let before = llm.origin().requests().len();
        let answer = post(
            &gateway,
            &chat(
                &format!("m:status={status},retry_after=7"),
                &json!({"stream": true}),
            ),
        )?;
        assert_eq!((answer.status, answer.header("Retry-After")), (status, "7"));
        assert_eq!(answer.json()["error"]["message"], "the scenario says so");
        assert!(!answer.headers.has("X-Kong-LLM-Model"), "only for a 200");
        assert_eq!(
            llm.origin().requests().len(),
            before + 1,
            "a call is never repeated"
        );
    }
    Ok(())
}

#[test]
fn statistics_are_logged_without_secrets_or_texts() -> Result<()> {
    let (llm, scratch) = (Llm::start(Scenario::default())?, Scratch::new()?);
    let path = scratch.path().join("ai.log");
    let log = format!(", {{name: file-log, config: {{path: {}}}}}", path.display());
    let gateway = start(proxy(&llm, "logging: {log_statistics: true},", "", &log))?;
    post(&gateway, &chat("m", &json!({"stream": true})))?;
    post(&gateway, &chat("m:usage=omit", &json!({})))?;
    let text = eventually("two log lines", || {
        std::fs::read_to_string(&path)
            .ok()
            .filter(|text| text.lines().count() >= 2)
    });
    // Two workers write to one log, so the lines may stand in either order.
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of_model = |model: &str| {
        let entry = lines.iter().map(|line| &line["ai"]["proxy"]);
        entry
            .clone()
            .find(|entry| entry["meta"]["request_model"] == model)
            .cloned()
    };
    let told = of_model("m").context("no line of the first call")?;
    assert_eq!(told["meta"]["provider_name"], "openai");
    for (key, expected) in [
        ("prompt_tokens", 6),
        ("completion_tokens", 16),
        ("total_tokens", 22),
    ] {
        assert_eq!(told["usage"][key], expected, "{key}");
    }
    let silent = of_model("m:usage=omit").context("no line of the second call")?;
    assert!(
        silent["usage"]["total_tokens"].as_u64() > Some(1),
        "a silent provider is estimated"
    );
    let everything = text + &gateway.log();
    assert!(
        !everything.contains("sk-provider-secret") && !everything.contains("12345678\""),
        "{everything}"
    );
    Ok(())
}

#[test]
fn tokens_are_counted_in_the_metrics() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let metrics = "plugins: [{name: prometheus, config: {ai_metrics: true}}]\n";
    let policy = proxy(&llm, "logging: {log_statistics: true},", "", "") + metrics;
    let gateway = start(policy)?;
    post(&gateway, &chat("m", &json!({})))?;
    post(&gateway, &chat("m", &json!({"stream": true})))?;
    let tokens = |kind: &str| {
        let labels = [
            "ai_provider=\"openai\"",
            "ai_model=\"m\"",
            &format!("token_type=\"{kind}\""),
        ];
        gateway.admin().metric("kong_ai_llm_tokens_total", &labels)
    };
    eventually("both calls are counted", || {
        (tokens("total_tokens").ok()? > 43.5).then_some(())
    });
    assert!(
        (tokens("prompt_tokens")? - 12.0).abs() < 0.1 && (tokens("completion_tokens")? - 32.0).abs() < 0.1
    );
    assert!(
        (gateway
            .admin()
            .metric("kong_ai_llm_requests_total", &["ai_model=\"m\""])?
            - 2.0)
            .abs()
            < 0.1
    );
    Ok(())
}
