//! Extensions: what Kong's files cannot say and Tollgate does, written as tags, so that a file stays Kong's.
//!
//! A tag `tollgate:NAME=VALUE` enters with its place and the kind of its entity; a checked value leaves. [`TAGS`] is the
//! whole list: a new tag is one entry there, its line in `docs/extensions.md` (a test holds the two together), and
//! whoever reads the value. Every other tag means nothing here. Absent: what the values bring about.

mod shape;
mod table;
#[cfg(test)]
mod tests;

pub use shape::Shape;
pub use table::*;

use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::source::{Span, Spanned};

/// What the tags begin with that Tollgate reads.
pub const PREFIX: &str = "tollgate:";

/// A tag that Tollgate reads.
#[derive(Debug)]
pub struct Tag {
    /// The word between `tollgate:` and `=`.
    pub name: &'static str,
    /// The kinds of entity that take it.
    pub on: &'static [Kind],
    /// What may stand behind `=`.
    pub shape: Shape,
    /// What holds without the tag, in words.
    pub default: &'static str,
    /// The tag without which this one means nothing.
    pub needs: Option<&'static str>,
    /// What it brings about, in one sentence for `docs/extensions.md`.
    pub about: &'static str,
}

/// The kinds of entity that extensions exist for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A service.
    Service,
    /// A route.
    Route,
    /// An upstream.
    Upstream,
    /// A target of an upstream.
    Target,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Service, Self::Route, Self::Upstream, Self::Target];

    /// Its name in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Route => "route",
            Self::Upstream => "upstream",
            Self::Target => "target",
        }
    }
}

/// The extensions of one entity, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Extensions(Vec<Extension>);

/// A tag as it was read.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Which.
    pub tag: &'static Tag,
    /// In the unit of its [`Shape`].
    pub value: u32,
    /// As it was written.
    pub text: Box<str>,
    /// Where.
    pub span: Span,
}

impl Extensions {
    /// The value that a tag was given, in the unit of its [`Shape`].
    pub fn value(&self, tag: &Tag) -> Option<u32> {
        self.get(tag).map(|extension| extension.value)
    }

    /// The tag as it was read, if it is there.
    pub fn get(&self, tag: &Tag) -> Option<&Extension> {
        self.0.iter().find(|extension| extension.tag.name == tag.name)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Extension> {
        self.0.iter()
    }

    /// Complains about tags that mean nothing without another, once all tags of the entity are read.
    pub(crate) fn close(&self, report: &Report) {
        for extension in self.iter() {
            let name = extension.tag.name;
            if let Some(needed) = extension.tag.needs
                && !self.iter().any(|it| it.tag.name == needed)
            {
                let words = format!("`{PREFIX}{name}` means nothing without `{PREFIX}{needed}`");
                report.push(Diagnostic::error("extension-needs", words).at(extension.span));
            }
        }
    }

    /// Reads one tag of an entity of this kind. One without the prefix is none of ours.
    pub(crate) fn read(
        &mut self,
        table: &'static [Tag],
        kind: &str,
        written: &Spanned<Box<str>>,
        report: &Report,
    ) {
        let (text, span) = (&*written.value, written.span);
        if !is_ours(text) {
            return;
        }
        let (name, value) = text[PREFIX.len()..]
            .split_once('=')
            .unwrap_or((&text[PREFIX.len()..], ""));
        let known = table.iter().find(|tag| tag.name == name);
        let Some(tag) = known.filter(|_| text.starts_with(PREFIX)) else {
            let exact = known.map(|tag| tag.name);
            let near = exact.or_else(|| nearest(name, table.iter().map(|tag| tag.name)));
            let finding =
                Diagnostic::error("unknown-extension", format!("there is no tag `{text}`")).at(span);
            let hint = near.map(|name| format!("did you mean `{PREFIX}{name}`?"));
            report.push(finding.help_if(hint));
            return;
        };
        if !tag.on.iter().any(|on| on.name() == kind) {
            let words = format!("`{PREFIX}{name}` says nothing about a {kind}");
            let kinds: Vec<&str> = tag.on.iter().map(|kind| kind.name()).collect();
            let finding = Diagnostic::error("extension-place", words).at(span);
            report.push(finding.help(format!("it belongs to: {}", kinds.join(", "))));
            return;
        }
        let value = match tag.shape.read(value) {
            Ok(value) => value,
            Err(wrong) => {
                let words = format!("`{PREFIX}{name}` is {}", tag.shape.words());
                report.push(Diagnostic::error("extension-value", words).at(span).label(wrong));
                return;
            }
        };
        if let Some(earlier) = self.get(tag) {
            let words = format!("`{PREFIX}{name}` stands here twice");
            let finding = Diagnostic::error("duplicate-extension", words).at(span);
            report.push(finding.also(earlier.span, "the first one"));
            return;
        }
        self.0.push(Extension {
            tag,
            value,
            text: text.into(),
            span,
        });
    }
}

/// Whether a tag has the prefix, however it is written: `Tollgate:` is a slip, not somebody else's label.
pub(crate) fn is_ours(text: &str) -> bool {
    text.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}
