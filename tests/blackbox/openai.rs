//! The official `openai` Python SDK: the same results through the gateway as without it.

use anyhow::Result;
use serde_json::{Value, json};
use tests::{Curl, Gateway, Llm, OpenAi, Scenario};

use crate::llm::{chat, proxy, start};

fn set_up() -> Result<(Llm, Gateway, OpenAi)> {
    let llm = Llm::start(Scenario::default())?;
    let gateway = start(proxy(&llm, "", "", ""))?;
    Ok((llm, gateway, OpenAi::start()?))
}

#[test]
fn every_call_gives_what_it_gives_without_a_gateway() -> Result<()> {
    let (llm, gateway, sdk) = set_up()?;
    let options = json!({"stream_options": {"include_usage": true}});
    let prompt = json!({"model": "m", "prompt": "12345678"});
    for (operation, arguments) in [
        ("chat", chat("m", &json!({}))),
        ("chat", chat("m", &json!({"n": 3, "max_tokens": 5}))),
        ("chat", chat("m:reasoning", &json!({}))),
        ("stream", chat("m", &options)),
        ("stream", chat("m:split=1", &options)),
        ("stream", chat("m:split=utf8,eol=crlf,comments", &options)),
        ("completion", prompt.clone()),
        ("completion_stream", prompt),
        ("embeddings", json!({"model": "m", "input": ["one", "two"]})),
        ("embeddings", json!({"model": "m", "input": [1, 2, 3]})),
    ] {
        let direct = sdk.call(llm.addr(), operation, &arguments)?;
        let through = sdk.call(gateway.addr(), operation, &arguments)?;
        assert!(direct.get("error").is_none(), "{operation}: {direct}");
        assert_eq!(through, direct, "{operation} {arguments}");
    }
    Ok(())
}

#[test]
fn usage_shows_in_a_stream_only_when_asked_for() -> Result<()> {
    let (_llm, gateway, sdk) = set_up()?;
    let silent = sdk.call(gateway.addr(), "stream", &chat("m", &json!({})))?;
    assert_eq!(
        (&silent["usage"], &silent["text"]),
        (&Value::Null, &json!(Scenario::text(16)))
    );
    let asked = json!({"stream_options": {"include_usage": true}});
    let told = sdk.call(gateway.addr(), "stream", &chat("m", &asked))?;
    assert_eq!(told["usage"]["total_tokens"], 22);
    Ok(())
}

#[test]
fn errors_are_the_sdks_own_exceptions() -> Result<()> {
    let (_llm, gateway, sdk) = set_up()?;
    for (status, class) in [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
    ] {
        for operation in ["chat", "stream"] {
            let outcome = sdk.call(
                gateway.addr(),
                operation,
                &chat(&format!("m:status={status}"), &json!({})),
            )?;
            assert_eq!(outcome["error"]["class"], class, "{operation}: {outcome}");
        }
    }
    Ok(())
}

#[test]
fn a_failure_in_the_middle_is_an_exception() -> Result<()> {
    let (_llm, gateway, sdk) = set_up()?;
    for end in ["error-3", "fin-3", "rst-3"] {
        let outcome = sdk.call(
            gateway.addr(),
            "stream",
            &chat(&format!("m:end={end}"), &json!({})),
        )?;
        assert!(outcome.get("error").is_some(), "{end}: {outcome}");
    }
    Ok(())
}

#[test]
fn default_retries_follow_retry_after() -> Result<()> {
    let (llm, gateway, sdk) = set_up()?;
    let retries = json!({"max_retries": 1});
    let arguments = chat("m:status=429,retry_after=0.05", &json!({}));
    let outcome = sdk.call_with(gateway.addr(), "chat", &arguments, &retries)?;
    assert_eq!(outcome["error"]["class"], "RateLimitError");
    assert_eq!(llm.origin().requests().len(), 2);
    Ok(())
}

#[test]
fn the_sdks_own_headers_reach_the_provider() -> Result<()> {
    let (llm, gateway, sdk) = set_up()?;
    sdk.call(gateway.addr(), "chat", &chat("m", &json!({})))?;
    let seen = llm.origin().last();
    assert!(
        seen.headers
            .0
            .iter()
            .any(|(name, _)| name.to_ascii_lowercase().starts_with("x-stainless-"))
    );
    assert!(seen.header("User-Agent").starts_with("OpenAI/Python"));
    Ok(())
}

#[test]
fn the_key_of_a_consumer_is_the_api_key() -> Result<()> {
    let llm = Llm::start(Scenario::default())?;
    let auth = ", {name: key-auth, config: {key_names: [x-api-key], hide_credentials: true}}";
    let consumers = "consumers: [{username: ada, keyauth_credentials: [{key: ada-key}]}]\n";
    let gateway = start(proxy(&llm, "", "", auth) + consumers)?;
    let sdk = OpenAi::start()?;
    let with = |key: &str| json!({"default_headers": {"x-api-key": key}});
    let good = sdk.call_with(gateway.addr(), "chat", &chat("m", &json!({})), &with("ada-key"))?;
    assert_eq!(good["usage"]["total_tokens"], 22);
    let bad = sdk.call_with(gateway.addr(), "chat", &chat("m", &json!({})), &with("eve"))?;
    assert_eq!(bad["error"]["class"], "AuthenticationError");
    assert!(!llm.origin().last().headers.has("x-api-key"));
    Ok(())
}

#[test]
fn curl_gets_chat_stream_and_embeddings() -> Result<()> {
    let (_llm, gateway, _sdk) = set_up()?;
    let url = gateway.url("/v1/chat/completions");
    let whole = Curl::new(&url)?.json(&chat("m", &json!({}))).run()?;
    assert_eq!(whole.json()["usage"]["total_tokens"], 22);
    let stream = Curl::new(&url)?
        .args(["--no-buffer"])
        .json(&chat("m", &json!({"stream": true})))
        .run()?;
    assert!(stream.text().ends_with("data: [DONE]\n\n"));
    let embeddings = json!({"model": "m", "input": "12345678"});
    let vector = Curl::new(&gateway.url("/v1/embeddings"))?
        .json(&embeddings)
        .run()?;
    assert_eq!(vector.json()["data"][0]["embedding"], json!([1.0, 2.0, 3.0]));
    Ok(())
}
