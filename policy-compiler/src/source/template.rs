//! Environment templates: `${{ env "DECK_TOKEN" }}`, as decK renders them before YAML is parsed.
//!
//! Go template actions with the functions `env`, `toBool`, `toInt`, `toFloat` and `indent`, pipes and parentheses.
//! Lines whose first visible character is `#` are left alone. The rendered text remembers where each piece came from,
//! so that a span in it can be told in terms of the file. Absent: Go's other constructs (`if`, `range`, variables).

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{FileId, Span, number};
use crate::diagnostic::{Diagnostic, Report, nearest};

const OPEN: &str = "${{";
const CLOSE: &str = "}}";
/// What decK demands of every variable name.
const NAME_PREFIX: &str = "DECK_";
/// Widest padding `indent` adds.
const INDENT_MAX: usize = 256;

/// What to do with the actions of a file.
pub(crate) enum Templates<'e> {
    /// Put values in; the function looks a variable up.
    Render(&'e dyn Fn(&str) -> Option<String>),
    /// Put a placeholder in that survives any YAML style: `fmt` sets the action back later.
    Stand,
}

/// A text with its actions replaced.
pub(crate) struct Rendered<'t> {
    text: Cow<'t, str>,
    pieces: Vec<Piece>,
}

/// One replaced action.
struct Piece {
    rendered: (u32, u32),
    original: (u32, u32),
}

impl<'t> Rendered<'t> {
    /// A text without actions.
    pub(crate) fn verbatim(text: &'t str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            pieces: Vec::new(),
        }
    }

    /// The actions as they were written, in order; placeholder `n` stands for action `n`.
    pub(crate) fn actions<'o>(&self, original: &'o str) -> impl Iterator<Item = &'o str> {
        self.pieces
            .iter()
            .map(move |piece| &original[piece.original.0 as usize..piece.original.1 as usize])
    }

    /// The rendered text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The span in the original that made the bytes `start..end`. A span that touches rendered text covers the action.
    pub(crate) fn original(&self, start: u32, end: u32, file: FileId) -> Span {
        if self.pieces.is_empty() {
            return Span {
                file,
                start,
                end: end.max(start),
            };
        }
        let start = self.original_of(start, false);
        let end = if end > 0 { self.original_of(end, true) } else { 0 };
        Span {
            file,
            start,
            end: end.max(start),
        }
    }

    /// The original byte for a rendered one; inside an action, the action's start or (`is_end`) its end.
    fn original_of(&self, at: u32, is_end: bool) -> u32 {
        let found = self.pieces.binary_search_by(|piece| {
            let (from, to) = piece.rendered;
            let (before, after) = if is_end {
                (at <= from, at > to)
            } else {
                (at < from, at >= to.max(from + 1))
            };
            match (before, after) {
                (true, _) => Ordering::Greater,
                (_, true) => Ordering::Less,
                _ => Ordering::Equal,
            }
        });
        match found {
            Ok(inside) => {
                let (from, to) = self.pieces[inside].original;
                if is_end { to } else { from }
            }
            Err(0) => at,
            Err(next) => {
                let piece = &self.pieces[next - 1];
                piece.original.1 + at.saturating_sub(piece.rendered.1)
            }
        }
    }
}

/// Placeholder of action number `index`: private-use characters, which no real file needs.
pub(crate) fn placeholder(index: usize) -> String {
    format!("\u{E000}{index}\u{E001}")
}

/// Replaces every action of `text`. None after reporting what is wrong with one.
pub(crate) fn render<'t>(
    text: &'t str,
    file: FileId,
    templates: &Templates<'_>,
    report: &Report,
) -> Option<Rendered<'t>> {
    if !text.contains(OPEN) {
        return Some(Rendered::verbatim(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut pieces = Vec::new();
    let mut copied = 0;
    let mut is_good = true;
    for (start, end) in actions(text, file, report, &mut is_good) {
        let span = Span {
            file,
            start: number(start),
            end: number(end),
        };
        let replacement = match templates {
            Templates::Stand => placeholder(pieces.len()),
            Templates::Render(lookup) => match evaluate(&text[start + OPEN.len()..end - CLOSE.len()], lookup)
            {
                Ok(value) => value,
                Err(finding) => {
                    report.push(finding.at(span));
                    is_good = false;
                    String::new()
                }
            },
        };
        out.push_str(&text[copied..start]);
        let from = number(out.len());
        out.push_str(&replacement);
        pieces.push(Piece {
            rendered: (from, number(out.len())),
            original: (span.start, span.end),
        });
        copied = end;
    }
    out.push_str(&text[copied..]);
    is_good.then_some(Rendered {
        text: Cow::Owned(out),
        pieces,
    })
}

/// Byte ranges of the actions, delimiters included; comment lines have none.
fn actions(text: &str, file: FileId, report: &Report, is_good: &mut bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(OPEN).map(|at| from + at) {
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        if text[line_start..start].trim_start().starts_with('#') {
            from = start + OPEN.len();
            continue;
        }
        let Some(end) = text[start..].find(CLOSE).map(|at| start + at + CLOSE.len()) else {
            let span = Span {
                file,
                start: number(start),
                end: number(start + OPEN.len()),
            };
            let finding = Diagnostic::error("template-syntax", "this `${{` is never closed");
            report.push(finding.at(span).help("close it with `}}`"));
            *is_good = false;
            break;
        };
        found.push((start, end));
        from = end;
    }
    found
}

/// A value between functions.
enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bool(truth) => truth.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
        }
    }
}

enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Pipe,
    Open,
    Close,
}

type Lookup<'e> = &'e dyn Fn(&str) -> Option<String>;

fn evaluate(action: &str, lookup: Lookup<'_>) -> Result<String, Box<Diagnostic>> {
    let action = action.strip_prefix("- ").unwrap_or(action);
    let action = action.strip_suffix(" -").unwrap_or(action);
    let tokens = tokens(action)?;
    let mut rest = tokens.as_slice();
    let value = pipeline(&mut rest, lookup, 0)?;
    if rest.is_empty() {
        Ok(value.into_text())
    } else {
        Err(syntax("unexpected `)`"))
    }
}

fn syntax(words: &str) -> Box<Diagnostic> {
    let finding = Diagnostic::error(
        "template-syntax",
        format!("this template cannot be read: {words}"),
    );
    let help = "write `${{ env \"DECK_NAME\" }}`, optionally with toBool, toInt, toFloat or indent";
    Box::new(finding.help(help))
}

fn tokens(action: &str) -> Result<Vec<Token>, Box<Diagnostic>> {
    let mut tokens = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' | '`' => {
                let end = rest[1..]
                    .find(first)
                    .ok_or_else(|| syntax("a string is never closed"))?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || "|()\"`".contains(c))
                    .unwrap_or(rest.len());
                let word = &rest[..end];
                (
                    word.parse()
                        .map_or_else(|_| Token::Word(word.to_owned()), Token::Int),
                    end,
                )
            }
        };
        tokens.push(token);
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

/// Deepest nesting of parentheses in an action.
const PARENTHESES_MAX: usize = 16;

/// `command | command | …`: each result is the last argument of the next.
fn pipeline(rest: &mut &[Token], lookup: Lookup<'_>, depth: usize) -> Result<Value, Box<Diagnostic>> {
    if depth > PARENTHESES_MAX {
        return Err(syntax("too many parentheses"));
    }
    let mut value = command(rest, None, lookup, depth)?;
    while let [Token::Pipe, tail @ ..] = rest {
        *rest = tail;
        value = command(rest, Some(value), lookup, depth)?;
    }
    Ok(value)
}

fn command(
    rest: &mut &[Token],
    piped: Option<Value>,
    lookup: Lookup<'_>,
    depth: usize,
) -> Result<Value, Box<Diagnostic>> {
    let mut function = None;
    let mut arguments = Vec::new();
    while let [token, tail @ ..] = rest {
        match token {
            Token::Pipe | Token::Close => break,
            Token::Word(word) if function.is_none() && arguments.is_empty() => function = Some(word.as_str()),
            Token::Word(word) => return Err(syntax(&format!("`{word}` is no value"))),
            Token::Text(text) => arguments.push(Value::Text(text.clone())),
            Token::Int(number) => arguments.push(Value::Int(*number)),
            Token::Open => {
                *rest = tail;
                arguments.push(pipeline(rest, lookup, depth + 1)?);
                let [Token::Close, after @ ..] = rest else {
                    return Err(syntax("a `(` is never closed"));
                };
                *rest = after;
                continue;
            }
        }
        *rest = tail;
    }
    arguments.extend(piped);
    let Some(function) = function else {
        let mut arguments = arguments.into_iter();
        return match (arguments.next(), arguments.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(syntax("a value is missing")),
        };
    };
    call(function, arguments, lookup)
}

fn call(function: &str, arguments: Vec<Value>, lookup: Lookup<'_>) -> Result<Value, Box<Diagnostic>> {
    let mut arguments = arguments.into_iter();
    let (first, second, third) = (arguments.next(), arguments.next(), arguments.next());
    match (function, first, second, third) {
        ("env", Some(Value::Text(name)), None, None) => variable(&name, lookup).map(Value::Text),
        ("toBool", Some(value), None, None) => match value.into_text().as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(unfit("a boolean")),
        },
        ("toInt", Some(value), None, None) => value
            .into_text()
            .parse()
            .map(Value::Int)
            .ok()
            .ok_or_else(|| unfit("an integer")),
        ("toFloat", Some(value), None, None) => value
            .into_text()
            .parse()
            .map(Value::Float)
            .ok()
            .ok_or_else(|| unfit("a number")),
        ("indent", Some(Value::Int(width)), Some(value), None) => {
            let width = usize::try_from(width).ok().filter(|width| *width <= INDENT_MAX);
            let width = width.ok_or_else(|| syntax("indent takes 0 to 256 spaces"))?;
            Ok(Value::Text(
                value
                    .into_text()
                    .replace('\n', &format!("\n{}", " ".repeat(width))),
            ))
        }
        ("env" | "toBool" | "toInt" | "toFloat" | "indent", ..) => {
            Err(syntax(&format!("`{function}` has the wrong arguments")))
        }
        _ => {
            let known = ["env", "toBool", "toInt", "toFloat", "indent"];
            let hint = nearest(function, known).map(|name| format!("did you mean `{name}`?"));
            Err(Box::new(
                syntax(&format!("`{function}` is not a function")).help_if(hint),
            ))
        }
    }
}

/// The message must not show the value: it comes from the environment, where secrets are.
fn unfit(wanted: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(
        "template-value",
        format!("the variable's value is not {wanted}"),
    ))
}

fn variable(name: &str, lookup: Lookup<'_>) -> Result<String, Box<Diagnostic>> {
    if !name.starts_with(NAME_PREFIX) {
        let words =
            format!("environment variables in the state file must be prefixed with `DECK_`, found `{name}`");
        return Err(Box::new(Diagnostic::error("template-name", words)));
    }
    lookup(name).ok_or_else(|| {
        let words = format!("environment variable `{name}` present in state file but not set");
        Box::new(Diagnostic::error("template-unset", words).help(format!("set it: {name}=… tollc …")))
    })
}
