//! Which limits of a budget a call meets: the rules of its provider, or the policies whose conditions it fulfils.

use policy::table::{Budget, Condition, ConditionKind, Consumer, Group, Id, Model, Rule};
use policy::vm::State;
use policy::{Policy, select};
use serde_json::Value;

use super::Request;

/// A budget that was asked.
pub struct Asked {
    /// The budget.
    pub budget: Id<Budget>,
    /// The rules that this call meets; none if no policy is about it.
    pub rules: Vec<Rule>,
}

/// The rules of `budget` that a call to `model` meets; with it comes its name where the request makes it.
pub(super) fn rules(
    policy: &Policy,
    budget: Id<Budget>,
    request: &Request,
    state: &State,
    model: Option<(Id<Model>, Option<&str>)>,
) -> Vec<Rule> {
    let budget = policy.get(budget);
    let call = Call {
        policy,
        request,
        consumer: state.consumer,
        model: model.map(|(id, _)| policy.get(id)),
        rendered: model.and_then(|(_, rendered)| rendered),
    };
    let all = || policy.rows(budget.rules);
    if !budget.policies {
        return all()
            .filter(|rule| call.provider() == Some(policy.text(rule.name)))
            .collect();
    }
    let special: Vec<Rule> = all()
        .filter(|rule| {
            !rule.conditions.is_empty() && policy.rows(rule.conditions).all(|it| call.fulfils(&it))
        })
        .collect();
    if special.is_empty() {
        // Policies without conditions are for calls that no other is about.
        return all().filter(|rule| rule.conditions.is_empty()).collect();
    }
    special
}

struct Call<'c> {
    policy: &'c Policy,
    request: &'c Request,
    consumer: Option<Id<Consumer>>,
    model: Option<Model>,
    rendered: Option<&'c str>,
}

impl Call<'_> {
    fn provider(&self) -> Option<&'static str> {
        self.model.map(|model| model.provider.name())
    }

    fn fulfils(&self, condition: &Condition) -> bool {
        let listed = |value: &String| {
            condition.values.is_empty()
                || self
                    .policy
                    .rows(condition.values)
                    .any(|name| self.policy.text(name.text) == value)
        };
        self.values(condition).iter().any(listed)
    }

    /// What the call has of the kind that a condition is about.
    fn values(&self, condition: &Condition) -> Vec<String> {
        let (policy, key) = (self.policy, self.policy.text(condition.key));
        let one: Option<String> = match condition.kind {
            ConditionKind::Consumer => self.consumer.map(|id| {
                let consumer = policy.get(id);
                let text = match key {
                    "id" => consumer.id,
                    "custom_id" => consumer.custom_id,
                    _ => consumer.username,
                };
                policy.text(text).to_owned()
            }),
            ConditionKind::ConsumerGroup => {
                let groups = self
                    .consumer
                    .into_iter()
                    .flat_map(|id| select::groups(policy, id));
                let text = |group: Id<Group>| {
                    let group = policy.get(group);
                    policy.text(if key == "id" { group.id } else { group.name })
                };
                return groups.map(|group| text(group).to_owned()).collect();
            }
            ConditionKind::Header => self.request.values(key).next().map(str::to_owned),
            ConditionKind::Ip => self
                .request
                .client
                .map(|address| address.to_canonical().to_string()),
            ConditionKind::Model => self.model_name(),
            ConditionKind::Path => Some(self.request.path.clone()),
            ConditionKind::Provider => self.provider().map(str::to_owned),
        };
        one.into_iter().collect()
    }

    /// The configured model, or the one that the body names.
    fn model_name(&self) -> Option<String> {
        let model = self.model?;
        match self.rendered.unwrap_or(self.policy.text(model.name)) {
            "" => {
                let body: Value = serde_json::from_slice(self.request.body.as_deref()?).ok()?;
                body.get("model")?.as_str().map(str::to_owned)
            }
            name => Some(name.to_owned()),
        }
    }
}
