//! What each enforced plugin becomes: rows, and the steps that use them in each phase of an exchange.
//!
//! One file per plugin, one line in [`LOWERINGS`]. A checked configuration enters; rows and instructions leave, with
//! the semantics of Kong's plugin of that name. Absent: which instance runs where (`scope`), and the order (`lower`).

mod acl;
mod ai_proxy;
mod ai_rate_limiting_advanced;
mod basic_auth;
mod config;
mod correlation_id;
mod cors;
mod file_log;
mod ip_restriction;
mod key_auth;
mod prometheus;
mod rate_limiting;
mod request_size_limiting;
mod request_termination;
mod request_transformer;
mod response_transformer;
mod template;
mod transformer;
mod unread;

pub(crate) use config::{Config, at_least};
pub(crate) use ip_restriction::ranges as address_ranges;
pub(crate) use unread::report as report_unread;

use policy::isa::{Entry, Op};
use policy::table::Table;

use crate::deck::entity::{Plugin, ServiceIndex};
use crate::diagnostic::Diagnostic;
use crate::lower::{Block, Context};
use crate::schema::PluginKind;
use crate::source::Span;

/// One enforced plugin.
pub(crate) struct Lowering {
    pub(crate) kind: PluginKind,
    pub(crate) how: How,
}

/// How a plugin is lowered.
pub(crate) enum How {
    /// It finds the caller: code of its own at the request's head. Never scoped to a consumer.
    Authenticate(fn(&mut Context<'_>, &Plugin, &mut Block)),
    /// An instance is a row of `table`; the steps use the row of the instance that was chosen.
    Row {
        table: Table,
        steps: &'static [Step],
        lower: fn(&mut Context<'_>, &Instance<'_>) -> u32,
    },
}

/// What is done with a row.
pub(crate) struct Step {
    /// In which phase.
    pub(crate) entry: Entry,
    /// A gate, or [`Op::Apply`].
    pub(crate) op: Op,
    /// Whether an instance needs it.
    pub(crate) when: fn(Config<'_>) -> bool,
}

impl Step {
    const fn always(entry: Entry, op: Op) -> Self {
        Self {
            entry,
            op,
            when: |_| true,
        }
    }
}

/// An instance at the service for which it is lowered.
pub(crate) struct Instance<'i> {
    pub(crate) plugin: &'i Plugin,
    pub(crate) service: Option<ServiceIndex>,
}

impl<'i> Instance<'i> {
    pub(crate) const fn config(&self) -> Config<'i> {
        Config(&self.plugin.config)
    }
}

static LOWERINGS: [Lowering; 15] = [
    acl::LOWERING,
    ai_proxy::LOWERING,
    ai_rate_limiting_advanced::LOWERING,
    basic_auth::LOWERING,
    correlation_id::LOWERING,
    cors::LOWERING,
    file_log::LOWERING,
    ip_restriction::LOWERING,
    key_auth::LOWERING,
    prometheus::LOWERING,
    rate_limiting::LOWERING,
    request_size_limiting::LOWERING,
    request_termination::LOWERING,
    request_transformer::LOWERING,
    response_transformer::LOWERING,
];

/// How a kind of plugin is lowered; None for what is not enforced.
pub(crate) fn lowering(kind: PluginKind) -> Option<&'static Lowering> {
    LOWERINGS.iter().find(|lowering| lowering.kind == kind)
}

/// Whether a kind of plugin finds the caller.
pub(crate) fn authenticates(kind: PluginKind) -> bool {
    lowering(kind).is_some_and(|lowering| matches!(lowering.how, How::Authenticate(_)))
}

/// The status of an answer. One below 200 is an error: the client would wait for another.
fn status(context: &Context<'_>, config: Config<'_>, field: &str, default: u32) -> u32 {
    config.status(field, default).unwrap_or_else(|| {
        context.report.push(
            Diagnostic::error("status", format!("`{field}` is not the status of an answer"))
                .at(config.span(field))
                .help("use 200 to 599"),
        );
        default
    })
}

/// Whether a kind of plugin does something where no route matched: once there is an answer.
pub(crate) fn runs_later(kind: PluginKind) -> bool {
    lowering(kind).is_some_and(|lowering| match lowering.how {
        How::Authenticate(_) => false,
        How::Row { steps, .. } => steps
            .iter()
            .any(|step| matches!(step.entry, Entry::Response | Entry::End)),
    })
}

/// Identity of an instance's counters over reloads: its name and what it is attached to, by id.
pub(crate) fn stable(context: &Context<'_>, plugin: &Plugin) -> u64 {
    let (model, scope) = (context.model, plugin.scope);
    let ids = [
        scope.service.map(|index| model[index].meta.id),
        scope.route.map(|index| model[index].meta.id),
        scope.consumer.map(|index| model[index].meta.id),
        scope.consumer_group.map(|index| model[index].meta.id),
    ];
    let mut hasher = blake3::Hasher::new();
    hasher.update(plugin.name.as_bytes()).update(&[0]);
    for id in ids {
        // What an instance is not attached to counts as the zero UUID, as in Kong's own keys.
        hasher.update(id.unwrap_or_default().as_bytes());
    }
    policy::digest::index_hash(hasher.finalize().as_bytes())
}

/// Code that ends an authentication without a caller: a refusal, or the anonymous consumer.
struct Failure {
    anonymous: Option<u32>,
}

impl Failure {
    /// Reads `anonymous`, which names a consumer of the file.
    fn of(context: &Context<'_>, plugin: &Plugin) -> Self {
        let anonymous = Config(&plugin.config).word("anonymous");
        let consumer = anonymous.and_then(|name| context.consumer(name));
        Self {
            anonymous: consumer.map(policy::table::Id::number),
        }
    }

    /// With an anonymous consumer, authentication is skipped once somebody is known.
    fn skip_if_known(&self, block: &mut Block, done: crate::lower::Label) {
        if self.anonymous.is_some() {
            let unknown = block.label();
            block.test(Op::Authenticated, 0, 0, unknown);
            block.jump(done);
            block.place(unknown);
        }
    }

    fn emit(&self, block: &mut Block, refusal: u32, done: crate::lower::Label) {
        match self.anonymous {
            Some(consumer) => {
                block.step(Op::Anonymous, 0, consumer);
                block.jump(done);
            }
            None => block.step(Op::Refuse, 0, refusal),
        }
    }
}

/// The value of `WWW-Authenticate` (RFC 9110 §11.6.1), with `realm` if there is one.
fn challenge(context: &Context<'_>, scheme: &str, config: Config<'_>) -> String {
    let Some(realm) = config.word("realm") else {
        return scheme.to_owned();
    };
    transformer::refuse_value(context, realm, config.span("realm"));
    format!(
        "{scheme} realm=\"{}\"",
        realm.replace('\\', "\\\\").replace('"', "\\\"")
    )
}

/// Reports Konnect's principals and identity realms, which need a directory that is not in the file.
fn refuse_directories(context: &Context<'_>, plugin: &Plugin) {
    let config = Config(&plugin.config);
    let refuse = |field: &str, span: Span| {
        context.unsupported(
            span,
            format!("`{field}` of {} needs a Konnect directory", plugin.name),
            "callers are looked up among the consumers of this file",
        );
    };
    if config.flag("principals.enabled") {
        refuse("principals", config.span("principals"));
    }
    let realms = config.list("identity_realms");
    if realms
        .iter()
        .any(|realm| realm.get("scope").and_then(|scope| scope.as_str()) == Some("realm"))
    {
        refuse("identity_realms", config.span("identity_realms"));
    }
}
