//! Random small models against random requests: the artifact, run by the VM, agrees with the plain rules.

mod estate;
mod plugin;
mod request;

use estate::model;
use policy::isa::Entry;
use policy::table::{Id, Source, Table};
use policy::vm::Verdict;
use proptest::prelude::*;
use request::request;

use super::{Ending, Request, judge, reference};
use crate::deck::entity::*;
use crate::diagnostic::Report;
use crate::emit::{self, Artifact};
use crate::lower::Options;
use crate::schema::PluginKind;
use crate::source::Sources;

fn sources() -> Sources {
    let mut sources = Sources::default();
    sources.add("kong.yaml", "\n".repeat(200));
    sources
}

/// The plugin that a row came from.
fn origin(artifact: &Artifact, source: Option<Id<Source>>) -> PluginIndex {
    let source = artifact
        .policy
        .get(source.expect("every row of a plugin has a source"));
    // Line n holds plugin n - 1, and the file's first line is 1.
    PluginIndex(source.line - 2)
}

fn compile(model: &Model) -> Artifact {
    let report = Report::default();
    emit::artifact(model, &sources(), &report, Options::default())
        .unwrap_or_else(|| panic!("it compiles: {:?}", report.findings()))
}

fn effect_origin(artifact: &Artifact, effect: policy::vm::Effect) -> PluginIndex {
    let policy = &artifact.policy;
    let source = match effect.table {
        Table::Acl => effect
            .id()
            .map(|id: Id<policy::table::Acl>| policy.get(id).source),
        Table::Size => effect
            .id()
            .map(|id: Id<policy::table::Size>| policy.get(id).source),
        Table::Correlation => effect
            .id()
            .map(|id: Id<policy::table::Correlation>| policy.get(id).source),
        Table::EditList => effect
            .id()
            .map(|id: Id<policy::table::EditList>| policy.get(id).source),
        Table::Cors => effect
            .id()
            .map(|id: Id<policy::table::Cors>| policy.get(id).source),
        Table::Metrics => effect
            .id()
            .map(|id: Id<policy::table::Metrics>| policy.get(id).source),
        Table::Model => effect
            .id()
            .map(|id: Id<policy::table::Model>| policy.get(id).source),
        Table::Log => effect
            .id()
            .map(|id: Id<policy::table::Log>| policy.get(id).source),
        other => panic!("nothing applies {other:?}"),
    };
    origin(artifact, source.expect("the table says which row"))
}

/// What an instance applies in a phase, by Kong's description of the plugin.
fn applies(model: &Model, request: &Request, index: PluginIndex, entry: Entry) -> bool {
    let plugin = &model[index];
    let config = crate::plugin::Config(&plugin.config);
    match (plugin.kind, entry) {
        (
            PluginKind::CorrelationId
            | PluginKind::Acl
            | PluginKind::RequestTransformer
            | PluginKind::AiProxy,
            Entry::Request,
        ) => true,
        (PluginKind::RequestSizeLimiting, Entry::Request) => {
            request.body.is_some() && request.values("transfer-encoding").next().is_some()
        }
        (PluginKind::CorrelationId, Entry::Response) => config.flag("echo_downstream"),
        (PluginKind::Cors, Entry::Response) => true,
        (PluginKind::ResponseTransformer, Entry::Response) => {
            config.0.as_map().is_some_and(|entries| !entries.is_empty())
        }
        (PluginKind::Prometheus | PluginKind::FileLog, Entry::End) => true,
        _ => false,
    }
}

fn ruled_status(judged: &super::Judgement) -> u32 {
    match judged.ending {
        Ending::HttpsRequired(redirect) => redirect.name().parse().expect("a status"),
        Ending::Handshake(status, _) => status,
        _ => 0,
    }
}

fn assert_agreement(model: &Model, artifact: &Artifact, request: &Request) {
    let policy = &artifact.policy;
    let ruled = reference::judge(model, request);
    let judged = judge(policy, request);
    let route = judged.matched.map(|found| artifact.routes[found.route.index()]);
    assert_eq!(route, ruled.route, "route");
    let verdict = match judged.ending {
        Ending::Verdict(verdict) => verdict,
        _ => Verdict::Forward,
    };
    let outcome = match verdict {
        _ if judged.ending == Ending::NoRoute => reference::Outcome::Unmatched,
        _ if judged.ending == Ending::NoService => reference::Outcome::NoService,
        _ if matches!(judged.ending, Ending::HttpsRequired(_)) => {
            reference::Outcome::HttpsRequired(ruled_status(&judged))
        }
        _ if matches!(judged.ending, Ending::Handshake(..)) => {
            reference::Outcome::HandshakeRequired(ruled_status(&judged))
        }
        Verdict::Forward => reference::Outcome::Forwarded,
        Verdict::Refuse(id) => {
            let refusal = policy.get(id);
            let message = policy.text(refusal.message).to_owned();
            reference::Outcome::Refused(origin(artifact, refusal.source), refusal.status, message)
        }
        Verdict::Respond(id) => reference::Outcome::Answered(origin(artifact, policy.get(id).source)),
        Verdict::Preflight(id) => reference::Outcome::Preflight(origin(artifact, policy.get(id).source)),
        Verdict::Wait(_) => panic!("questions are answered"),
    };
    assert_eq!(outcome, ruled.outcome, "outcome");
    assert_eq!(
        judged.consumer.map(Id::number),
        ruled.consumer.map(|c| c.0),
        "consumer"
    );
    assert_eq!(judged.anonymous, ruled.anonymous, "anonymous");
    let counted: Vec<PluginIndex> = judged
        .quotas
        .iter()
        .map(|quota| origin(artifact, policy.get(*quota).source))
        .collect();
    assert_eq!(counted, ruled.counted, "quotas");
    let reserved: Vec<PluginIndex> = judged
        .budgets
        .iter()
        .map(|budget| origin(artifact, policy.get(budget.budget).source))
        .collect();
    assert_eq!(reserved, ruled.reserved, "budgets");
    for entry in [Entry::Request, Entry::Response, Entry::End] {
        let applied: Vec<PluginIndex> = judged
            .applied
            .iter()
            .filter(|applied| applied.entry == entry)
            .map(|applied| effect_origin(artifact, applied.effect))
            .filter(|index| match model[*index].kind {
                // Hidden credentials are not what the plugins of this list are about.
                PluginKind::KeyAuth | PluginKind::BasicAuth => false,
                // An empty list of edits may be applied: it stands beside others in a scope table.
                PluginKind::ResponseTransformer => applies(model, request, *index, entry),
                _ => true,
            })
            .collect();
        let runs = entry != Entry::Request || ruled.outcome == reference::Outcome::Forwarded;
        let expected: Vec<PluginIndex> = ruled
            .collected
            .iter()
            .copied()
            .filter(|index| runs && applies(model, request, *index, entry))
            .collect();
        assert_eq!(applied, expected, "applied in {entry:?}");
    }
}

proptest! {
    #[test]
    fn the_artifact_judges_as_the_rules_do(model in model(), requests in proptest::collection::vec(request(), 16)) {
        let artifact = compile(&model);
        for request in &requests {
            assert_agreement(&model, &artifact, request);
        }
    }

    #[test]
    fn equal_models_give_equal_bytes(model in model()) {
        prop_assert_eq!(compile(&model).bytes, compile(&model).bytes);
    }
}
