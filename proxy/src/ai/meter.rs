//! Counts what a model answers, while it passes.
//!
//! The provider's own count is believed; until it comes, every byte of visible text counts as a token, which no
//! tokenizer exceeds. Only the envelope is read: a `usage` inside what a model says is text.

use std::borrow::Cow;

use serde::Deserialize;

use super::sse::{Scanner, SseError};
use super::usage::{Reported, Usage};

/// A whole answer, or one event of a stream.
#[derive(Deserialize)]
struct Envelope<'e> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'e>>>,
    #[serde(default)]
    usage: Option<Reported>,
}

#[derive(Deserialize)]
struct Choice<'e> {
    #[serde(borrow, default)]
    delta: Option<Message<'e>>,
    #[serde(borrow, default)]
    message: Option<Message<'e>>,
    #[serde(borrow, default)]
    text: Option<Cow<'e, str>>,
}

#[derive(Deserialize)]
struct Message<'e> {
    #[serde(borrow, default)]
    content: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    reasoning: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    tool_calls: Option<&'e serde_json::value::RawValue>,
}

impl Envelope<'_> {
    fn visible(&self) -> u64 {
        let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
        let of_message = |message: &Option<Message<'_>>| {
            message.as_ref().map_or(0, |message| {
                let texts = [
                    &message.content,
                    &message.refusal,
                    &message.reasoning,
                    &message.reasoning_content,
                ];
                let tools = message.tool_calls.map_or(0, |raw| raw.get().len());
                texts.into_iter().map(length).sum::<usize>() + tools
            })
        };
        let choices = self.choices.iter().flatten();
        choices
            .map(|choice| of_message(&choice.delta) + of_message(&choice.message) + length(&choice.text))
            .sum::<usize>() as u64
    }
}

/// The meter of one answer.
#[derive(Debug, Default)]
pub struct Meter {
    scanner: Scanner,
    strip: bool,
    visible: u64,
    reported: Option<Usage>,
    done: bool,
    broken: bool,
}

impl Meter {
    /// For an answer whose usage event is kept from the client if `strip` says so.
    pub fn new(strip: bool) -> Self {
        Self {
            strip,
            ..Self::default()
        }
    }

    /// Takes the next bytes of a stream and appends what the client gets.
    pub fn stream(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.broken {
            out.extend_from_slice(bytes);
            return;
        }
        let mut scanner = std::mem::take(&mut self.scanner);
        let fed = scanner.feed(bytes, |frame| {
            let keep = frame.event.is_none_or(|event| self.event(event.data));
            if keep {
                out.extend_from_slice(frame.raw);
            }
        });
        self.scanner = scanner;
        // An event too long to be held is passed on uncounted by content: what it holds is bounded by its bytes.
        if fed == Err(SseError::EventTooLong) {
            self.broken = true;
            self.visible += bytes.len() as u64;
        }
    }

    /// Ends a stream and appends what was held back.
    pub fn end_stream(&mut self, out: &mut Vec<u8>) {
        let mut scanner = std::mem::take(&mut self.scanner);
        scanner.finish(|frame| {
            let keep = frame.event.is_none_or(|event| self.event(event.data));
            if keep {
                out.extend_from_slice(frame.raw);
            }
        });
        self.scanner = scanner;
    }

    /// Takes a whole answer.
    pub fn whole(&mut self, body: &[u8]) {
        if let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) {
            self.visible += envelope.visible();
            self.reported = envelope.usage.as_ref().and_then(Reported::read);
        }
    }

    /// The provider's count, if it came.
    pub const fn reported(&self) -> Option<Usage> {
        self.reported
    }

    /// Visible text so far, in bytes: no fewer than its tokens.
    pub const fn visible(&self) -> u64 {
        self.visible
    }

    /// Whether the stream said that it is complete.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Counts an event; whether the client gets it.
    fn event(&mut self, data: &[u8]) -> bool {
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return true;
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(data) else {
            return true;
        };
        self.visible += envelope.visible();
        let usage = envelope.usage.as_ref().and_then(Reported::read);
        // Some providers count in every event; the last count is the final one.
        self.reported = usage.or(self.reported);
        let only_usage = usage.is_some() && envelope.choices.as_ref().is_some_and(Vec::is_empty);
        !(only_usage && self.strip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"{\\\"usage\\\":{\\\"total_tokens\\\":0}}\"}}]}\r\n\r\n",
        ": keep\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n",
        "data: [DONE]\n\n",
    );

    fn run(split: usize, strip: bool) -> (Meter, String) {
        let mut meter = Meter::new(strip);
        let mut out = Vec::new();
        let (left, right) = STREAM.as_bytes().split_at(split);
        meter.stream(left, &mut out);
        meter.stream(right, &mut out);
        meter.end_stream(&mut out);
        (meter, String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn any_split_gives_the_same_count_and_the_same_stream() {
        for split in 0..=STREAM.len() {
            let (meter, out) = run(split, true);
            assert_eq!(
                meter.reported(),
                Some(Usage {
                    prompt: 9,
                    completion: 4
                }),
                "split at {split}"
            );
            assert!(meter.is_done());
            assert!(!out.contains("prompt_tokens"), "split at {split}");
            let usage = STREAM.find("data: {\"choices\":[],").expect("the usage event");
            let done = STREAM.find("data: [DONE]").expect("the end");
            let expected = format!("{}{}", &STREAM[..usage], &STREAM[done..]);
            assert_eq!(out, expected, "split at {split}");
            assert_eq!(run(split, false).1, STREAM);
        }
    }

    #[test]
    fn usage_inside_text_is_text() {
        let (meter, _) = run(0, false);
        assert_eq!(meter.visible(), "{\"usage\":{\"total_tokens\":0}}".len() as u64);
    }

    #[test]
    fn a_whole_answer_is_counted_by_its_envelope() {
        let mut meter = Meter::new(false);
        meter.whole(br#"{"choices":[{"message":{"content":"four"}}],"usage":{"prompt_tokens":2,"completion_tokens":1}}"#);
        assert_eq!(
            (meter.reported(), meter.visible()),
            (
                Some(Usage {
                    prompt: 2,
                    completion: 1
                }),
                4
            )
        );
        let mut silent = Meter::new(false);
        silent.whole(br#"{"choices":[{"message":{"content":"four"}}]}"#);
        assert_eq!((silent.reported(), silent.visible()), (None, 4));
    }
}
