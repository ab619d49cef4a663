//! The bodies and events of OpenAI's chat, completions and embeddings APIs.

use serde_json::{Value, json};

use super::scenario::{End, Scenario, UsageReport};

/// Words the model says, in turn. Each is one token; together they hold one- to four-byte characters.
const WORDS: [&str; 8] = ["Toll", " gate", " é", "漢", " 🚦", " data:", " \"quoted\"", "\n"];

/// Which API a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Chat,
    Completions,
    Embeddings,
}

impl Api {
    pub(super) fn of_path(path: &str) -> Option<Self> {
        if path.ends_with("/chat/completions") {
            Some(Self::Chat)
        } else if path.ends_with("/completions") {
            Some(Self::Completions)
        } else {
            path.ends_with("/embeddings").then_some(Self::Embeddings)
        }
    }
}

/// The prompt's tokens: a quarter of its text's bytes, rounded up, and four per message. Never more than its bytes
/// plus the usual template allowance, as with any real byte-level tokenizer.
pub(super) fn prompt_tokens(body: &Value, api: Api) -> u64 {
    let text = |value: &Value| -> u64 {
        match value {
            Value::String(text) => (text.len() as u64).div_ceil(4),
            Value::Array(parts) => parts.iter().map(part_tokens).sum(),
            _ => 0,
        }
    };
    match api {
        Api::Chat => {
            let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            messages.iter().map(|message| 4 + text(&message["content"])).sum()
        }
        Api::Completions => text(&body["prompt"]),
        Api::Embeddings => text(&body["input"]),
    }
}

fn part_tokens(part: &Value) -> u64 {
    match part {
        Value::String(text) => (text.len() as u64).div_ceil(4),
        Value::Number(_) => 1,
        Value::Array(tokens) => tokens.len() as u64,
        part => part["text"]
            .as_str()
            .map_or(0, |text| (text.len() as u64).div_ceil(4)),
    }
}

/// One SSE event and the tokens generated with it.
pub(super) struct Event {
    pub(super) bytes: Vec<u8>,
    pub(super) tokens: u64,
}

/// The answer to one request, before it is cut into writes.
pub(super) struct Reply<'a> {
    api: Api,
    model: String,
    scenario: &'a Scenario,
    prompt_tokens: u64,
    choices: u64,
    /// Tokens per choice.
    tokens: u64,
    capped: bool,
    asked_usage: bool,
    inputs: u64,
    base64: bool,
}

impl<'a> Reply<'a> {
    pub(super) fn new(api: Api, body: &Value, scenario: &'a Scenario, prompt_tokens: u64) -> Self {
        let cap = [&body["max_completion_tokens"], &body["max_tokens"]]
            .into_iter()
            .find_map(Value::as_u64);
        let cap = cap
            .or((api == Api::Completions).then_some(16))
            .filter(|_| !scenario.ignores_cap);
        let tokens = cap.map_or(scenario.tokens, |cap| cap.min(scenario.tokens));
        Self {
            api,
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            scenario,
            prompt_tokens,
            choices: body["n"].as_u64().unwrap_or(1),
            tokens,
            capped: tokens < scenario.tokens,
            asked_usage: body["stream_options"]["include_usage"] == Value::Bool(true),
            inputs: inputs(&body["input"]),
            base64: body["encoding_format"] == "base64",
        }
    }

    /// All tokens of all choices.
    pub(super) fn completion_tokens(&self) -> u64 {
        if self.api == Api::Embeddings {
            0
        } else {
            self.choices * self.tokens
        }
    }

    /// The answer as one JSON document.
    pub(super) fn json(&self) -> Value {
        let choices: Vec<Value> = (0..self.choices).map(|index| self.choice(index)).collect();
        let mut answer = match self.api {
            Api::Embeddings => {
                let data: Vec<Value> = (0..self.inputs).map(|index| self.embedding(index)).collect();
                json!({"object": "list", "data": data, "model": self.model})
            }
            Api::Chat => self.envelope("chat.completion", &json!(choices)),
            Api::Completions => self.envelope("text_completion", &json!(choices)),
        };
        if self.scenario.usage != UsageReport::Omitted {
            answer["usage"] = self.usage(self.completion_tokens());
        }
        answer
    }

    /// The answer as events, in order.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for index in 0..self.choices {
            if self.api == Api::Chat {
                events.push(self.chunk(
                    index,
                    &json!({"role": "assistant", "content": ""}),
                    &Value::Null,
                    0,
                    0,
                ));
            }
        }
        for position in 0..self.tokens {
            for index in 0..self.choices {
                let so_far = position * self.choices + index + 1;
                events.push(self.chunk(index, &self.delta(position), &Value::Null, 1, so_far));
            }
        }
        for index in 0..self.choices {
            events.push(self.chunk(
                index,
                &json!({}),
                &json!(self.finish_reason()),
                0,
                self.completion_tokens(),
            ));
        }
        let frames = match self.scenario.usage {
            UsageReport::Omitted | UsageReport::EachChunk => 0,
            UsageReport::Asked => u64::from(self.asked_usage),
            UsageReport::Twice => 2 * u64::from(self.asked_usage),
        };
        for frame in 1..=frames {
            let mut chunk = self.envelope(self.chunk_object(), &json!([]));
            chunk["usage"] = self.usage(self.completion_tokens() * frame / frames);
            events.push(self.event(&chunk.to_string(), 0));
        }
        if let End::Error(after) = self.scenario.end {
            events.truncate(after);
            let error = json!({"error": {"message": "the scenario says so", "type": "server_error", "param": null, "code": null}});
            events.push(self.event(&error.to_string(), 0));
        } else if self.scenario.end != End::WithoutDone {
            events.push(self.event("[DONE]", 0));
        }
        events
    }

    fn chunk(&self, index: u64, delta: &Value, finish: &Value, tokens: u64, so_far: u64) -> Event {
        let choice = match self.api {
            Api::Chat => json!({"index": index, "delta": delta, "finish_reason": finish, "logprobs": null}),
            _ => {
                json!({"index": index, "text": delta["content"].as_str().unwrap_or_default(), "finish_reason": finish})
            }
        };
        let mut chunk = self.envelope(self.chunk_object(), &json!([choice]));
        if self.scenario.usage == UsageReport::EachChunk {
            chunk["usage"] = self.usage(so_far);
        } else if self.asked_usage && self.scenario.usage != UsageReport::Omitted {
            chunk["usage"] = Value::Null;
        }
        self.event(&chunk.to_string(), tokens)
    }

    fn event(&self, data: &str, tokens: u64) -> Event {
        let end = self.scenario.line_end;
        let comment = if self.scenario.comments {
            format!(": keep-alive{end}{end}")
        } else {
            String::new()
        };
        Event {
            bytes: format!("{comment}data: {data}{end}{end}").into_bytes(),
            tokens,
        }
    }

    fn choice(&self, index: u64) -> Value {
        let half = if self.scenario.reasoning {
            self.tokens / 2
        } else {
            0
        };
        let said: String = (half..self.tokens).map(word).collect();
        let finish = self.finish_reason();
        if self.api == Api::Completions {
            return json!({"index": index, "text": said, "finish_reason": finish, "logprobs": null});
        }
        let mut message = json!({"role": "assistant", "content": said, "refusal": null});
        if half > 0 {
            message["reasoning_content"] = (0..half).map(word).collect();
        }
        json!({"index": index, "message": message, "finish_reason": finish, "logprobs": null})
    }

    fn delta(&self, position: u64) -> Value {
        let reasoning = self.scenario.reasoning && position < self.tokens / 2;
        json!({if reasoning { "reasoning_content" } else { "content" }: word(position)})
    }

    fn finish_reason(&self) -> &'static str {
        if self.capped { "length" } else { "stop" }
    }

    fn chunk_object(&self) -> &'static str {
        if self.api == Api::Chat {
            "chat.completion.chunk"
        } else {
            "text_completion"
        }
    }

    fn envelope(&self, object: &str, choices: &Value) -> Value {
        json!({"id": "mock-1", "object": object, "created": 1_700_000_000, "model": self.model, "choices": choices})
    }

    fn usage(&self, completion: u64) -> Value {
        let total = self.prompt_tokens + completion;
        if self.api == Api::Embeddings {
            return json!({"prompt_tokens": self.prompt_tokens, "total_tokens": total});
        }
        let reasoning = if self.scenario.reasoning {
            completion / 2
        } else {
            0
        };
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        })
    }

    /// A vector of three numbers that float32 holds exactly; the SDKs ask for base64 of little-endian float32.
    fn embedding(&self, index: u64) -> Value {
        let vector = if self.base64 {
            json!("AACAPwAAAEAAAEBA")
        } else {
            json!([1.0, 2.0, 3.0])
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    }
}

fn inputs(input: &Value) -> u64 {
    match input {
        Value::Array(items) if items.iter().any(|item| !item.is_number()) => items.len() as u64,
        _ => 1,
    }
}

fn word(position: u64) -> &'static str {
    WORDS[usize::try_from(position % 8).unwrap_or(0)]
}

impl Scenario {
    /// The text that `tokens` tokens spell, for comparing with what a client received.
    #[must_use]
    pub fn text(tokens: u64) -> String {
        (0..tokens).map(word).collect()
    }
}
