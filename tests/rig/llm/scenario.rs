//! What can go right or wrong with one call of a provider.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::script::{Script, Step};

/// How one call behaves. The default is a well-behaved provider that says sixteen tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Tokens the model wants to say, per choice, before any cap.
    pub tokens: u64,
    /// How usage is reported.
    pub usage: UsageReport,
    /// Where writes are cut.
    pub split: Split,
    /// Time before each event of a stream, or before a JSON answer.
    pub delay: Duration,
    /// How the answer ends.
    pub end: End,
    /// HTTP status; anything but 200 is answered with an OpenAI error body.
    pub status: u16,
    /// `Retry-After` of an error.
    pub retry_after: Option<String>,
    /// Whether the model talks on past the caller's cap.
    pub ignores_cap: bool,
    /// Whether half of the tokens are reasoning (`reasoning_content`).
    pub reasoning: bool,
    /// Whether a stream carries SSE comments between its events.
    pub comments: bool,
    /// Line end of SSE lines.
    pub line_end: &'static str,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            tokens: 16,
            usage: UsageReport::Asked,
            split: Split::Event,
            delay: Duration::ZERO,
            end: End::Normal,
            status: 200,
            retry_after: None,
            ignores_cap: false,
            reasoning: false,
            comments: false,
            line_end: "\n",
        }
    }
}

/// How a provider reports usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageReport {
    /// In JSON always, in a stream as a last frame when `stream_options.include_usage` asks for it.
    Asked,
    /// Never.
    Omitted,
    /// In every chunk, with the count so far.
    EachChunk,
    /// Twice at the end of a stream; the last one counts.
    Twice,
}

/// Where a response is cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// One write for everything.
    Whole,
    /// One write per event.
    Event,
    /// Writes of so many bytes.
    Every(usize),
    /// A cut inside each multi-byte UTF-8 character, or else in the middle.
    InsideUtf8,
    /// A cut between each CR and its LF, and between the two line ends that finish an event.
    InsideLineEnd,
}

impl Split {
    pub(super) fn cut(self, bytes: &[u8]) -> Vec<&[u8]> {
        let inside = |is_cut: &dyn Fn(usize) -> bool| {
            let cuts = (1..bytes.len()).filter(|at| is_cut(*at)).chain([bytes.len()]);
            let mut start = 0;
            cuts.map(|end| &bytes[std::mem::replace(&mut start, end)..end])
                .collect()
        };
        match self {
            Self::Whole | Self::Event => vec![bytes],
            Self::Every(size) => bytes.chunks(size.max(1)).collect(),
            Self::InsideUtf8 => inside(&|at| bytes[at] & 0xC0 == 0x80),
            Self::InsideLineEnd => {
                inside(&|at| matches!(bytes[at - 1], b'\r' | b'\n') && matches!(bytes[at], b'\r' | b'\n'))
            }
        }
    }

    /// Cuts the writes of a plain script.
    pub(super) fn apply(self, script: Script) -> Script {
        let steps = script.steps.into_iter().flat_map(|step| match step {
            Step::Send(bytes) => self
                .cut(&bytes)
                .into_iter()
                .map(|piece| Step::Send(piece.to_vec()))
                .collect(),
            other => vec![other],
        });
        Script {
            steps: steps.collect(),
        }
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Properly.
    Normal,
    /// Properly, but without `data: [DONE]`.
    WithoutDone,
    /// With FIN after so many events.
    Fin(usize),
    /// With RST after so many events.
    Reset(usize),
    /// With silence after so many events.
    Stall(usize),
    /// With an error event after so many events.
    Error(usize),
}

impl End {
    /// After how many events the stream breaks, and by what.
    pub(super) fn act(self) -> Option<(usize, Step)> {
        match self {
            Self::Normal | Self::WithoutDone | Self::Error(_) => None,
            Self::Fin(events) => Some((events, Step::Fin)),
            Self::Reset(events) => Some((events, Step::Reset)),
            Self::Stall(events) => Some((events, Step::Hold)),
        }
    }
}

impl Scenario {
    /// Reads a scenario from comma-separated words:
    /// `tokens=N`, `usage=asked|omit|each|twice`, `split=whole|event|utf8|crlf|N`, `delay_ms=N`,
    /// `end=normal|no-done|fin-K|rst-K|stall-K|error-K`, `status=N`, `retry_after=V`, `ignore_cap`, `reasoning`,
    /// `comments`, `eol=lf|crlf|cr`.
    ///
    /// # Errors
    /// On any other word.
    pub fn parse(words: &str) -> Result<Self> {
        Self::default().with(words)
    }

    /// Changes a scenario by the words of [`Scenario::parse`].
    ///
    /// # Errors
    /// On any other word.
    pub fn with(mut self, words: &str) -> Result<Self> {
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            self.set(word)
                .with_context(|| format!("scenario word {word:?}"))?;
        }
        Ok(self)
    }

    fn set(&mut self, word: &str) -> Result<()> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name, value) {
            ("tokens", n) => self.tokens = n.parse()?,
            ("usage", "asked") => self.usage = UsageReport::Asked,
            ("usage", "omit") => self.usage = UsageReport::Omitted,
            ("usage", "each") => self.usage = UsageReport::EachChunk,
            ("usage", "twice") => self.usage = UsageReport::Twice,
            ("split", "whole") => self.split = Split::Whole,
            ("split", "event") => self.split = Split::Event,
            ("split", "utf8") => self.split = Split::InsideUtf8,
            ("split", "crlf") => self.split = Split::InsideLineEnd,
            ("split", n) => self.split = Split::Every(n.parse()?),
            ("delay_ms", n) => self.delay = Duration::from_millis(n.parse()?),
            ("end", how) => self.end = parse_end(how)?,
            ("status", n) => self.status = n.parse()?,
            ("retry_after", value) => self.retry_after = Some(value.to_owned()),
            ("ignore_cap", "") => self.ignores_cap = true,
            ("reasoning", "") => self.reasoning = true,
            ("comments", "") => self.comments = true,
            ("eol", "lf") => self.line_end = "\n",
            ("eol", "crlf") => self.line_end = "\r\n",
            ("eol", "cr") => self.line_end = "\r",
            _ => bail!("unknown"),
        }
        ensure!((100..=599).contains(&self.status), "status {}", self.status);
        Ok(())
    }
}

fn parse_end(how: &str) -> Result<End> {
    let (kind, after) = how.rsplit_once('-').unwrap_or((how, ""));
    Ok(match (kind, after) {
        ("normal", "") => End::Normal,
        ("no", "done") => End::WithoutDone,
        ("fin", events) => End::Fin(events.parse()?),
        ("rst", events) => End::Reset(events.parse()?),
        ("stall", events) => End::Stall(events.parse()?),
        ("error", events) => End::Error(events.parse()?),
        _ => bail!("unknown end"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_make_a_scenario() {
        let scenario = Scenario::parse("tokens=5,usage=omit,split=1,end=rst-3,eol=crlf").unwrap();
        let expected = Scenario {
            tokens: 5,
            usage: UsageReport::Omitted,
            split: Split::Every(1),
            end: End::Reset(3),
            line_end: "\r\n",
            ..Scenario::default()
        };
        assert_eq!(scenario, expected);
    }

    #[test]
    fn a_misspelt_word_is_an_error() {
        for words in [
            "token=5",
            "usage=none",
            "end=fin",
            "split=x",
            "status=20",
            "comments=yes",
        ] {
            assert!(Scenario::parse(words).is_err(), "{words}");
        }
    }

    #[test]
    fn every_split_keeps_the_bytes() {
        let bytes = "data: é漢\r\n\r\n".as_bytes();
        for split in [
            Split::Whole,
            Split::Event,
            Split::Every(1),
            Split::Every(7),
            Split::InsideUtf8,
            Split::InsideLineEnd,
        ] {
            assert_eq!(split.cut(bytes).concat(), bytes, "{split:?}");
        }
        assert!(
            Split::InsideUtf8
                .cut(bytes)
                .iter()
                .any(|piece| std::str::from_utf8(piece).is_err())
        );
        assert!(Split::InsideLineEnd.cut(bytes).contains(&&b"\r"[..]));
    }
}
