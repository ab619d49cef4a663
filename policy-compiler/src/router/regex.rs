//! Regexes → dense automata, anchored at the first byte and never giving up.
//!
//! Requests are matched as bytes: a canonical path is ASCII, so characters that it cannot hold are spelled as their
//! escapes and classes shrink to ASCII. Kong's dialect (`(?<name>`) is Rust's; nothing else is rewritten.

use std::collections::{HashMap, HashSet};

use regex_automata::dfa::dense;
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind, dfa::Automaton as _};
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, Hir, HirKind, Look, Repetition,
    translate::TranslatorBuilder,
};

use super::canonical::{escape_literal, is_path_char};
use crate::diagnostic::{Diagnostic, Report};
use crate::source::{Sources, Span};

/// Bytes of one automaton; a regex that needs more is refused.
const AUTOMATON_MAX: usize = 4 << 20;
/// Bytes of memory for making one automaton.
const DETERMINIZE_MAX: usize = 64 << 20;
/// Characters outside ASCII up to which a class is spelled out; larger ones shrink to ASCII.
const SPELLED_MAX: usize = 64;

/// What a regex is matched against.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// The canonical path, from its first byte.
    Path,
    /// A header value, anywhere in it, without case.
    Header,
    /// The whole text, such as an origin.
    Whole,
}

/// A row of [`Automata`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AutomatonIndex(pub u32);

/// Regexes that were compiled together.
pub struct Automaton {
    /// As operators wrote them.
    pub patterns: Vec<Box<str>>,
    /// The finished automaton.
    pub dfa: dense::DFA<Vec<u32>>,
    /// A text with which every match of the single pattern starts; empty when unknown.
    pub literal_prefix: Box<str>,
}

/// Every automaton once.
#[derive(Default)]
pub struct Automata {
    list: Vec<Automaton>,
    known: HashMap<(Subject, Vec<Box<str>>), Option<AutomatonIndex>>,
}

impl std::ops::Index<AutomatonIndex> for Automata {
    type Output = Automaton;
    fn index(&self, index: AutomatonIndex) -> &Automaton {
        &self.list[index.0 as usize]
    }
}

impl Automata {
    /// Compiles patterns that are tried in order, or finds them again. None after a report of what is wrong.
    pub fn compile(
        &mut self,
        patterns: &[(&str, Span)],
        subject: Subject,
        sources: &Sources,
        report: &Report,
    ) -> Option<AutomatonIndex> {
        let key = (
            subject,
            patterns.iter().map(|(pattern, _)| Box::from(*pattern)).collect(),
        );
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let compiled = compile(patterns, subject, sources, report).map(|automaton| {
            let index = AutomatonIndex(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
            self.list.push(automaton);
            index
        });
        self.known.insert(key, compiled);
        compiled
    }

    /// All automata in the order of their index.
    pub fn iter(&self) -> impl Iterator<Item = &Automaton> {
        self.list.iter()
    }
}

impl Automaton {
    /// Whether every text that starts with `prefix` matches: the automaton has matched before the prefix ends.
    pub fn matches_all_under(&self, prefix: &[u8]) -> bool {
        let Ok(mut state) = self
            .dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
        else {
            return false;
        };
        for &byte in prefix {
            // Matches are reported one byte late.
            state = self.dfa.next_state(state, byte);
            if self.dfa.is_match_state(state) {
                return true;
            }
            if self.dfa.is_dead_state(state) {
                return false;
            }
        }
        let matched = |state| self.dfa.is_match_state(state);
        matched(self.dfa.next_eoi_state(state))
            && (0..=u8::MAX).all(|byte| matched(self.dfa.next_state(state, byte)))
    }

    /// Whether some path matches both this and `other`; None when `budget` pairs of states did not tell.
    pub fn meets(&self, other: &Self, budget: &mut usize) -> Option<bool> {
        // A side that has matched accepts whatever follows.
        let step = |dfa: &dense::DFA<Vec<u32>>, state: Option<StateID>, byte: Option<u8>| {
            let Some(state) = state else { return Some(None) };
            let next = byte.map_or_else(|| dfa.next_eoi_state(state), |byte| dfa.next_state(state, byte));
            if dfa.is_match_state(next) {
                Some(None)
            } else if dfa.is_dead_state(next) {
                None
            } else {
                Some(Some(next))
            }
        };
        let anchored = start::Config::new().anchored(Anchored::Yes);
        let begin = (
            self.dfa.start_state(&anchored).ok(),
            other.dfa.start_state(&anchored).ok(),
        );
        let mut seen = HashSet::from([begin]);
        let mut open = vec![begin];
        while let Some((left, right)) = open.pop() {
            *budget = budget.checked_sub(1)?;
            let end = (step(&self.dfa, left, None), step(&other.dfa, right, None));
            if end == (Some(None), Some(None)) {
                return Some(true);
            }
            for byte in (0..=0x7f).filter(|&byte| is_path_char(byte) || byte == b'%') {
                let next = (
                    step(&self.dfa, left, Some(byte)),
                    step(&other.dfa, right, Some(byte)),
                );
                let (Some(left), Some(right)) = next else { continue };
                if seen.insert((left, right)) {
                    open.push((left, right));
                }
            }
        }
        Some(false)
    }
}

fn compile(
    patterns: &[(&str, Span)],
    subject: Subject,
    sources: &Sources,
    report: &Report,
) -> Option<Automaton> {
    let parsed: Vec<Option<Hir>> = patterns
        .iter()
        .map(|&(pattern, span)| {
            let place = Place {
                pattern,
                span,
                sources,
                report,
            };
            parse(&place, subject)
        })
        .collect();
    let hirs = parsed.into_iter().collect::<Option<Vec<Hir>>>()?;
    let literal_prefix = match hirs.as_slice() {
        [hir] => literal_prefix(hir),
        _ => String::new(),
    };
    match determinize(&hirs) {
        Ok(dfa) => Some(Automaton {
            patterns: patterns.iter().map(|(pattern, _)| Box::from(*pattern)).collect(),
            dfa,
            literal_prefix: literal_prefix.into(),
        }),
        Err(reason) => {
            let span = patterns.first().map(|(_, span)| *span).unwrap_or_default();
            report.push(
                Diagnostic::error(
                    "regex-too-large",
                    "the regex cannot be made into a table of bounded size",
                )
                .at(span)
                .label(reason)
                .help("shorten its counted repetitions, or match a prefix"),
            );
            None
        }
    }
}

fn determinize(hirs: &[Hir]) -> Result<dense::DFA<Vec<u32>>, String> {
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(thompson::WhichCaptures::None)
        .nfa_size_limit(Some(AUTOMATON_MAX));
    let nfa = thompson::Compiler::new()
        .configure(config)
        .build_many_from_hir(hirs)
        .map_err(|error| error.to_string())?;
    let config = dense::Config::new()
        .start_kind(regex_automata::dfa::StartKind::Anchored)
        .match_kind(MatchKind::LeftmostFirst)
        .dfa_size_limit(Some(AUTOMATON_MAX))
        .determinize_size_limit(Some(DETERMINIZE_MAX));
    dense::Builder::new()
        .configure(config)
        .build_from_nfa(&nfa)
        .map_err(|error| error.to_string())
}

/// A pattern and where to point when it is wrong.
struct Place<'p> {
    pattern: &'p str,
    span: Span,
    sources: &'p Sources,
    report: &'p Report,
}

impl Place<'_> {
    /// The part of the file that holds these bytes of the pattern, if the file spells the pattern out.
    fn part(&self, from: usize, to: usize) -> Span {
        let text = self.sources.get(self.span.file).map(|file| file.text());
        let written = text.and_then(|text| text.get(self.span.start as usize..self.span.end as usize));
        let Some(at) = written.and_then(|written| written.find(self.pattern)) else {
            return self.span;
        };
        let offset = |bytes: usize| u32::try_from(at + bytes).map_or(self.span.end, |o| self.span.start + o);
        Span {
            file: self.span.file,
            start: offset(from),
            end: offset(to.max(from + 1)).min(self.span.end),
        }
    }
}

fn parse(place: &Place<'_>, subject: Subject) -> Option<Hir> {
    let refuse = |reason: String, at: &ast::Span| {
        let span = place.part(at.start.offset, at.end.offset);
        place.report.push(
            Diagnostic::error("regex", "the regex is not valid")
                .at(span)
                .label(reason),
        );
        None
    };
    let ast = match ast::parse::Parser::new().parse(place.pattern) {
        Ok(ast) => ast,
        Err(error) => return refuse(error.kind().to_string(), error.span()),
    };
    let translated = TranslatorBuilder::new()
        .utf8(false)
        .unicode(true)
        .case_insensitive(subject == Subject::Header)
        .build()
        .translate(place.pattern, &ast);
    let hir = match translated {
        Ok(hir) => hir,
        Err(error) => return refuse(error.kind().to_string(), error.span()),
    };
    if subject == Subject::Path
        && let Ast::Alternation(alternation) = &ast
        && let Some(second) = alternation.asts.get(1)
    {
        let at = second.span();
        place.report.push(
            Diagnostic::warning(
                "regex-alternation",
                "every alternative is matched from the start of the path",
            )
            .at(place.part(at.start.offset, at.end.offset))
            .label("Kong anchors only the first alternative")
            .help("put the alternatives in a group: `(?:a|b)`"),
        );
    }
    warn_about_classes(place, subject, &ast);
    let bytes = in_bytes(&hir, subject);
    Some(match subject {
        Subject::Path => bytes,
        Subject::Header => Hir::concat(vec![anything(), bytes]),
        Subject::Whole => Hir::concat(vec![bytes, Hir::look(Look::End)]),
    })
}

/// `(?s-u:.)*?`
fn anything() -> Hir {
    let any = Class::Bytes(ClassBytes::new([ClassBytesRange::new(0, 0xff)]));
    Hir::repetition(Repetition {
        min: 0,
        max: None,
        greedy: false,
        sub: Box::new(Hir::class(any)),
    })
}

/// Classes by Unicode property only keep their ASCII characters; people who write them mean more.
fn warn_about_classes(place: &Place<'_>, subject: Subject, ast: &Ast) {
    struct Properties<'v, 'p>(&'v Place<'p>, &'static str);
    impl ast::Visitor for Properties<'_, '_> {
        type Output = ();
        type Err = ();
        fn finish(self) -> Result<(), ()> {
            Ok(())
        }
        fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
            if let Ast::ClassUnicode(class) = ast {
                self.warn(&class.span);
            }
            Ok(())
        }
        fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), ()> {
            if let ast::ClassSetItem::Unicode(class) = item {
                self.warn(&class.span);
            }
            Ok(())
        }
    }
    impl Properties<'_, '_> {
        fn warn(&self, at: &ast::Span) {
            self.0.report.push(
                Diagnostic::warning(
                    "regex-unicode-class",
                    "only the ASCII characters of this class can match",
                )
                .at(self.0.part(at.start.offset, at.end.offset))
                .label(self.1),
            );
        }
    }
    let reason = match subject {
        Subject::Path => "paths are matched with other characters percent-encoded",
        Subject::Header | Subject::Whole => "values are matched as bytes",
    };
    // The visitor never fails.
    let _ = ast::visit(ast, Properties(place, reason));
}

/// The same expression over bytes.
fn in_bytes(hir: &Hir, subject: Subject) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(spelled(&literal.0, subject)),
        HirKind::Class(Class::Unicode(class)) => class_in_bytes(class, subject),
        HirKind::Class(Class::Bytes(class)) => Hir::class(Class::Bytes(class.clone())),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => *other,
        }),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(in_bytes(&repetition.sub, subject)),
            ..repetition.clone()
        }),
        HirKind::Capture(capture) => in_bytes(&capture.sub, subject),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| in_bytes(part, subject)).collect()),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(|part| in_bytes(part, subject)).collect())
        }
    }
}

fn spelled(text: &[u8], subject: Subject) -> Vec<u8> {
    match subject {
        Subject::Path => escape_literal(text).into_bytes(),
        Subject::Header | Subject::Whole => text.to_vec(),
    }
}

fn class_in_bytes(class: &ClassUnicode, subject: Subject) -> Hir {
    let plain =
        |byte: u8| byte.is_ascii() && (subject != Subject::Path || is_path_char(byte) || byte == b'%');
    let outside: usize = class
        .ranges()
        .iter()
        .map(|range| (u32::from(range.end()) + 1).saturating_sub(u32::from(range.start()).max(0x80)))
        .map(|count| count as usize)
        .sum();
    let spelled_out = outside <= SPELLED_MAX;
    let mut bytes = ClassBytes::empty();
    let mut others = Vec::new();
    for range in class.ranges() {
        for char in range.start()..=range.end() {
            match u8::try_from(u32::from(char)) {
                // A wide class (`[^/]`, `.`) takes escapes byte by byte, so its odd ASCII members do no harm.
                Ok(byte) if plain(byte) || (byte.is_ascii() && !spelled_out) => {
                    bytes.push(ClassBytesRange::new(byte, byte));
                }
                _ if spelled_out => {
                    let mut buffer = [0; 4];
                    others.push(Hir::literal(spelled(
                        char.encode_utf8(&mut buffer).as_bytes(),
                        subject,
                    )));
                }
                _ => break,
            }
        }
    }
    if !spelled_out && subject != Subject::Path && class.ranges().last().is_some_and(|r| r.end() == char::MAX)
    {
        bytes.push(ClassBytesRange::new(0x80, 0xff));
    }
    others.insert(0, Hir::class(Class::Bytes(bytes)));
    Hir::alternation(others)
}

/// The literal with which every match starts.
fn literal_prefix(hir: &Hir) -> String {
    let literal = match hir.kind() {
        HirKind::Literal(literal) => Some(literal),
        HirKind::Concat(parts) => parts
            .iter()
            .find_map(|part| match part.kind() {
                HirKind::Literal(literal) => Some(Some(literal)),
                HirKind::Look(Look::Start) => None,
                _ => Some(None),
            })
            .flatten(),
        _ => None,
    };
    literal
        .and_then(|literal| std::str::from_utf8(&literal.0).ok())
        .unwrap_or_default()
        .to_owned()
}
