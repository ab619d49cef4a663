use policy::table::{RouteType, Streaming};
use proptest::prelude::*;

use super::*;

const TERMS: Terms<'static> = Terms {
    route_type: RouteType::Chat,
    model: "",
    streaming: Streaming::Allow,
    temperature: None,
    top_p: None,
    top_k: None,
    max_tokens: 0,
    default_cap: None,
};

fn call(body: &str, terms: &Terms<'_>) -> Result<(Call, String), CallError> {
    let mut out = Vec::new();
    let call = read(body.as_bytes(), terms, &mut out)?;
    Ok((call, String::from_utf8(out).expect("UTF-8")))
}

#[test]
fn untouched_members_keep_their_bytes() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"h\u00e9"}],"x":1.50,"seed": 7}"#;
    let (_, sent) = call(body, &TERMS).expect("accepted");
    assert_eq!(
        sent,
        r#"{"model":"m","messages":[{"role":"user","content":"h\u00e9"}],"x":1.50,"seed":7}"#
    );
}

#[test]
fn refusals_say_what_kong_says() {
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let own = Terms {
        model: "gpt",
        ..TERMS
    };
    let deny = Terms {
        streaming: Streaming::Deny,
        ..TERMS
    };
    let cases = [
        (
            "{",
            TERMS,
            "content-type header does not match request body, or bad JSON formatting",
        ),
        (
            "[]",
            TERMS,
            "content-type header does not match request body, or bad JSON formatting",
        ),
        (
            r#"{"model":"m"}"#,
            TERMS,
            "request body doesn't contain valid prompts",
        ),
        (
            r#"{"model":"m","messages":[]}"#,
            TERMS,
            "request body doesn't contain valid prompts",
        ),
        (
            &format!(r#"{{"prompt":"a",{messages}}}"#),
            TERMS,
            "request matches multiple LLM request formats",
        ),
        (
            r#"{"model":"m","prompt":"a"}"#,
            TERMS,
            "[llm/v1/completions] message format is not compatible with [llm/v1/chat] route type",
        ),
        (
            &format!(r#"{{"model":"other",{messages}}}"#),
            own,
            "cannot use own model - must be: gpt",
        ),
        (
            &format!("{{{messages}}}"),
            TERMS,
            "model parameter not found in request, nor in gateway configuration",
        ),
        (
            &format!(r#"{{"model":"m","stream":true,{messages}}}"#),
            deny,
            "response streaming is not enabled for this LLM",
        ),
        (
            &format!(r#"{{"model":"m","model":"n",{messages}}}"#),
            TERMS,
            "request body names a member twice",
        ),
    ];
    for (body, terms, message) in cases {
        let error = call(body, &terms).expect_err(body);
        assert_eq!(error.message(terms.model), message, "{body}");
    }
}

#[test]
fn caps_are_whole_numbers_before_any_arithmetic() {
    for cap in [
        "0",
        "-1",
        "1.5",
        "1e3",
        "\"9\"",
        "99999999999999999999",
        "2147483648",
    ] {
        let body =
            format!(r#"{{"model":"m","max_tokens":{cap},"messages":[{{"role":"user","content":"x"}}]}}"#);
        assert_eq!(call(&body, &TERMS), Err(CallError::Count("max_tokens")), "{cap}");
    }
    let body = r#"{"model":"m","n":128,"max_tokens":2147483647,"messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(
        call(body, &TERMS).expect("accepted").0.completion_upper,
        128 * 2_147_483_647
    );
}

#[test]
fn the_routes_cap_replaces_the_clients() {
    let terms = Terms {
        max_tokens: 64,
        ..TERMS
    };
    let body = r#"{"model":"m","max_completion_tokens":9000,"messages":[{"role":"user","content":"x"}]}"#;
    let (call, sent) = call(body, &terms).expect("accepted");
    assert_eq!(call.completion_upper, 64);
    assert!(
        sent.contains(r#""max_completion_tokens":64"#) && !sent.contains("9000"),
        "{sent}"
    );
}

#[test]
fn a_model_that_thinks_is_capped_in_the_field_it_knows() {
    let terms = Terms {
        max_tokens: 64,
        ..TERMS
    };
    for (model, field) in [
        ("o3-mini", "max_completion_tokens"),
        ("openai/o1", "max_completion_tokens"),
        ("gpt-5-nano", "max_completion_tokens"),
        ("gpt-4o", "max_tokens"),
        ("olmo-2", "max_tokens"),
    ] {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]}}"#);
        let (_, sent) = call(&body, &terms).expect("accepted");
        assert!(sent.contains(&format!(r#""{field}":64"#)), "{sent}");
    }
}

#[test]
fn what_a_model_reads_besides_messages_is_bounded_too() {
    let upper = |more: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
        call(&body, &TERMS).expect("accepted").0.prompt_upper
    };
    let plain = upper("");
    assert_eq!(upper(r#","temperature":1,"user":"somebody""#), plain);
    let tools = r#"[{"type":"function","function":{"name":"f","description":"text"}}]"#;
    assert!(upper(&format!(r#","tools":{tools}"#)) >= plain + tools.len() as u64 + limits::AI_TOOLS_TOKENS);
}

#[test]
fn usage_is_asked_for_and_kept_from_who_did_not_ask() {
    let body =
        r#"{"model":"m","stream":true,"stream_options":{"x":1},"messages":[{"role":"user","content":"x"}]}"#;
    let (call_, sent) = call(body, &TERMS).expect("accepted");
    assert!(
        call_.strip_usage && sent.contains(r#""stream_options":{"x":1,"include_usage":true}"#),
        "{sent}"
    );
    let body =
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user"}]}"#;
    assert!(!call(body, &TERMS).expect("accepted").0.strip_usage);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body, &TERMS, &mut Vec::new());
    }

    #[test]
    fn the_bound_holds_for_one_token_a_byte(text in "\\PC{0,200}") {
        let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string();
        let (call, _) = call(&body, &TERMS).expect("accepted");
        prop_assert!(call.prompt_upper >= text.len() as u64);
    }
}
