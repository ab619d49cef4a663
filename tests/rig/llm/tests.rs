use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Call, Llm, Scenario};
use crate::client::Client;

fn ask(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "stream": stream,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "12345678"}],
    })
}

/// The text and the last usage of an event stream.
fn read(body: &str) -> (String, Value) {
    let (mut text, mut usage) = (String::new(), Value::Null);
    for data in body
        .split(['\r', '\n'])
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
    {
        let event: Value = serde_json::from_str(data).unwrap();
        text += event["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default();
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
    }
    (text, usage)
}

#[test]
fn every_split_and_line_end_carries_the_same_answer() {
    let llm = Llm::start(Scenario::default()).unwrap();
    for words in [
        "split=whole",
        "split=event",
        "split=1",
        "split=7",
        "split=utf8,eol=crlf",
        "split=crlf,eol=crlf",
        "eol=cr",
    ] {
        let answer = Client::post_json(
            llm.addr(),
            "/v1/chat/completions",
            &[],
            &ask(&format!("m:{words}"), true),
        )
        .unwrap();
        let (text, usage) = read(&answer.text());
        assert_eq!(text, Scenario::text(16), "{words}");
        assert_eq!(usage["total_tokens"], 6 + 16, "{words}");
    }
}

#[test]
fn json_and_stream_say_and_bill_the_same() {
    let llm = Llm::start(Scenario::default()).unwrap();
    let json = Client::post_json(llm.addr(), "/v1/chat/completions", &[], &ask("m", false))
        .unwrap()
        .json();
    let stream = Client::post_json(llm.addr(), "/v1/chat/completions", &[], &ask("m", true)).unwrap();
    assert_eq!(
        json["choices"][0]["message"]["content"].as_str(),
        Some(read(&stream.text()).0.as_str())
    );
    assert_eq!(json["usage"], read(&stream.text()).1);
    let bill = llm.bill().calls();
    assert_eq!(bill.iter().map(Call::total_tokens).collect::<Vec<_>>(), [22, 22]);
    assert!(bill.iter().all(|call| call.finished));
}

#[test]
fn the_cap_is_kept_unless_the_scenario_ignores_it() {
    let llm = Llm::start(Scenario::default()).unwrap();
    for (model, expected) in [("m", 5), ("m:ignore_cap", 16)] {
        let mut body = ask(model, false);
        body["max_tokens"] = json!(5);
        let answer = Client::post_json(llm.addr(), "/v1/chat/completions", &[], &body)
            .unwrap()
            .json();
        assert_eq!(answer["usage"]["completion_tokens"], expected, "{model}");
    }
}

#[test]
fn generation_stops_when_the_caller_goes() {
    let llm = Llm::start(Scenario::parse("tokens=1000,delay_ms=2").unwrap()).unwrap();
    let client = Client::connect(llm.addr()).unwrap();
    let head = [("Content-Type", "application/json")];
    let body = ask("m", true).to_string();
    let mut stream = client
        .stream("POST", "/v1/chat/completions", &head, body.as_bytes())
        .unwrap();
    for _ in 0..5 {
        stream.piece().unwrap();
    }
    drop(stream);
    let settled = || {
        let before = llm.bill().calls()[0].clone();
        std::thread::sleep(Duration::from_millis(50));
        (llm.bill().calls()[0] == before).then_some(before)
    };
    let start = Instant::now();
    let call = std::iter::repeat_with(settled).flatten().next().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(
        !call.finished && (1..100).contains(&call.completion_tokens),
        "{call:?}"
    );
}

#[test]
fn a_dead_provider_breaks_off() {
    let llm = Llm::start(Scenario::default()).unwrap();
    for end in ["fin-3", "rst-3"] {
        let model = format!("m:end={end}");
        assert!(
            Client::post_json(llm.addr(), "/v1/chat/completions", &[], &ask(&model, true)).is_err(),
            "{end}"
        );
        assert!(
            Client::post_json(llm.addr(), "/v1/chat/completions", &[], &ask(&model, false)).is_err(),
            "{end}"
        );
    }
    assert!(llm.bill().calls().iter().all(|call| !call.finished));
}

#[test]
fn errors_and_unknown_scenarios_are_answered_in_openai_form() {
    let llm = Llm::start(Scenario::default()).unwrap();
    for (model, status) in [("m:status=429,retry_after=1", 429), ("m:bogus", 400)] {
        let answer = Client::post_json(llm.addr(), "/v1/chat/completions", &[], &ask(model, false)).unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"]["message"].is_string());
    }
}
