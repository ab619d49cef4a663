//! A judgement in words: the route, the caller, the rule that decided with its line, and what would be changed.

use policy::Policy;
use policy::isa::Entry;
use policy::table::{
    Acl, Correlation, Cors, Edit, EditList, EditOp, EditPlace, Id, Log, Metrics, Model, Part, PartKind,
    Quota, Rows, Size, Source, Table, Text,
};
use policy::vm::{Effect, Verdict};
use serde::Serialize;

use super::{Applied, Asked, Ending, Judgement, Request};

/// What `tollc eval` says about a request. Serialises as its JSON form.
#[derive(Serialize, Debug)]
pub struct Account {
    /// Method and URL as judged: canonical path.
    pub request: String,
    /// The route, if any matched.
    pub route: Option<RouteAccount>,
    /// The caller, if known.
    pub consumer: Option<ConsumerAccount>,
    /// How it ends.
    pub verdict: VerdictAccount,
    /// Limits that were asked, in order.
    pub quotas: Vec<QuotaAccount>,
    /// What is changed, logged or counted, in order.
    pub effects: Vec<EffectAccount>,
    /// Whether the body has to be read first.
    pub reads_body: bool,
}

/// The route that matched.
#[derive(Serialize, Debug)]
pub struct RouteAccount {
    /// UUID.
    pub id: String,
    /// Name; may be empty.
    pub name: String,
    /// `file:line`.
    pub source: String,
    /// Place in the order, from 1.
    pub rank: u32,
    /// The part of the path that matched.
    pub matched: String,
    /// Name or host of the service; empty for none.
    pub service: String,
    /// Worst case of its programs, in cost units.
    pub cost: u32,
}

/// The caller.
#[derive(Serialize, Debug)]
pub struct ConsumerAccount {
    /// UUID.
    pub id: String,
    /// User name; may be empty.
    pub username: String,
    /// Whether it stands for callers without credentials.
    pub anonymous: bool,
}

/// How a request ends.
#[derive(Serialize, Debug)]
pub struct VerdictAccount {
    /// `forward`, `refuse`, `respond`, `preflight`.
    pub kind: &'static str,
    /// Status of the answer; 0 when it is the service's.
    pub status: u32,
    /// Message of the answer.
    pub message: String,
    /// The plugin that decided, or `gateway`; empty for `forward`.
    pub by: String,
    /// `file:line` of that plugin.
    pub source: String,
    /// What is wrong with a request that the gateway takes for none; empty for others.
    pub reason: String,
}

/// A limit that was asked.
#[derive(Serialize, Debug)]
pub struct QuotaAccount {
    /// `5 per minute` and the like; none where no policy is about the call.
    pub limits: Vec<String>,
    /// Whose counter: `policy` is one for all calls that a policy is about.
    pub by: String,
    /// `file:line`.
    pub source: String,
}

/// One effect.
#[derive(Serialize, Debug)]
pub struct EffectAccount {
    /// `request`, `response` or `end`.
    pub phase: &'static str,
    /// The plugin.
    pub plugin: String,
    /// What it does.
    pub what: String,
    /// `file:line`.
    pub source: String,
}

impl Account {
    /// Puts a judgement into words.
    pub fn of(policy: &Policy, request: &Request, judgement: &Judgement) -> Self {
        let teller = Teller { policy, request };
        Self {
            request: teller.request_line(),
            route: teller.route(judgement),
            consumer: judgement.consumer.map(|id| {
                let consumer = policy.get(id);
                ConsumerAccount {
                    id: teller.text(consumer.id),
                    username: teller.text(consumer.username),
                    anonymous: judgement.anonymous,
                }
            }),
            verdict: teller.verdict(judgement),
            quotas: judgement
                .quotas
                .iter()
                .map(|quota| teller.quota(*quota))
                .chain(judgement.budgets.iter().map(|asked| teller.budget(asked)))
                .collect(),
            effects: judgement
                .applied
                .iter()
                .flat_map(|applied| teller.effects(applied, judgement.model_name.as_deref()))
                .collect(),
            reads_body: judgement.body_read,
        }
    }

    /// The account for a terminal: one fact a line.
    pub fn human(&self) -> String {
        let mut lines = vec![self.request.clone()];
        match &self.route {
            None => lines.push("route     none".to_owned()),
            Some(route) => {
                let name = if route.name.is_empty() {
                    &route.id
                } else {
                    &route.name
                };
                lines.push(format!(
                    "route     {name} ({}), place {} in the order, matched {:?}, at most {} cost units",
                    route.source, route.rank, route.matched, route.cost
                ));
            }
        }
        lines.push(match &self.consumer {
            None => "consumer  unknown".to_owned(),
            Some(consumer) => {
                let name = if consumer.username.is_empty() {
                    &consumer.id
                } else {
                    &consumer.username
                };
                let how = if consumer.anonymous { ", anonymously" } else { "" };
                format!("consumer  {name}{how}")
            }
        });
        let verdict = &self.verdict;
        lines.push(match (verdict.kind, &self.route) {
            ("forward", Some(route)) => format!("verdict   forward to {}", route.service),
            _ => format!(
                "verdict   {} {} {:?}",
                verdict.kind, verdict.status, verdict.message
            ),
        });
        match (verdict.by.as_str(), verdict.source.as_str()) {
            ("", _) => {}
            (by, "") if !verdict.reason.is_empty() => {
                lines.push(format!("rule      {by}: {}", verdict.reason))
            }
            (by, "") => lines.push(format!("rule      {by}")),
            (by, source) => lines.push(format!("rule      {by} ({source})")),
        }
        for quota in &self.quotas {
            lines.push(match quota.limits.join(", ").as_str() {
                "" => format!("quota     none that is about this call ({})", quota.source),
                limits => format!("quota     {limits}, by {} ({})", quota.by, quota.source),
            });
        }
        for effect in &self.effects {
            let EffectAccount {
                phase,
                plugin,
                what,
                source,
            } = effect;
            lines.push(format!("{phase:<9} {plugin}: {what} ({source})"));
        }
        if self.reads_body {
            lines.push("body      is read before the request is sent".to_owned());
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

struct Teller<'t> {
    policy: &'t Policy,
    request: &'t Request,
}

impl Teller<'_> {
    fn text(&self, text: Text) -> String {
        self.policy.text(text).to_owned()
    }

    fn place(&self, source: Option<Id<Source>>) -> String {
        source.map_or_else(String::new, |id| {
            let source = self.policy.get(id);
            format!("{}:{}", self.policy.text(source.file), source.line)
        })
    }

    fn request_line(&self) -> String {
        let Request {
            method,
            host,
            port,
            path,
            query,
            secure,
            ..
        } = self.request;
        let (scheme, default) = if *secure { ("https", 443) } else { ("http", 80) };
        let port = if *port == default {
            String::new()
        } else {
            format!(":{port}")
        };
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{query}")
        };
        format!("{method} {scheme}://{host}{port}{path}{query}")
    }

    fn route(&self, judgement: &Judgement) -> Option<RouteAccount> {
        let found = judgement.matched?;
        let route = self.policy.get(found.route);
        let service = route.service.map(|service| {
            let service = self.policy.get(service);
            let name = if service.name.is_empty() {
                service.host
            } else {
                service.name
            };
            self.text(name)
        });
        Some(RouteAccount {
            id: self.text(route.id),
            name: self.text(route.name),
            source: self.place(route.source),
            rank: found.subroute.number() + 1,
            matched: self
                .request
                .path
                .get(..found.matched_len as usize)
                .unwrap_or_default()
                .to_owned(),
            service: service.unwrap_or_default(),
            cost: route.cost,
        })
    }

    fn verdict(&self, judgement: &Judgement) -> VerdictAccount {
        let gateway = |status, message: &str| VerdictAccount {
            kind: "refuse",
            status,
            message: message.to_owned(),
            by: "gateway".to_owned(),
            source: String::new(),
            reason: String::new(),
        };
        match judgement.ending {
            Ending::Malformed(malformed) => VerdictAccount {
                reason: malformed.to_string(),
                ..gateway(400, "Bad request")
            },
            Ending::NoRoute => gateway(404, "no Route matched with those values"),
            Ending::HttpsRequired(redirect) => gateway(
                redirect.name().parse().unwrap_or(426),
                "Please use HTTPS protocol",
            ),
            Ending::NotGrpc => gateway(415, "Non-gRPC request matched gRPC route"),
            Ending::GrpcsRequired => gateway(200, "gRPC request matched gRPCs route"),
            Ending::Handshake(status, message) => gateway(status, message),
            Ending::NoService => gateway(503, "no Service found with those values"),
            Ending::Unrendered(model) => VerdictAccount {
                by: "ai-proxy".to_owned(),
                source: self.place(self.policy.get(model).source),
                ..gateway(500, "An unexpected error occurred")
            },
            Ending::Verdict(verdict) => self.program_verdict(verdict),
        }
    }

    fn program_verdict(&self, verdict: Verdict) -> VerdictAccount {
        let (kind, status, message, by, source) = match verdict {
            Verdict::Forward | Verdict::Wait(_) => ("forward", 0, String::new(), String::new(), None),
            Verdict::Refuse(id) => {
                let refusal = self.policy.get(id);
                let (message, plugin) = (self.text(refusal.message), self.text(refusal.plugin));
                ("refuse", refusal.status, message, plugin, refusal.source)
            }
            Verdict::Respond(id) => {
                let response = self.policy.get(id);
                let message = if response.message.is_empty() {
                    response.body
                } else {
                    response.message
                };
                let plugin = "request-termination".to_owned();
                (
                    "respond",
                    response.status,
                    self.text(message),
                    plugin,
                    response.source,
                )
            }
            Verdict::Preflight(id) => {
                let source = self.policy.get(id).source;
                ("preflight", 200, String::new(), "cors".to_owned(), source)
            }
        };
        VerdictAccount {
            kind,
            status,
            message,
            by,
            source: self.place(source),
            reason: String::new(),
        }
    }

    fn quota(&self, id: Id<Quota>) -> QuotaAccount {
        let quota = self.policy.get(id);
        let periods = self.policy.rows(quota.periods);
        QuotaAccount {
            limits: periods
                .map(|period| format!("{} per {}", period.limit, period.unit.name()))
                .collect(),
            by: quota.by.name().to_owned(),
            source: self.place(quota.source),
        }
    }

    fn budget(&self, asked: &Asked) -> QuotaAccount {
        let budget = self.policy.get(asked.budget);
        let mut limits = Vec::new();
        let mut by = Vec::new();
        for rule in &asked.rules {
            let name = self.policy.text(rule.name);
            limits.extend(self.policy.rows(rule.ceilings).map(|ceiling| {
                let what = ceiling.strategy.name();
                format!("{name}: {} {what} per {} s", ceiling.limit, ceiling.window)
            }));
            let conditions = self.policy.rows(rule.conditions);
            by.extend(conditions.filter(|it| it.partition).map(|it| it.kind.name()));
        }
        by.sort_unstable();
        by.dedup();
        let by = match (budget.policies, by.as_slice()) {
            (false, _) => budget.by.name().to_owned(),
            (true, []) => "policy".to_owned(),
            (true, kinds) => kinds.join(" and "),
        };
        QuotaAccount {
            limits,
            by,
            source: self.place(budget.source),
        }
    }

    fn effects(&self, applied: &Applied, model: Option<&str>) -> Vec<EffectAccount> {
        let Applied { entry, effect } = *applied;
        let (plugin, source, whats) = self.effect(entry, effect, model);
        let source = self.place(source);
        whats
            .into_iter()
            .map(|what| EffectAccount {
                phase: entry.name(),
                plugin: plugin.clone(),
                what,
                source: source.clone(),
            })
            .collect()
    }

    /// The plugin, its place, and what it does.
    fn effect(
        &self,
        entry: Entry,
        effect: Effect,
        model: Option<&str>,
    ) -> (String, Option<Id<Source>>, Vec<String>) {
        let policy = self.policy;
        let row = effect.row;
        let one = |plugin: &str, source, what: String| (plugin.to_owned(), source, vec![what]);
        match effect.table {
            Table::EditList => {
                let list = policy.get(Id::<EditList>::new(row));
                let whats = policy.rows(list.edits).map(|edit| self.edit(&edit)).collect();
                (self.text(list.plugin), list.source, whats)
            }
            Table::Acl => {
                let acl = policy.get(Id::<Acl>::new(row));
                let what = if acl.hide_groups_header {
                    "no group header"
                } else {
                    "set header X-Consumer-Groups"
                };
                one("acl", acl.source, what.to_owned())
            }
            Table::Size => {
                let size = policy.get(Id::<Size>::new(row));
                let what = format!("at most {} bytes of body", size.limit);
                one("request-size-limiting", size.source, what)
            }
            Table::Correlation => {
                let correlation = policy.get(Id::<Correlation>::new(row));
                let (header, generator) = (policy.text(correlation.header), correlation.generator.name());
                let what = match entry {
                    Entry::Response => format!("return header {header}"),
                    _ => format!("set header {header} if absent ({generator})"),
                };
                one("correlation-id", correlation.source, what)
            }
            Table::Cors => {
                let cors = policy.get(Id::<Cors>::new(row));
                one("cors", cors.source, "set Access-Control-* headers".to_owned())
            }
            Table::Metrics => {
                let metrics = policy.get(Id::<Metrics>::new(row));
                one("prometheus", metrics.source, "count".to_owned())
            }
            Table::Log => {
                let log = policy.get(Id::<Log>::new(row));
                one(
                    "file-log",
                    log.source,
                    format!("append to {}", policy.text(log.path)),
                )
            }
            Table::Model => {
                let called = policy.get(Id::<Model>::new(row));
                let (provider, name) = (called.provider.name(), model.unwrap_or(policy.text(called.name)));
                let name = if name.is_empty() {
                    "the model that the request names"
                } else {
                    name
                };
                one("ai-proxy", called.source, format!("call {name} of {provider}"))
            }
            other => one(other.name(), None, "apply".to_owned()),
        }
    }

    fn edit(&self, edit: &Edit) -> String {
        let op = edit.op.name();
        let name = self.policy.text(edit.name);
        let value = self.value(edit.value);
        match (edit.place, edit.op) {
            (EditPlace::Uri | EditPlace::Method, _) => format!("{op} {} to {value}", edit.place.name()),
            (place, EditOp::Remove) => format!("{op} {} {name}", place.name()),
            (place, EditOp::Rename) => format!("{op} {} {name} to {value}", place.name()),
            (place, _) => format!("{op} {} {name}: {value}", place.name()),
        }
    }

    fn value(&self, parts: Rows<Part>) -> String {
        let mut out = String::new();
        for part in self.policy.rows(parts) {
            let text = self.policy.text(part.text);
            if part.otherwise {
                out.push_str(" or ");
            }
            match part.kind {
                PartKind::Literal => out.push_str(text),
                PartKind::CaptureIndex => out.push_str(&format!("$(uri_captures[{}])", part.index)),
                kind => out.push_str(&format!("$({}.{text})", kind.name())),
            }
        }
        out
    }
}
