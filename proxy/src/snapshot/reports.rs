//! What exchanges under a snapshot are counted and logged as: numbers of labels, log files, names to redact.
//!
//! Resolved once per snapshot, so that the end of an exchange looks nothing up by name.

use std::path::Path;

use policy::Policy;
use policy::isa::{Instr, Op, REGISTERS};
use policy::table::{Consumer, Id, Log, Metrics, Model, Name, Route};

use crate::telemetry::access_log::{AccessLog, LogFile, Redaction};
use crate::telemetry::counter::{ConsumerNumber, Counters, RouteNumber};

/// By row of the policy.
pub struct Reports {
    routes: Vec<RouteNumber>,
    /// Empty when no metrics tell consumers apart.
    consumers: Vec<ConsumerNumber>,
    logs: Vec<LogFile>,
    /// Which values the log hides.
    pub redaction: Redaction,
}

impl Reports {
    /// Numbers everything that a policy can count or log. `Err` has the path of a log file beyond
    /// [`crate::limits::LOG_FILES`].
    pub(super) fn new(policy: &Policy, counters: &Counters, log: &AccessLog) -> Result<Self, String> {
        let routes = policy.rows(policy.all::<Route>()).map(|route| {
            let service = route.service.map(|id| policy.get(id));
            let service = service.map_or("", |row| first(policy.text(row.name), policy.text(row.host)));
            counters.route(service, first(policy.text(route.name), policy.text(route.id)))
        });
        let per_consumer = policy.rows(policy.all::<Metrics>()).any(|row| row.per_consumer);
        let consumers = policy
            .rows(policy.all::<Consumer>())
            .filter(|_| per_consumer)
            .map(|row| {
                let name = first(policy.text(row.username), policy.text(row.custom_id));
                counters.consumer(first(name, policy.text(row.id)))
            });
        let file = |row: Log| {
            let path = policy.text(row.path);
            log.file(Path::new(path), row.reopen)
                .ok_or_else(|| path.to_owned())
        };
        // Where the gateway writes its own credentials, they are no less secret.
        let providers = policy.rows(policy.all::<Model>()).flat_map(|row| {
            let names = [row.param_name, row.auth_header].map(|name| policy.text(name));
            names.into_iter().filter(|name| !name.is_empty())
        });
        let code = (0..policy.code_len()).filter_map(|pc| policy.instr(pc));
        let name = |row| policy.text(policy.get(Id::<Name>::new(row)).text);
        Ok(Self {
            routes: routes.collect(),
            consumers: consumers.collect(),
            logs: policy
                .rows(policy.all::<Log>())
                .map(file)
                .collect::<Result<_, _>>()?,
            redaction: Redaction::new(credential_names(code, name).into_iter().chain(providers)),
        })
    }

    /// Labels of a route and its service.
    pub fn route(&self, id: Id<Route>) -> RouteNumber {
        self.routes[id.index()]
    }

    /// Label of a consumer, when any metrics tell them apart.
    pub fn consumer(&self, id: Id<Consumer>) -> Option<ConsumerNumber> {
        self.consumers.get(id.index()).copied()
    }

    /// File of a log.
    pub fn log(&self, id: Id<Log>) -> LogFile {
        self.logs[id.index()]
    }
}

fn first<'t>(name: &'t str, otherwise: &'t str) -> &'t str {
    if name.is_empty() { otherwise } else { name }
}

/// Names of headers and arguments whose values programs prove identities with. What one register may hold is followed
/// through the code as it stands, not along its jumps: that finds too many names at worst, never too few.
fn credential_names<'p>(code: impl Iterator<Item = Instr>, name: impl Fn(u32) -> &'p str) -> Vec<&'p str> {
    let mut held: [Vec<&str>; REGISTERS] = Default::default();
    let mut names = Vec::new();
    for instr in code {
        let register = usize::from(instr.a) % REGISTERS;
        match instr.op {
            Op::Header | Op::Query | Op::BodyArgument => {
                let name = name(instr.imm);
                if !held[register].contains(&name) {
                    held[register].push(name);
                }
            }
            Op::Key | Op::Basic => {
                let from = usize::try_from(instr.imm).unwrap_or(0) % REGISTERS;
                names.extend_from_slice(&held[from]);
            }
            _ => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_prove_an_identity_are_redacted() {
        let instr = |op, a, imm| Instr { op, a, to: 0, imm };
        let code = [
            instr(Op::Header, 1, 0),
            instr(Op::Query, 1, 1),
            instr(Op::BodyArgument, 1, 2),
            instr(Op::Key, 2, 1),
            instr(Op::Header, 3, 3),
            instr(Op::Basic, 2, 3),
            instr(Op::Header, 4, 4),
            instr(Op::Empty, 4, 0),
        ];
        let names = ["x-key", "key", "key", "authorization", "x-trace"];
        let found = credential_names(code.into_iter(), |row| names[row as usize]);
        assert_eq!(found, ["authorization", "key", "x-key"]);
    }
}
