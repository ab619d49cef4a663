//! The same estate in two general policy engines. Neither counts a quota.

use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
};
use regorus::{Engine, Value};

use super::estate::{self, Call, Size};

/// Cedar decides the acl alone: it is told the route and the consumer, which it cannot find.
pub(crate) struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    action: EntityUid,
}

fn uid(kind: &str, id: &str) -> EntityUid {
    let kind = EntityTypeName::from_str(kind).expect("a type name");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

impl Cedar {
    pub(crate) fn new(size: Size) -> Self {
        let policies: String = (0..size.routes)
            .map(|route| {
                let group = estate::group(route);
                format!(
                    "permit(principal in Group::\"{group}\", action == Action::\"call\", resource == Route::\"{route}\");\n"
                )
            })
            .collect();
        let consumers = (0..size.keys).map(|consumer| {
            let group = uid("Group", &estate::group(consumer).to_string());
            Entity::new_no_attrs(uid("Consumer", &consumer.to_string()), [group].into())
        });
        Self {
            authorizer: Authorizer::new(),
            policies: PolicySet::from_str(&policies).expect("Cedar's syntax"),
            entities: Entities::from_entities(consumers, None).expect("no cycle"),
            action: uid("Action", "call"),
        }
    }

    pub(crate) fn allows(&self, call: &Call) -> bool {
        let request = Request::new(
            uid("Consumer", &call.consumer.to_string()),
            self.action.clone(),
            uid("Route", &call.route.to_string()),
            Context::empty(),
            None,
        )
        .expect("no schema");
        let answer = self
            .authorizer
            .is_authorized(&request, &self.policies, &self.entities);
        answer.decision() == Decision::Allow
    }
}

/// Rego finds route, consumer and groups in objects, which it reads by hash.
pub(crate) struct Regorus {
    engine: Engine,
}

const REGO: &str = r#"
package gateway
import rego.v1

default allow := false

prefixes contains [count(route.prefix), route.group] if {
    some route in data.hosts[input.host]
    startswith(input.path, route.prefix)
}

allow if {
    [_, group] := max(prefixes)
    data.keys[input.key] == group
}
"#;

impl Regorus {
    pub(crate) fn new(size: Size) -> Self {
        let mut hosts: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
        for route in 0..size.routes {
            let (prefix, group) = (estate::prefix(route), estate::group(route));
            let row = format!("{{\"prefix\": \"{prefix}\", \"group\": {group}}}");
            hosts.entry(estate::host(route)).or_default().push(row);
        }
        let hosts: Vec<String> = hosts
            .iter()
            .map(|(host, rows)| format!("\"{host}\": [{}]", rows.join(",")))
            .collect();
        let keys: Vec<String> = (0..size.keys)
            .map(|consumer| format!("\"{}\": {}", estate::key(consumer), estate::group(consumer)))
            .collect();
        let data = format!(
            "{{\"hosts\": {{{}}}, \"keys\": {{{}}}}}",
            hosts.join(","),
            keys.join(",")
        );
        let mut engine = Engine::new();
        engine
            .add_policy("gateway.rego".to_owned(), REGO.to_owned())
            .expect("Rego's syntax");
        engine
            .add_data(Value::from_json_str(&data).expect("JSON"))
            .expect("an object");
        Self { engine }
    }

    pub(crate) fn allows(&mut self, call: &Call) -> bool {
        let text = |text: &[u8]| Value::String(str::from_utf8(text).expect("ASCII").into());
        let input = [
            (text(b"host"), text(call.host.bytes())),
            (text(b"path"), text(call.path.bytes())),
            (text(b"key"), text(call.key.bytes())),
        ];
        let input: std::collections::BTreeMap<Value, Value> = input.into();
        self.engine.set_input(Value::from(input));
        let allow = self.engine.eval_rule("data.gateway.allow".to_owned());
        allow.expect("the rule evaluates") == Value::from(true)
    }
}
