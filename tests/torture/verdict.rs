//! What became of a payload, in words: what the client got and what the upstream saw.

use std::fmt;

use tests::{Body, Framing, Reader};

use crate::client::{End, Heard, PROBE_LINE};
use crate::tape::{Seen, start_of};

/// What became of one payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The statuses of all final answers, then how it ended: `probe` (the request behind the payload got its own
    /// answer), `closed` or `waits`. `cut` after a status: its body never came to its end.
    pub(crate) client: String,
    /// The requests that the upstream saw, without the probe and without those that were cut off: how much of those
    /// goes out depends on when their bytes came in.
    pub(crate) upstream: Vec<String>,
    /// What must never be: answers of somebody else, answers that RFC 9112 forbids.
    pub(crate) wrongs: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client: {}, upstream: {:?}", self.client, self.upstream)?;
        if !self.wrongs.is_empty() {
            write!(f, ", wrong: {}", self.wrongs.join("; "))?;
        }
        Ok(())
    }
}

/// An answer as the client reads it.
pub(crate) struct Answer {
    status: u16,
    /// What the upstream says it answers, if it was the upstream that answered.
    echo: Option<String>,
    to: Option<String>,
    /// As much of its body as came.
    pub(crate) body: Vec<u8>,
    until_close: bool,
    /// Its body came to its end.
    pub(crate) whole: bool,
}

impl Answer {
    /// Status, and the body of what is no error; `cut` where it is not whole.
    pub(crate) fn shown(&self) -> String {
        match self.body.as_slice() {
            _ if !self.whole => format!("{} cut", self.status),
            [] => self.status.to_string(),
            _ if self.status >= 400 => self.status.to_string(),
            body if body.len() > 60 => format!("{} with {} bytes", self.status, body.len()),
            body => format!("{} {}", self.status, body.escape_ascii()),
        }
    }
}

/// Puts together what a client heard and what the upstream saw of it.
pub(crate) fn of(payload: &[u8], heard: &Heard, seen: &[Seen]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut answers = match answers(payload, &heard.bytes) {
        Ok(answers) => answers,
        Err((answers, error)) => {
            verdict
                .wrongs
                .push(format!("the client got what RFC 9112 forbids: {error:#}"));
            answers
        }
    };
    check_owner(&mut verdict, heard, seen, &answers);
    let probed = heard.end == End::Probed;
    if probed {
        answers.pop();
    }
    // Whether a client is told to continue depends on when its body comes.
    let finals = answers.iter().filter(|answer| answer.status >= 200);
    let mut words = repeated(finals.map(|answer| {
        let cut = if answer.whole { "" } else { " cut" };
        format!("{}{cut}", answer.status)
    }));
    let end = match heard.end {
        End::Probed => "probe",
        End::Closed => "closed",
        End::Silent => "waits",
    };
    words.push(end.to_owned());
    verdict.client = words.join(" ").replace(" *", "*");
    let probe = seen.iter().rposition(|it| probed && it.line == PROBE_LINE);
    if probed && probe.is_none() {
        let wrong = "the probe was answered, but not by the upstream";
        verdict.wrongs.push(wrong.to_owned());
    }
    let others = seen.iter().enumerate().filter(|(at, _)| Some(*at) != probe);
    let whole = others
        .map(|(_, seen)| seen)
        .filter(|it| it.whole || it.fault.is_some());
    verdict.upstream = repeated(whole.map(Seen::to_string));
    verdict
}

/// Four and more of the same in a row as one.
fn repeated(words: impl Iterator<Item = String>) -> Vec<String> {
    let words: Vec<String> = words.collect();
    let runs = words.chunk_by(|one, other| one == other);
    runs.flat_map(|run| match run {
        [first, _, _, _, ..] => vec![format!("{first} *{}", run.len())],
        few => few.to_vec(),
    })
    .collect()
}

/// Every answer of the upstream must be to this client, and to its requests in their order.
fn check_owner(verdict: &mut Verdict, heard: &Heard, seen: &[Seen], answers: &[Answer]) {
    let own = heard.from.to_string();
    let mut asked = seen.iter();
    for answer in answers {
        let (Some(echo), Some(to)) = (&answer.echo, &answer.to) else {
            continue;
        };
        let is_next = asked.any(|request| start_of(&request.line) == echo);
        if *to != own || !is_next {
            verdict
                .wrongs
                .push(format!("{own} got the answer to {echo} of {to}"));
        }
    }
}

type Broken = (Vec<Answer>, anyhow::Error);

fn answers(payload: &[u8], bytes: &[u8]) -> Result<Vec<Answer>, Broken> {
    let mut reader = Reader::new(bytes);
    let mut answers: Vec<Answer> = Vec::new();
    loop {
        let first = answers.iter().all(|answer| answer.status < 200);
        let method = if first && payload.starts_with(b"HEAD ") {
            "HEAD"
        } else {
            "GET"
        };
        match next(method, &mut reader) {
            Ok(Some(answer)) if answer.whole => answers.push(answer),
            Ok(Some(answer)) => {
                answers.push(answer);
                return Ok(answers);
            }
            Ok(None) => return Ok(answers),
            Err(error) => return Err((answers, error)),
        }
    }
}

/// What a client makes of the bytes that it got so far.
pub(crate) enum Told {
    /// The final answer's head is not there yet.
    Nothing,
    /// The first final answer, as much of it as came. A body that ends with the connection is whole only then.
    Answer(Answer),
    /// RFC 9112 forbids it; the status that it claims.
    Malformed(String),
}

/// Reads the answer to a request with `method`; `closed` when no more bytes will come.
pub(crate) fn first(method: &str, bytes: &[u8], closed: bool) -> Told {
    let mut rest = bytes;
    loop {
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Told::Nothing;
        };
        match next(method, &mut Reader::new(rest)) {
            Ok(Some(answer)) if answer.status < 200 => rest = &rest[end + 4..],
            Ok(Some(mut answer)) => {
                answer.whole &= closed || !answer.until_close;
                return Told::Answer(answer);
            }
            _ => {
                let line = rest.split(|byte| *byte == b'\r').next().unwrap_or_default();
                let status = line.split(|byte| *byte == b' ').nth(1).unwrap_or(line);
                return Told::Malformed(status.escape_ascii().to_string());
            }
        }
    }
}

fn next(method: &str, reader: &mut Reader<&[u8]>) -> anyhow::Result<Option<Answer>> {
    let Some(head) = reader.head()? else {
        return Ok(None);
    };
    anyhow::ensure!(
        head.start_line.starts_with("HTTP/1."),
        "status line {:?}",
        head.start_line
    );
    let status = head.word(1).parse()?;
    let echo = head.headers.get("x-echo").map(str::to_owned);
    let is_head = echo.as_ref().is_some_and(|echo| echo.starts_with("HEAD "));
    let method = if is_head { "HEAD" } else { method };
    let framing = Framing::of_response(method, status, &head.headers)?;
    let (mut pieces, mut body) = (Body::new(framing), Vec::new());
    let whole = loop {
        match reader.piece(&mut pieces) {
            Ok(Some(piece)) => body.extend(piece),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Ok(Some(Answer {
        status,
        echo,
        to: head.headers.get("x-for").map(str::to_owned),
        body,
        until_close: framing == Framing::UntilClose,
        whole,
    }))
}
