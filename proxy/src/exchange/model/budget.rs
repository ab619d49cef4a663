//! ai-rate-limiting-advanced on a call: which counters it falls on, what is held of them, what clients are told.

use std::num::NonZero;
use std::sync::Arc;

use policy::field::Taken;
use policy::table::{Budget, Ceiling, Condition, ConditionKind, CountStrategy, Id, LimitBy, Model, Rule};
use policy::{Policy, select};

use super::Running;
use crate::ai::usage::Usage;
use crate::exchange::Exchange;
use crate::exchange::quota::Caller;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::write::push_decimal;
use crate::limits;
use crate::node::address_of;
use crate::quota::headers::BudgetHeaders;
use crate::quota::reservation::{self, Reservation, Reserve, Standing};
use crate::quota::window::Span;
use crate::quota::{Key, Table};

/// One counter that a call falls on.
#[derive(Clone, Copy)]
struct Demand {
    key: Key,
    rule: Rule,
    ceiling: Ceiling,
}

/// What a call holds, or why it holds nothing.
pub(in crate::exchange) struct Held {
    budget: Id<Budget>,
    demands: Vec<Demand>,
    costs: (f64, f64),
    state: State,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a box would be one more allocation for each call"
)]
enum State {
    Reserved(Reservation),
    Denied { index: usize, standing: Standing },
}

impl Held {
    /// Settles exactly once, with what was used.
    pub(super) fn settle(self, used: Usage, now_ms: u64) {
        if let State::Reserved(reservation) = self.state {
            let amounts: Vec<u64> = self
                .demands
                .iter()
                .map(|demand| amount(demand.ceiling.strategy, used, self.costs))
                .collect();
            reservation.settle(now_ms, |index| amounts.get(index).copied().unwrap_or(0));
        }
    }

    /// Notes what has certainly been used.
    pub(super) fn observe(&mut self, used: Usage, now_ms: u64) {
        if let State::Reserved(reservation) = &mut self.state {
            for (index, demand) in self.demands.iter().enumerate() {
                reservation.observe(now_ms, index, amount(demand.ceiling.strategy, used, self.costs));
            }
        }
    }
}

/// Holds the call's upper bound against every limit that it falls on, or against none.
pub(in crate::exchange) fn reserve(
    policy: &Policy,
    table: &Arc<Table>,
    budget: Id<Budget>,
    caller: &Caller<'_>,
    running: &mut Running,
    now_ms: u64,
) -> Taken {
    let (row, model) = (policy.get(budget), policy.get(running.row));
    let demands = demands(policy, table, &row, caller, running, &model);
    let upper = Usage {
        prompt: running.call.prompt_upper,
        completion: running.call.completion_upper,
    };
    let costs = (model.input_cost, model.output_cost);
    let budgets: Vec<reservation::Budget> = demands
        .iter()
        .map(|demand| reservation::Budget {
            key: demand.key,
            span: span(demand),
            limit: demand.ceiling.limit,
            amount: amount(demand.ceiling.strategy, upper, costs),
        })
        .collect();
    let (state, taken) = match reservation::reserve(table, now_ms, &budgets) {
        Reserve::Held(reservation) => (State::Reserved(reservation), Taken::Admitted),
        Reserve::Denied { index, standing } => (State::Denied { index, standing }, Taken::Denied),
    };
    running.held = Some(Held {
        budget,
        demands,
        costs,
        state,
    });
    taken
}

fn span(demand: &Demand) -> Span {
    // The verifier refuses a window of no seconds.
    let window = NonZero::new(demand.ceiling.window).unwrap_or(NonZero::<u32>::MIN);
    if demand.rule.sliding {
        Span::Sliding(window)
    } else {
        Span::Fixed(window)
    }
}

fn amount(strategy: CountStrategy, usage: Usage, (input, output): (f64, f64)) -> u64 {
    match strategy {
        CountStrategy::TotalTokens => usage.total(),
        CountStrategy::PromptTokens => usage.prompt,
        CountStrategy::CompletionTokens => usage.completion,
        CountStrategy::Cost => usage.cost(input, output),
    }
}

fn demands(
    policy: &Policy,
    table: &Table,
    budget: &Budget,
    caller: &Caller<'_>,
    running: &Running,
    model: &Model,
) -> Vec<Demand> {
    let mut demands = Vec::new();
    let mut fallback = true;
    let rules: Vec<Rule> = policy.rows(budget.rules).collect();
    for (number, rule) in (0u32..).zip(&rules) {
        let identifier = if budget.policies {
            if rule.conditions.is_empty() {
                continue;
            }
            fits(policy, rule, caller, running, model)
        } else {
            let named = policy.text(rule.name) == model.provider.name();
            named.then(|| identifier(policy, budget, caller))
        };
        if let Some(identifier) = identifier {
            fallback = false;
            push(policy, table, budget, number, rule, &identifier, &mut demands);
        }
    }
    if budget.policies && fallback {
        for (number, rule) in (0u32..)
            .zip(&rules)
            .filter(|(_, rule)| rule.conditions.is_empty())
        {
            push(policy, table, budget, number, rule, b"", &mut demands);
        }
    }
    demands.truncate(limits::BUDGETS);
    demands
}

fn push(
    policy: &Policy,
    table: &Table,
    budget: &Budget,
    number: u32,
    rule: &Rule,
    identifier: &[u8],
    demands: &mut Vec<Demand>,
) {
    for (place, ceiling) in (0u32..).zip(policy.rows(rule.ceilings)) {
        // One counter for each rule and window of the plugin's scope.
        let own = (u64::from(number) << 32 | u64::from(place)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        demands.push(Demand {
            key: table.key(budget.stable ^ own, identifier),
            rule: *rule,
            ceiling,
        });
    }
}

/// Whose counter, in the provider mode (Kong `identifier`).
fn identifier(policy: &Policy, budget: &Budget, caller: &Caller<'_>) -> Vec<u8> {
    let state = caller.state;
    let found = match budget.by {
        LimitBy::Consumer => state
            .consumer
            .map(|consumer| policy.bytes(policy.get(consumer).id))
            .or_else(|| {
                state
                    .credential
                    .map(|credential| policy.bytes(policy.get(credential).id))
            }),
        LimitBy::Credential => state
            .credential
            .map(|credential| policy.bytes(policy.get(credential).id)),
        LimitBy::Service => {
            let service = state.route.and_then(|route| policy.get(route).service);
            service.map(|service| policy.bytes(policy.get(service).id))
        }
        LimitBy::Header => caller.headers.find(policy.bytes(budget.header)),
        LimitBy::Path => Some(caller.path).filter(|path| *path == policy.bytes(budget.path)),
        LimitBy::ConsumerGroup => {
            let group = state
                .consumer
                .and_then(|consumer| select::groups(policy, consumer).next());
            group.map(|group| policy.bytes(policy.get(group).id))
        }
        LimitBy::Ip => None,
    };
    found.map_or_else(
        || address_of(caller.address.unwrap_or(0)).to_string().into_bytes(),
        <[u8]>::to_vec,
    )
}

/// The partition of a policy that a call falls into; none when a condition does not hold.
fn fits(
    policy: &Policy,
    rule: &Rule,
    caller: &Caller<'_>,
    running: &Running,
    model: &Model,
) -> Option<Vec<u8>> {
    let mut partition = Vec::new();
    for condition in policy.rows(rule.conditions) {
        let value = value(policy, &condition, caller, running, model)?;
        if condition.partition {
            partition.extend_from_slice(&value);
            partition.push(0);
        }
    }
    Some(partition)
}

fn value(
    policy: &Policy,
    condition: &Condition,
    caller: &Caller<'_>,
    running: &Running,
    model: &Model,
) -> Option<Vec<u8>> {
    let listed = |value: &[u8]| {
        condition.values.is_empty()
            || policy
                .rows(condition.values)
                .any(|name| policy.bytes(name.text) == value)
    };
    let key = policy.text(condition.key);
    let candidates: Vec<Vec<u8>> = match condition.kind {
        ConditionKind::Consumer => {
            let consumer = policy.get(caller.state.consumer?);
            let text = match key {
                "id" => consumer.id,
                "custom_id" => consumer.custom_id,
                _ => consumer.username,
            };
            vec![policy.bytes(text).to_vec()]
        }
        ConditionKind::ConsumerGroup => select::groups(policy, caller.state.consumer?)
            .map(|group| policy.get(group))
            .map(|group| {
                policy
                    .bytes(if key == "id" { group.id } else { group.name })
                    .to_vec()
            })
            .collect(),
        ConditionKind::Header => vec![caller.headers.find(key.as_bytes())?.to_vec()],
        ConditionKind::Ip => vec![address_of(caller.address?).to_string().into_bytes()],
        ConditionKind::Model => vec![running.call.model.clone().into_bytes()],
        ConditionKind::Path => vec![caller.path.to_vec()],
        ConditionKind::Provider => vec![model.provider.name().as_bytes().to_vec()],
    };
    candidates.into_iter().find(|candidate| listed(candidate))
}

impl Exchange<'_> {
    /// Where the client's budgets stand (Kong `X-AI-RateLimit-*`).
    pub(in crate::exchange) fn write_budget_headers(&self, fields: &mut Outgoing<'_>) {
        let policy = &self.epoch.snapshot.policy;
        let Some(held) = self.held() else { return };
        if policy.get(held.budget).hide_headers {
            return;
        }
        for (index, demand) in held.demands.iter().enumerate() {
            let (standing, denied) = match &held.state {
                State::Reserved(reservation) => (reservation.standing(index), false),
                State::Denied { index: at, standing } => ((*at == index).then_some(*standing), true),
            };
            let Some(standing) = standing else { continue };
            let names = BudgetHeaders::new(u64::from(demand.ceiling.window), policy.text(demand.rule.name));
            names.write(
                standing.limit,
                standing.remaining,
                standing.reset_s,
                denied,
                |name, value| {
                    fields.set_with(name.as_bytes(), |out| push_decimal(value, out));
                },
            );
        }
    }

    /// Completes the answer of a spent budget: whose it is, and that repeating at once is no use.
    pub(in crate::exchange) fn write_budget_refusal(&self, fields: &mut Outgoing<'_>, message: &mut String) {
        let policy = &self.epoch.snapshot.policy;
        let Some(held) = self.held() else { return };
        let State::Denied { index, standing } = &held.state else {
            return;
        };
        let budget = policy.get(held.budget);
        if !budget.hide_providers
            && let Some(demand) = held.demands.get(*index)
        {
            message.push_str(policy.text(demand.rule.name));
        }
        self.write_budget_headers(fields);
        if !budget.hide_headers {
            fields.put_number(KnownHeader::RetryAfter, standing.reset_s);
            fields.set(b"x-should-retry", b"false");
        }
    }

    fn held(&self) -> Option<&Held> {
        self.record.ledger.running.as_ref()?.held.as_ref()
    }
}
