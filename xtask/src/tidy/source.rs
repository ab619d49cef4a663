//! Rust files as tokens with line numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One Rust file.
pub(crate) struct Source {
    /// Path below the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) tokens: TokenStream,
    /// Whether it is compiled for tests only.
    pub(crate) is_test: bool,
}

/// One identifier or operator outside of code that is compiled for tests only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
}

pub(crate) fn read(root: &Path, files: &[PathBuf]) -> Result<Vec<Source>> {
    let mut for_tests = BTreeSet::new();
    let mut sources = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let tokens = TokenStream::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        for_tests.extend(test_modules(path, &text));
        let shown = path.strip_prefix(root).unwrap_or(path);
        let is_test = shown.components().any(|part| part.as_os_str() == "tests");
        sources.push((
            path,
            Source {
                path: shown.to_path_buf(),
                text,
                tokens,
                is_test,
            },
        ));
    }
    let mark = |(path, mut source): (&PathBuf, Source)| {
        source.is_test |= for_tests.contains(path);
        source
    };
    Ok(sources.into_iter().map(mark).collect())
}

/// The files of `#[cfg(test)] mod name;` declarations.
fn test_modules(declared_in: &Path, text: &str) -> Vec<PathBuf> {
    let dir = declared_in.parent().unwrap_or(Path::new(""));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let names = lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| {
            let name = pair[1].strip_suffix(';')?.rsplit_once("mod ")?.1;
            Some([dir.join(format!("{name}.rs")), dir.join(name).join("mod.rs")])
        });
    names.flatten().collect()
}

impl Source {
    /// Every path that starts at the crate, such as `["http", "path"]` for `crate::http::path`, with its line. A group
    /// (`crate::{a, b::c}`) gives one for each member.
    pub(crate) fn crate_paths(&self) -> Vec<(Vec<String>, usize)> {
        let mut found = Vec::new();
        crate_paths(&without_tests(&self.tokens), &mut found);
        found
    }

    /// The identifiers and punctuation, flattened.
    pub(crate) fn words(&self) -> Vec<Word> {
        let mut words = Vec::new();
        flatten(&without_tests(&self.tokens), &mut words);
        words
    }
}

/// The trees of a stream without items under `#[cfg(test)]`.
fn without_tests(tokens: &TokenStream) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut trees = tokens.clone().into_iter().peekable();
    while let Some(tree) = trees.next() {
        let is_hash = matches!(&tree, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_test = matches!(trees.peek(), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)");
        if !(is_hash && is_test) {
            kept.push(tree);
            continue;
        }
        trees.next();
        for tree in trees.by_ref() {
            let is_end = match &tree {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(punct) => punct.as_char() == ';',
                _ => false,
            };
            if is_end {
                break;
            }
        }
    }
    kept
}

fn is_punct(tree: Option<&TokenTree>, char: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

fn crate_paths(trees: &[TokenTree], found: &mut Vec<(Vec<String>, usize)>) {
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => crate_paths(&without_tests(&group.stream()), found),
            TokenTree::Ident(ident) if ident == "crate" => members(&trees[at + 1..], &mut Vec::new(), found),
            _ => {}
        }
    }
}

/// Follows `::name::name` and `::{…}` from after a path's head.
fn members(trees: &[TokenTree], path: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) {
    if !(is_punct(trees.first(), ':') && is_punct(trees.get(1), ':')) {
        return;
    }
    match trees.get(2) {
        Some(TokenTree::Ident(ident)) => {
            path.push(ident.to_string());
            found.push((path.clone(), ident.span().start().line));
            members(&trees[3..], path, found);
        }
        Some(TokenTree::Group(group)) => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            for part in inner.split(|tree| is_punct(Some(tree), ',')) {
                let Some(TokenTree::Ident(head)) = part.first() else {
                    continue;
                };
                let mut path = path.clone();
                path.push(head.to_string());
                found.push((path.clone(), head.span().start().line));
                members(&part[1..], &mut path, found);
            }
        }
        _ => {}
    }
}

fn flatten(trees: &[TokenTree], words: &mut Vec<Word>) {
    for tree in trees {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => flatten(&without_tests(&group.stream()), words),
            TokenTree::Ident(ident) => words.push(Word {
                text: ident.to_string(),
                line,
            }),
            TokenTree::Punct(punct) => words.push(Word {
                text: punct.as_char().to_string(),
                line,
            }),
            TokenTree::Literal(_) => {}
        }
    }
}
