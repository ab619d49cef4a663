//! Plugins → programs: for every route the instances that run there, in Kong's order, as rows and bytecode.
//!
//! A model and the choices of `scope` enter; [`Programs`] leave, shared by the routes that run the same things.
//! The order is that of the priorities: authentication, gates, then what the exchange applies. Absent: what a single
//! plugin does, which is `plugin`'s.

mod applicable;
mod block;
mod context;

use std::collections::{HashMap, HashSet};

use policy::isa::{Entry, Op};
use policy::table::{
    Code, Group, Id, Instance as InstanceRow, Level as LevelRow, Rows, Select, Subject as SubjectRow, Table,
};

pub(crate) use block::{Block, Label};
pub use context::Options;
pub(crate) use context::{Answer, Context, is_reference};

use crate::deck::entity::{PluginIndex, ServiceIndex};
use crate::diagnostic::{Diagnostic, Report};
use crate::plugin::{self, Config, How, Instance, Step};
use crate::schema::PluginKind;
use crate::scope::{self, Choice, Level, Named, Site, Subject};

/// The register that holds a plugin's row. Plugins keep nothing between them.
const ROW: u8 = 0;

/// Where the entries of a route's program start.
#[derive(Clone, Copy)]
pub(crate) struct Programs {
    pub(crate) request: Code,
    pub(crate) body: Code,
    pub(crate) response: Code,
    pub(crate) end: Code,
}

/// Lowers the plugins of one site after the other, and remembers what it has lowered.
pub(crate) struct Lowerer {
    names: Vec<Named>,
    rows: HashMap<(PluginIndex, Option<ServiceIndex>), u32>,
    levels: HashMap<(usize, Level, Option<ServiceIndex>), Rows<InstanceRow>>,
    selects: HashMap<(usize, Vec<Level>, Option<ServiceIndex>), Bound>,
    authentications: HashMap<PluginIndex, Block>,
    programs: HashMap<(bool, Vec<(usize, Bound)>), Programs>,
    used: HashSet<PluginIndex>,
}

/// How a program gets at what runs of one plugin name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    /// The code of an authentication plugin.
    Authentication(PluginIndex),
    /// Always this row; a bit for each step that it needs.
    Row { row: u32, steps: u32 },
    /// The row that a scope table gives, if any; a bit for each step that one of its rows needs.
    Select { select: u32, steps: u32 },
}

impl Lowerer {
    pub(crate) fn new(context: &Context<'_>) -> Self {
        Self {
            names: scope::names(context.model, context.report),
            rows: HashMap::new(),
            levels: HashMap::new(),
            selects: HashMap::new(),
            authentications: HashMap::new(),
            programs: HashMap::new(),
            used: HashSet::new(),
        }
    }

    /// The programs of a site.
    pub(crate) fn site(&mut self, context: &mut Context<'_>, site: Site) -> Programs {
        // Where no route matched, the request was never judged: only later phases run.
        let key = (site.route.is_some(), self.bind(context, site));
        if let Some(known) = self.programs.get(&key) {
            return *known;
        }
        let programs = self.assemble(context, key.0, &key.1);
        self.programs.insert(key, programs);
        programs
    }

    /// Warns about instances for consumers and groups that no site could choose.
    pub(crate) fn report_unused(&self, context: &Context<'_>) {
        if context.model.routes.is_empty() {
            // A part of a policy: what it is for stands in another file.
            return;
        }
        applicable::report(context.model, context.report);
        let plugins = (0..).map(PluginIndex).zip(&context.model.plugins);
        for (index, plugin) in plugins {
            let scope = plugin.scope;
            let personal = scope.consumer.is_some() != scope.consumer_group.is_some();
            let budget = plugin.kind == PluginKind::AiRateLimitingAdvanced;
            if !scope::visible(plugin) || self.used.contains(&index) || !(personal || budget) {
                continue;
            }
            let (label, help) = if budget {
                (
                    "no ai-proxy runs where this does, so there are no tokens to count",
                    "attach it to a route that ai-proxy serves",
                )
            } else {
                (
                    "the caller is not known when its turn comes",
                    "an authentication plugin of higher priority must run on the same route",
                )
            };
            context.report.push(
                Diagnostic::warning("plugin-never-applies", format!("this {} never runs", plugin.name))
                    .at(plugin.meta.span)
                    .label(label)
                    .help(help),
            );
        }
    }

    fn bind(&mut self, context: &mut Context<'_>, site: Site) -> Vec<(usize, Bound)> {
        let mut identified = false;
        let choices: Vec<Choice> = self
            .names
            .iter()
            .map(|named| {
                let choice = named.choose(site, identified);
                identified |= choice != Choice::Nothing && plugin::authenticates(named.kind);
                choice
            })
            .collect();
        let has_model = choices
            .iter()
            .zip(&self.names)
            .any(|(choice, named)| named.kind == PluginKind::AiProxy && *choice != Choice::Nothing);
        let mut bound = Vec::new();
        for (name, choice) in choices.into_iter().enumerate() {
            let kind = self.names[name].kind;
            if kind == PluginKind::AiRateLimitingAdvanced && !has_model {
                continue;
            }
            // Only providers take something from the service that they stand in for.
            let service = site.service.filter(|_| kind == PluginKind::AiProxy);
            match choice {
                Choice::Nothing => {}
                Choice::Always(instance) => bound.push((name, self.always(context, instance, service))),
                Choice::Levels(levels) => bound.push((name, self.select(context, name, levels, service))),
            }
        }
        bound
    }

    fn always(
        &mut self,
        context: &mut Context<'_>,
        index: PluginIndex,
        service: Option<ServiceIndex>,
    ) -> Bound {
        let model = context.model;
        match plugin::lowering(model[index].kind).map(|lowering| &lowering.how) {
            Some(How::Row { steps, .. }) => Bound::Row {
                row: self.row(context, index, service),
                steps: needed(steps, Config(&model[index].config)),
            },
            Some(How::Authenticate(lower)) => {
                self.used.insert(index);
                self.authentications.entry(index).or_insert_with(|| {
                    let mut block = Block::default();
                    lower(context, &model[index], &mut block);
                    block
                });
                Bound::Authentication(index)
            }
            None => Bound::Authentication(index),
        }
    }

    fn row(&mut self, context: &mut Context<'_>, index: PluginIndex, service: Option<ServiceIndex>) -> u32 {
        self.used.insert(index);
        if let Some(&row) = self.rows.get(&(index, service)) {
            return row;
        }
        let plugin = &context.model[index];
        let row = match plugin::lowering(plugin.kind).map(|lowering| &lowering.how) {
            Some(How::Row { lower, .. }) => lower(context, &Instance { plugin, service }),
            _ => 0,
        };
        self.rows.insert((index, service), row);
        row
    }

    fn select(
        &mut self,
        context: &mut Context<'_>,
        name: usize,
        levels: Vec<Level>,
        service: Option<ServiceIndex>,
    ) -> Bound {
        let key = (name, levels, service);
        if let Some(known) = self.selects.get(&key) {
            return *known;
        }
        let Some(How::Row { table, steps, .. }) = plugin::lowering(self.names[name].kind).map(|l| &l.how)
        else {
            // Authentication is never scoped to a caller: the schema refuses it.
            return Bound::Row { row: 0, steps: 0 };
        };
        let mut needed_steps = 0;
        let mut rows = Vec::with_capacity(key.1.len());
        for &level in &key.1 {
            for instance in self.names[name].instances(level) {
                needed_steps |= needed(steps, Config(&context.model[instance].config));
            }
            rows.push(LevelRow {
                subject: match level.subject {
                    Subject::Consumer => SubjectRow::Consumer,
                    Subject::Group => SubjectRow::Group,
                    Subject::Anyone => SubjectRow::Anyone,
                },
                instances: self.level(context, name, level, service),
            });
        }
        let row = Select {
            kind: *table as u32,
            levels: context.builder.list(&rows),
        };
        let select = context.builder.row(&row).number();
        let bound = Bound::Select {
            select,
            steps: needed_steps,
        };
        self.selects.insert(key, bound);
        bound
    }

    fn level(
        &mut self,
        context: &mut Context<'_>,
        name: usize,
        level: Level,
        service: Option<ServiceIndex>,
    ) -> Rows<InstanceRow> {
        if let Some(known) = self.levels.get(&(name, level, service)) {
            return *known;
        }
        let instances: Vec<PluginIndex> = self.names[name].instances(level).collect();
        let mut rows: Vec<InstanceRow> = instances
            .into_iter()
            .map(|instance| {
                let scope = context.model[instance].scope;
                let consumer = scope.consumer.map(|consumer| consumer.0);
                let group = scope.consumer_group.map(|group| context.group_row(group));
                InstanceRow {
                    subject: consumer.or(group).unwrap_or(0),
                    row: self.row(context, instance, service),
                }
            })
            .collect();
        rows.sort_by_key(|row| row.subject);
        let rows = context.builder.unique_list(&rows);
        self.levels.insert((name, level, service), rows);
        rows
    }

    fn assemble(&self, context: &mut Context<'_>, heads: bool, bound: &[(usize, Bound)]) -> Programs {
        let mut entry = |entry: Entry, runs: bool| {
            let mut block = Block::default();
            if runs {
                for (name, bound) in bound {
                    self.part(entry, self.names[*name].kind, *bound, &mut block);
                }
            }
            self.code(context, block)
        };
        Programs {
            request: entry(Entry::Request, heads),
            body: entry(Entry::Body, heads),
            response: entry(Entry::Response, true),
            end: entry(Entry::End, true),
        }
    }

    /// What one plugin does in one phase.
    fn part(&self, entry: Entry, kind: PluginKind, bound: Bound, block: &mut Block) {
        let Some(lowering) = plugin::lowering(kind) else {
            return;
        };
        let (table, steps, wanted) = match (&lowering.how, bound) {
            (How::Authenticate(_), Bound::Authentication(index)) => {
                if let (Entry::Request, Some(code)) = (entry, self.authentications.get(&index)) {
                    block.append(code);
                }
                return;
            }
            (
                How::Row { table, steps, .. },
                Bound::Row { steps: wanted, .. } | Bound::Select { steps: wanted, .. },
            ) => (*table, *steps, wanted),
            _ => return,
        };
        let ops: Vec<Op> = (0..)
            .zip(steps)
            .filter(|(number, step)| step.entry == entry && wanted >> number & 1 == 1)
            .map(|(_, step)| step.op)
            .collect();
        if ops.is_empty() {
            return;
        }
        let end = block.label();
        match bound {
            Bound::Row { row, .. } => block.constant(ROW, table, row),
            Bound::Select { select, .. } => block.test(Op::Select, ROW, select, end),
            Bound::Authentication(_) => {}
        }
        for op in ops {
            match op {
                Op::Apply => block.apply(ROW, table),
                gate => block.step(gate, ROW, 0),
            }
        }
        block.place(end);
    }

    fn code(&self, context: &mut Context<'_>, block: Block) -> Code {
        if block.is_empty() {
            return Code(None);
        }
        match block.finish() {
            Ok(instrs) => Code(Some(context.builder.program(&instrs))),
            Err(_too_long) => {
                context.report.push(Diagnostic::error(
                    "program-too-long",
                    "a program jumps over more than 65,535 instructions",
                ));
                Code(None)
            }
        }
    }
}

/// The steps that an instance needs, as bits.
fn needed(steps: &[Step], config: Config<'_>) -> u32 {
    (0..)
        .zip(steps)
        .filter(|(_, step)| (step.when)(config))
        .fold(0, |bits, (number, _)| bits | 1 << number)
}

/// What runs at a site, for people: the plugin names in order and what is chosen of each.
pub fn choices(names: &[Named], site: Site) -> Vec<(&Named, Choice)> {
    let mut identified = false;
    names
        .iter()
        .map(|named| {
            let choice = named.choose(site, identified);
            identified |= choice != Choice::Nothing && plugin::authenticates(named.kind);
            (named, choice)
        })
        .filter(|(_, choice)| *choice != Choice::Nothing)
        .collect()
}

/// Compiler faults are reported, never hidden.
pub(crate) fn report_fault(report: &Report, words: String) {
    report.push(
        Diagnostic::error("compiler-fault", words)
            .help("this is a fault of tollc, not of the file: please report it"),
    );
}

/// The row of a consumer group.
pub(crate) const fn group_id(row: u32) -> Id<Group> {
    Id::new(row)
}

const _: () = assert!(Table::ALL.len() <= 0xffff);
