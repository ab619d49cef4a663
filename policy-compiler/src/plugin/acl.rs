//! acl: consumers by the groups that their `acls` give them (Kong 3.15 acl).

use policy::isa::{Entry, Op};
use policy::table::{Acl, Id, Membership, Table};

use super::{How, Instance, Lowering, Step};
use crate::deck::entity::ConsumerGroupIndex;
use crate::lower::{Answer, Context};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::Acl,
    how: How::Row {
        table: Table::Acl,
        // Applied so that the exchange sends `X-Consumer-Groups`.
        steps: &[
            Step::always(Entry::Request, Op::Acl),
            Step::always(Entry::Request, Op::Apply),
        ],
        lower,
    },
};

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let (plugin, config) = (instance.plugin, instance.config());
    let allow = config.has("allow");
    let names: Vec<&str> = config
        .texts(if allow { "allow" } else { "deny" })
        .map(|(name, _)| name)
        .collect();
    let mut members: Vec<Membership> = Vec::new();
    if config.flag("include_consumer_groups") {
        let groups = (0..).map(ConsumerGroupIndex).zip(&context.model.consumer_groups);
        let mut rows: Vec<u32> = groups
            .filter(|(_, group)| names.contains(&&*group.name))
            .map(|(index, _)| context.group_row(index))
            .collect();
        rows.sort_unstable();
        members.extend(rows.into_iter().map(|row| Membership { group: Id::new(row) }));
    }
    let row = Acl {
        source: context.source(plugin.meta.span),
        allow,
        groups: context.acl_words(names.iter().copied()),
        consumer_groups: context.builder.list(&members),
        unauthorized: context.refusal(plugin, &Answer::error(401, "Unauthorized")),
        forbidden: context.refusal(plugin, &Answer::error(403, "You cannot consume this service")),
        hide_groups_header: config.flag("hide_groups_header"),
    };
    context.builder.row(&row).number()
}
