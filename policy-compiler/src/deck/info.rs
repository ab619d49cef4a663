//! What a file says about itself: format, workspace, tags, defaults.

use super::Options;
use super::fields::{Fields, Text};
use super::syntax;
use crate::diagnostic::{Diagnostic, Report};
use crate::extension;
use crate::source::{Node, Span};

/// `_format_version`, `_info`, `_workspace`, `_konnect`, `_transform`.
#[derive(Debug, Default)]
pub(super) struct Info {
    /// Kong 2.x files: paths say by their characters whether they are regexes.
    pub(super) is_format_1: bool,
    pub(super) workspace: Option<Box<str>>,
    pub(super) select_tags: Vec<Box<str>>,
    pub(super) defaults: Defaults,
    /// Passwords in the file are hashes already.
    pub(super) passwords_are_hashed: bool,
}

/// `_info.defaults`.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) service: Option<Node>,
    pub(super) route: Option<Node>,
    pub(super) upstream: Option<Node>,
    pub(super) target: Option<Node>,
}

impl Info {
    pub(super) fn read(file: &mut Fields<'_>, options: &Options, report: &Report) -> Self {
        let mut info = Self {
            is_format_1: format_version(file, report),
            ..Self::default()
        };
        info.workspace = file.text("_workspace").map(|text| text.value);
        if let Some(transform) = file.flag_at("_transform").filter(|flag| !flag.value) {
            let words = "_transform: false is not supported";
            report.push(Diagnostic::error("invalid-value", words).at(transform.span));
        }
        konnect(file, report);
        let mut file_tags = None;
        if let Some(entry) = file.take("_info")
            && let Some(mut fields) = Fields::open("_info", entry.node, report)
        {
            let tags_span = fields.key_span("select_tags");
            file_tags = fields.texts("select_tags");
            if let Some(span) = tags_span.filter(|_| file_tags.as_ref().is_some_and(Vec::is_empty)) {
                fields.refuse(span, "`select_tags` of _info must not be empty");
            }
            info.defaults = defaults(&mut fields, report);
            lookup_tags(&mut fields, report);
            // Guards decK's writing to a running gateway; reading needs no guard.
            fields.flag("include_plugin_definitions");
            info.passwords_are_hashed = fields.flag("skip_hash_for_basic_auth").unwrap_or(false);
            let overrides = fields.flag_at("consumer_group_policy_overrides");
            if let Some(overrides) = overrides.filter(|flag| flag.value) {
                let words = "consumer group policy overrides (Kong before 3.4) are not supported";
                let help = "put the plugin into the consumer group instead";
                report.push(
                    Diagnostic::error("rla-consumer-groups-deprecated", words)
                        .at(overrides.span)
                        .help(help),
                );
            }
            fields.close();
        }
        info.select_tags = select_tags(file_tags.unwrap_or_default(), &options.select_tags, report);
        info
    }
}

/// Whether the file is in the format of Kong 2.x.
fn format_version(file: &mut Fields<'_>, report: &Report) -> bool {
    let Some(entry) = file.take("_format_version") else {
        let words = "the file has no `_format_version`";
        let start = Span {
            end: file.span.start,
            ..file.span
        };
        report.push(
            Diagnostic::error("format-version", words)
                .at(start)
                .help("add `_format_version: \"3.0\"`"),
        );
        return false;
    };
    let span = entry.node.span;
    match entry.node.as_str() {
        Some("3.0") => false,
        Some("1.1" | "2.1") => {
            let words = "this file has the format of Kong 2.x; its paths are converted to that of Kong 3";
            report.push(
                Diagnostic::warning("format-version", words).at(span).help(
                    "to silence this, set it to \"3.0\" and write `~` before the paths that are regexes",
                ),
            );
            true
        }
        Some(_) => {
            let words = "unknown `_format_version`";
            report.push(
                Diagnostic::error("format-version", words)
                    .at(span)
                    .label("expected \"3.0\", \"2.1\" or \"1.1\""),
            );
            false
        }
        None => {
            let words = "`_format_version` must be a string";
            report.push(
                Diagnostic::error("format-version", words)
                    .at(span)
                    .help("put it in quotes: \"3.0\""),
            );
            false
        }
    }
}

fn konnect(file: &mut Fields<'_>, report: &Report) {
    let Some(entry) = file.take("_konnect") else {
        return;
    };
    let Some(mut fields) = Fields::open("_konnect", entry.node, report) else {
        return;
    };
    let plane = fields.text("control_plane_name");
    let group = fields.text("runtime_group_name");
    if plane.is_some() && group.is_some() {
        fields.refuse(
            entry.key_span,
            "_konnect takes only one of `control_plane_name` and `runtime_group_name`",
        );
    }
    fields.close();
}

fn defaults(info: &mut Fields<'_>, report: &Report) -> Defaults {
    let Some(entry) = info.take("defaults") else {
        return Defaults::default();
    };
    let Some(mut fields) = Fields::open("_info.defaults", entry.node, report) else {
        return Defaults::default();
    };
    let mut take = |key| {
        let node: Node = fields.take(key)?.node;
        for entry in node.as_map().unwrap_or_default() {
            if matches!(&*entry.key, "id" | "name" | "target") {
                fields.refuse(entry.key_span, format!("defaults cannot set `{}`", entry.key));
            }
        }
        if node.as_map().is_none() {
            fields.refuse(node.span, format!("the defaults of a {key} must be a mapping"));
        }
        Some(node)
    };
    let defaults = Defaults {
        service: take("service"),
        route: take("route"),
        upstream: take("upstream"),
        target: take("target"),
    };
    fields.close();
    defaults
}

/// Look-ups by tag ask a running gateway, which an offline compiler does not have.
fn lookup_tags(info: &mut Fields<'_>, report: &Report) {
    let Some(entry) = info.take("default_lookup_tags") else {
        return;
    };
    let Some(mut fields) = Fields::open("_info.default_lookup_tags", entry.node, report) else {
        return;
    };
    for key in ["consumer_groups", "consumers", "routes", "services", "partials"] {
        fields.texts(key);
    }
    fields.close();
    let words = "`default_lookup_tags` refers to entities of a running gateway, which is not asked";
    report.push(
        Diagnostic::error("lookup-tags", words)
            .at(entry.key_span)
            .help("give the files that define them too"),
    );
}

fn select_tags(file: Vec<Text>, command_line: &[Box<str>], report: &Report) -> Vec<Box<str>> {
    for tag in &file {
        if let Err(words) = syntax::tag(&tag.value) {
            report.push(Diagnostic::error("invalid-value", words).at(tag.span));
        }
        if extension::is_ours(&tag.value) {
            report.push(for_every_entity(&tag.value).at(tag.span));
        }
    }
    for tag in command_line.iter().filter(|tag| extension::is_ours(tag)) {
        report.push(for_every_entity(tag));
    }
    let in_file: Vec<Box<str>> = file.iter().map(|tag| tag.value.clone()).collect();
    if let Some(first) = file.first()
        && !command_line.is_empty()
    {
        let (mut a, mut b) = (in_file.clone(), command_line.to_vec());
        a.sort();
        b.sort();
        if a != b {
            let words = "the tags of the file and of `--select-tag` differ";
            report.push(Diagnostic::error("select-tags", words).at(first.span));
        }
    }
    if in_file.is_empty() {
        command_line.to_vec()
    } else {
        in_file
    }
}

fn for_every_entity(tag: &str) -> Diagnostic {
    let words = format!("`{tag}` cannot be given to every entity");
    Diagnostic::error("extension-place", words).help("write it at the entity that it is about")
}
