//! A call's body: read, judged as Kong's ai-proxy judges it, bounded, rewritten.
//!
//! Members that are not changed keep their bytes; a body that names one member twice is refused, because provider and
//! gateway might each believe another one.

use std::borrow::Cow;
use std::fmt;

use policy::table::{RouteType, Streaming};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits;

/// Why a call is refused before it is made; always a 400. The texts are Kong's (ai-proxy) where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Not a JSON object.
    NotJson,
    /// A member stands there twice.
    Repeated,
    /// Nothing to answer.
    NoPrompt,
    /// Both chat and completion.
    Ambiguous,
    /// Neither, or not what the route answers.
    WrongShape(RouteType),
    /// Another model than the route's.
    OwnModel,
    /// No model at all.
    NoModel,
    /// The route does not stream.
    NoStreaming,
    /// A count that is no whole number in its bounds.
    Count(&'static str),
}

impl CallError {
    /// What the client is told; `model` is the route's.
    pub fn message(self, model: &str) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotJson => "content-type header does not match request body, or bad JSON formatting",
            Self::Repeated => "request body names a member twice",
            Self::NoPrompt => "request body doesn't contain valid prompts",
            Self::Ambiguous => "request matches multiple LLM request formats",
            Self::WrongShape(RouteType::Chat) => {
                "[llm/v1/completions] message format is not compatible with [llm/v1/chat] route type"
            }
            Self::WrongShape(RouteType::Completions) => {
                "[llm/v1/chat] message format is not compatible with [llm/v1/completions] route type"
            }
            Self::WrongShape(RouteType::Embeddings) => "request format not recognised",
            Self::OwnModel => return Cow::Owned(format!("cannot use own model - must be: {model}")),
            Self::NoModel => "model parameter not found in request, nor in gateway configuration",
            Self::NoStreaming => "response streaming is not enabled for this LLM",
            Self::Count(name) => {
                return Cow::Owned(format!("`{name}` must be a whole number from 1 to its maximum"));
            }
        })
    }
}

/// What the route says about calls.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// What is answered.
    pub route_type: RouteType,
    /// The model; empty takes the request's.
    pub model: &'t str,
    /// Whether clients may stream.
    pub streaming: Streaming,
    /// `temperature`, which replaces the request's.
    pub temperature: Option<f64>,
    /// `top_p`, which replaces the request's.
    pub top_p: Option<f64>,
    /// `top_k`, which replaces the request's.
    pub top_k: Option<u32>,
    /// Output cap, which replaces the request's; 0 for none.
    pub max_tokens: u64,
    /// Output cap for calls that name none, where a budget must bound them.
    pub default_cap: Option<u64>,
}

/// A call that may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The model that is called.
    pub model: String,
    /// Whether the answer streams.
    pub stream: bool,
    /// Whether the usage event of the stream is ours and must not reach the client.
    pub strip_usage: bool,
    /// No more than this many input tokens.
    pub prompt_upper: u64,
    /// No more than this many output tokens.
    pub completion_upper: u64,
}

/// Reads a body, and appends what the provider gets to `out`.
///
/// # Errors
/// [`CallError`]; `out` then holds nothing of use.
pub fn read(body: &[u8], terms: &Terms<'_>, out: &mut Vec<u8>) -> Result<Call, CallError> {
    let mut members = Members::parse(body)?;
    let prompt = members.prompt(terms.route_type)?;
    let prompt_upper = members.bound(prompt);
    let model = members.model(terms)?;
    let stream = members.stream(terms)?;
    let completion_upper = members.cap(terms, &model)?;
    let asked = members.asks_for_usage();
    if stream && !asked {
        members.ask_for_usage();
    }
    members.set_options(terms, &model);
    members.write(out);
    Ok(Call {
        model,
        stream,
        strip_usage: stream && !asked,
        prompt_upper,
        completion_upper,
    })
}

/// Whether OpenAI's own models of this name think before they answer: they know `max_completion_tokens` alone.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model).as_bytes();
    name.starts_with(b"gpt-5")
        || matches!(name, [b'o', b'1'..=b'9', rest @ ..] if rest.is_empty() || rest[0] == b'-')
}

struct Members<'b> {
    list: Vec<(Cow<'b, str>, Cow<'b, str>)>,
}

impl<'b> Members<'b> {
    fn parse(body: &'b [u8]) -> Result<Self, CallError> {
        let text = str::from_utf8(body).map_err(|_error| CallError::NotJson)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let list = deserializer
            .deserialize_map(Collect)
            .map_err(|_error| CallError::NotJson)?;
        deserializer.end().map_err(|_error| CallError::NotJson)?;
        for (number, (name, _)) in list.iter().enumerate() {
            if list[..number].iter().any(|(earlier, _)| earlier == name) {
                return Err(CallError::Repeated);
            }
        }
        Ok(Self { list })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value).filter(|value| *value != "null")
    }

    fn set(&mut self, name: &'static str, value: String) {
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.list.push((Cow::Borrowed(name), Cow::Owned(value))),
        }
    }

    /// What the model is asked, if it is of the route's kind.
    fn prompt(&self, route_type: RouteType) -> Result<&str, CallError> {
        let messages = self.get("messages").filter(|value| is_filled_list(value));
        let prompt = self.get("prompt").filter(|value| value.len() > 2);
        let input = self.get("input").filter(|value| value.len() > 2);
        match (route_type, messages, prompt, input) {
            (RouteType::Embeddings, _, _, Some(input)) => Ok(input),
            (RouteType::Embeddings, None, None, None) | (_, None, None, _) => Err(CallError::NoPrompt),
            (_, Some(_), Some(_), _) => Err(CallError::Ambiguous),
            (RouteType::Chat, Some(messages), None, _) => Ok(messages),
            (RouteType::Completions, None, Some(prompt), _) => Ok(prompt),
            (route_type, ..) => Err(CallError::WrongShape(route_type)),
        }
    }

    /// Upper bound of the tokens of a prompt and of what else a model reads, such as tools: no tokenizer of today makes
    /// more tokens than the text has bytes, and JSON spells no text in fewer bytes than it has. The chat template's own
    /// tokens are added for each message, and what providers say to their models about tools.
    fn bound(&self, prompt: &str) -> u64 {
        let read = self.list.iter().filter(|(name, value)| {
            let is_text = value.starts_with(['"', '[', '{']);
            is_text && !matches!(&**name, "model" | "stream_options" | "user")
        });
        let bytes: u64 = read.map(|(_, value)| value.len() as u64).sum();
        let messages = prompt.matches("\"role\"").count() as u64;
        let tools = ["tools", "functions"].iter().any(|name| self.get(name).is_some());
        bytes
            + limits::AI_TEMPLATE_TOKENS
            + messages * limits::AI_MESSAGE_TOKENS
            + if tools { limits::AI_TOOLS_TOKENS } else { 0 }
    }

    fn model(&self, terms: &Terms<'_>) -> Result<String, CallError> {
        let asked: Option<String> = match self.get("model") {
            Some(raw) => Some(serde_json::from_str(raw).map_err(|_error| CallError::NoModel)?),
            None => None,
        };
        match (terms.model, asked) {
            ("", None) => Err(CallError::NoModel),
            ("", Some(asked)) if asked.len() <= limits::AI_MODEL_NAME_BYTES_MAX && is_name(&asked) => {
                Ok(asked)
            }
            ("", Some(_)) => Err(CallError::NoModel),
            (own, None) => Ok(own.to_owned()),
            (own, Some(asked)) if own == asked => Ok(asked),
            (_, Some(_)) => Err(CallError::OwnModel),
        }
    }

    fn stream(&mut self, terms: &Terms<'_>) -> Result<bool, CallError> {
        if terms.route_type == RouteType::Embeddings {
            return Ok(false);
        }
        // Lenient servers take other values than `true` for it.
        let asked = self.get("stream").is_some_and(|value| value != "false");
        match terms.streaming {
            Streaming::Deny if asked => Err(CallError::NoStreaming),
            Streaming::Always => {
                self.set("stream", "true".to_owned());
                Ok(true)
            }
            Streaming::Allow | Streaming::Deny => Ok(asked),
        }
    }

    /// Upper bound of the output, after the route's own cap is put in.
    fn cap(&mut self, terms: &Terms<'_>, model: &str) -> Result<u64, CallError> {
        if terms.route_type == RouteType::Embeddings {
            return Ok(0);
        }
        let choices = self.count("n", limits::AI_CHOICES_MAX)?.unwrap_or(1);
        let tried = self
            .count("best_of", limits::AI_CHOICES_MAX)?
            .unwrap_or(1)
            .max(choices);
        let new = self.count("max_completion_tokens", limits::AI_OUTPUT_TOKENS_MAX)?;
        let old = self.count("max_tokens", limits::AI_OUTPUT_TOKENS_MAX)?;
        let knows_new_only = terms.route_type == RouteType::Chat && old.is_none() && is_reasoning(model);
        let field = if new.is_some() || knows_new_only {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        let asked = match (new, old) {
            (Some(new), Some(old)) => Some(new.max(old)),
            (new, old) => new.or(old),
        };
        let cap = if terms.max_tokens > 0 {
            Some(terms.max_tokens)
        } else {
            asked.or(terms.default_cap)
        };
        if cap != asked
            && let Some(cap) = cap
        {
            self.set(field, cap.to_string());
        }
        Ok(cap.unwrap_or(limits::AI_OUTPUT_DEFAULT).saturating_mul(tried))
    }

    fn count(&self, name: &'static str, most: u64) -> Result<Option<u64>, CallError> {
        let Some(raw) = self.get(name) else {
            return Ok(None);
        };
        match raw.parse::<u64>() {
            Ok(count) if (1..=most).contains(&count) => Ok(Some(count)),
            _ => Err(CallError::Count(name)),
        }
    }

    fn asks_for_usage(&self) -> bool {
        let options: Option<serde_json::Value> = self
            .get("stream_options")
            .and_then(|raw| serde_json::from_str(raw).ok());
        options.is_some_and(|options| options["include_usage"] == true)
    }

    fn ask_for_usage(&mut self) {
        let parsed: Option<serde_json::Value> = self
            .get("stream_options")
            .and_then(|raw| serde_json::from_str(raw).ok());
        let mut options = parsed
            .filter(serde_json::Value::is_object)
            .unwrap_or_else(|| serde_json::json!({}));
        options["include_usage"] = true.into();
        self.set("stream_options", options.to_string());
    }

    fn set_options(&mut self, terms: &Terms<'_>, model: &str) {
        if !terms.model.is_empty() {
            self.set("model", serde_json::json!(model).to_string());
        }
        if let Some(temperature) = terms.temperature {
            self.set("temperature", serde_json::json!(temperature).to_string());
        }
        if let Some(top_p) = terms.top_p {
            self.set("top_p", serde_json::json!(top_p).to_string());
        }
        if let Some(top_k) = terms.top_k {
            self.set("top_k", top_k.to_string());
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (number, (name, value)) in self.list.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.push(b'"');
            crate::http::refusal_body::push_json(name, out);
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }
}

fn is_filled_list(raw: &str) -> bool {
    raw.starts_with('[') && raw[1..].trim_start() != "]"
}

/// A model's name becomes a header, a label and a counter's key.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if list.len() >= limits::AI_BODY_MEMBERS_MAX {
                return Err(serde::de::Error::custom("too many members"));
            }
            list.push((name.0, Cow::Borrowed(value.get())));
        }
        Ok(list)
    }
}

#[derive(serde::Deserialize)]
struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

#[cfg(test)]
mod tests;
