//! A scripted provider that speaks OpenAI's chat, completions and embeddings, as JSON and as SSE.
//!
//! In: requests, each under a [`Scenario`]. Out: what the scenario says, on time, split where it says, and a bill of
//! the tokens generated until the caller's disappearance was seen. Deliberately absent: any model. Texts and counts
//! are functions of the request alone, so that a test can say what must arrive.

mod bill;
mod frames;
mod scenario;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};

pub use self::bill::{Bill, Call};
pub use self::scenario::{End, Scenario, Split, UsageReport};

use self::bill::Meter;
use self::frames::Api;
use crate::origin::{Origin, Recorded};
use crate::script::{Script, Step};

/// A running provider.
pub struct Llm {
    origin: Origin,
    bill: Arc<Bill>,
}

impl Llm {
    /// A provider whose requests follow `scenario`, unless one says otherwise itself: by an `X-Mock-Scenario` header, or
    /// by what follows a `:` in its model name. See [`Scenario::parse`] for the words.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn start(scenario: Scenario) -> Result<Self> {
        let bill = Arc::new(Bill::default());
        let billing = Arc::clone(&bill);
        let origin = Origin::start(move |request| answer(request, &scenario, &billing))?;
        Ok(Self { origin, bill })
    }

    /// A provider that answers every stream with `tokens` events of text, as fast as they are taken.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn streaming(tokens: u64) -> Result<Self> {
        Self::start(Scenario {
            tokens,
            ..Scenario::default()
        })
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.origin.addr()
    }

    /// The address of one of its APIs, for `model.options.upstream_url`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin.url())
    }

    /// The requests and bytes it saw.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What it would charge.
    #[must_use]
    pub fn bill(&self) -> &Bill {
        &self.bill
    }
}

fn answer(request: &Recorded, default: &Scenario, bill: &Arc<Bill>) -> Script {
    let body = request.json();
    let path = request.target.split('?').next().unwrap_or_default();
    let Some(api) = Api::of_path(path) else {
        return refusal(
            404,
            "not_found",
            &format!("Unknown request URL: {} {path}", request.method),
            &[],
        );
    };
    let own = request
        .headers
        .get("x-mock-scenario")
        .or_else(|| body["model"].as_str()?.split_once(':').map(|(_, s)| s));
    let scenario = match own.map_or_else(|| Ok(default.clone()), |words| default.clone().with(words)) {
        Ok(scenario) => scenario,
        Err(error) => return refusal(400, "invalid_scenario", &error.to_string(), &[]),
    };
    if scenario.status != 200 {
        let retry: Vec<(&str, &str)> = scenario
            .retry_after
            .iter()
            .map(|v| ("Retry-After", v.as_str()))
            .collect();
        return refusal(scenario.status, "scripted", "the scenario says so", &retry);
    }
    let streaming = body["stream"] == Value::Bool(true) && api != Api::Embeddings;
    let prompt_tokens = frames::prompt_tokens(&body, api);
    let meter = bill.open(
        body["model"].as_str().unwrap_or_default(),
        streaming,
        prompt_tokens,
    );
    let reply = frames::Reply::new(api, &body, &scenario, prompt_tokens);
    if streaming {
        stream(&reply, &scenario, &meter)
    } else {
        whole(&reply, &scenario, &meter)
    }
}

/// A JSON answer: all tokens are generated before its first byte, so they are billed whether or not anyone waits.
fn whole(reply: &frames::Reply<'_>, scenario: &Scenario, meter: &Arc<Meter>) -> Script {
    meter.generate(reply.completion_tokens());
    let body = reply.json();
    let head = [
        ("Content-Type", "application/json"),
        ("x-request-id", "req_mock"),
        ("Set-Cookie", "__cf=mock"),
    ];
    let mut script = Script::respond(200, &head, body.to_string());
    if let Some((_, act)) = scenario.end.act() {
        // Half of the answer, then the end the scenario asks for.
        if let Some(Step::Send(bytes)) = script.steps.first_mut() {
            bytes.truncate(bytes.len() / 2);
        }
        return script.then(act);
    }
    let finished = Arc::clone(meter);
    let mut script = scenario.split.apply(script);
    if !scenario.delay.is_zero() {
        script = script.after(Step::Pause(scenario.delay));
    }
    script.then(Step::Then(Arc::new(move || finished.finish())))
}

/// An event stream: each event is billed when it is sent, and none after the caller has gone.
fn stream(reply: &frames::Reply<'_>, scenario: &Scenario, meter: &Arc<Meter>) -> Script {
    let mut script = Script::raw(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nx-request-id: req_mock\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    let events = reply.events();
    let cut = scenario.end.act();
    let kept = cut.as_ref().map_or(usize::MAX, |(after, _)| *after);
    let mut whole = Vec::new();
    for event in events.into_iter().take(kept) {
        if !scenario.delay.is_zero() && scenario.split != Split::Whole {
            script = script.then(Step::Pause(scenario.delay));
        }
        let tokens = event.tokens;
        let generating = Arc::clone(meter);
        let bill = Step::Then(Arc::new(move || generating.generate(tokens)));
        if scenario.split == Split::Whole {
            whole.extend_from_slice(&event.bytes);
            script = script.then(bill);
        } else {
            let pieces = scenario
                .split
                .cut(&event.bytes)
                .into_iter()
                .map(|piece| Step::Send(chunk(piece)));
            script.steps.extend(pieces);
            script = script.then(bill);
        }
    }
    if !whole.is_empty() {
        script = script.then(Step::Send(chunk(&whole)));
    }
    match cut {
        Some((_, act)) => script.then(act),
        None => {
            let finished = Arc::clone(meter);
            let last = Step::Then(Arc::new(move || finished.finish()));
            script.then(last).then(Step::Send(b"0\r\n\r\n".to_vec()))
        }
    }
}

fn chunk(data: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn refusal(status: u16, code: &str, message: &str, headers: &[(&str, &str)]) -> Script {
    let kind = if status == 429 {
        "requests"
    } else {
        "invalid_request_error"
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    Script::respond(status, &all, body.to_string())
}
