//! key-auth: the caller is who holds the key found in a header, the query or the body (Kong 3.15 key-auth).
//!
//! For each of `key_names` in order: header, query, body. The first value found is used, an empty one ends the
//! search, and a name that comes several times is refused.

use policy::field::Method;
use policy::isa::Op;
use policy::table::{EditOp, EditPlace, Table};

use super::{Config, Failure, How, Lowering};
use crate::deck::entity::Plugin;
use crate::lower::{Answer, Block, Context, Label};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::KeyAuth,
    how: How::Authenticate(lower),
};

const KEY: u8 = 0;
const CREDENTIAL: u8 = 1;
const EDITS: u8 = 2;

fn lower(context: &mut Context<'_>, plugin: &Plugin, block: &mut Block) {
    let config = Config(&plugin.config);
    super::refuse_directories(context, plugin);
    let refusals = Refusals::of(context, plugin);
    let failure = Failure::of(context, plugin);
    let done = block.label();
    if !config.flag_or("run_on_preflight", true) {
        let checked = block.label();
        block.test(Op::Method, 0, Method::OPTIONS.0, checked);
        block.jump(done);
        block.place(checked);
    }
    failure.skip_if_known(block, done);
    let mut body_is_read = false;
    for (name, span) in config.texts("key_names") {
        let next = block.label();
        search(context, config, name, next, &mut body_is_read, block);
        let once = block.label();
        block.test(Op::Several, KEY, 0, once);
        failure.emit(block, refusals.duplicate, done);
        block.place(once);
        if config.flag("hide_credentials") && !super::transformer::refuse_name(context, name, span) {
            let edits = hide(context, plugin, name);
            block.constant(EDITS, Table::EditList, edits);
            block.apply(EDITS, Table::EditList);
        }
        let present = block.label();
        block.test(Op::Empty, KEY, 0, present);
        failure.emit(block, refusals.missing, done);
        block.place(present);
        let unknown = block.label();
        block.test(Op::Key, CREDENTIAL, u32::from(KEY), unknown);
        block.step(Op::Identify, CREDENTIAL, 0);
        block.jump(done);
        block.place(unknown);
        failure.emit(block, refusals.unknown, done);
        block.place(next);
    }
    failure.emit(block, refusals.missing, done);
    block.place(done);
}

struct Refusals {
    missing: u32,
    duplicate: u32,
    unknown: u32,
}

impl Refusals {
    fn of(context: &mut Context<'_>, plugin: &Plugin) -> Self {
        let challenge = super::challenge(context, "Key", Config(&plugin.config));
        let headers = [("WWW-Authenticate", &*challenge)];
        let mut refusal = |message| {
            let answer = Answer {
                headers: &headers,
                ..Answer::error(401, message)
            };
            context.refusal(plugin, &answer).number()
        };
        Self {
            missing: refusal("No API key found in request"),
            duplicate: refusal("Duplicate API key found"),
            unknown: refusal("Unauthorized"),
        }
    }
}

/// Looks for one name; goes on where it is found, and to `next` when it is nowhere.
fn search(
    context: &mut Context<'_>,
    config: Config<'_>,
    name: &str,
    next: Label,
    body_is_read: &mut bool,
    block: &mut Block,
) {
    let mut places = Vec::new();
    if config.flag_or("key_in_header", true) {
        places.push((Op::Header, context.name(&name.to_ascii_lowercase())));
    }
    if config.flag_or("key_in_query", true) {
        places.push((Op::Query, context.name(name)));
    }
    if config.flag("key_in_body") {
        places.push((Op::BodyArgument, context.name(name)));
    }
    let found = block.label();
    let Some((last, others)) = places.split_last() else {
        block.jump(next);
        block.place(found);
        return;
    };
    for &(op, name) in others {
        let absent = block.label();
        block.test(op, KEY, name, absent);
        block.jump(found);
        block.place(absent);
    }
    // A later name is only looked for after the first one's body was, so one question is enough.
    if last.0 == Op::BodyArgument && !*body_is_read {
        block.step(Op::Wait, 0, policy::vm::Question::Body as u32);
        *body_is_read = true;
    }
    block.test(last.0, KEY, last.1, next);
    block.place(found);
}

/// Takes the name away from wherever it is.
fn hide(context: &mut Context<'_>, plugin: &Plugin, name: &str) -> u32 {
    let mut places = vec![EditPlace::Header, EditPlace::Query];
    if Config(&plugin.config).flag("key_in_body") {
        places.push(EditPlace::Body);
    }
    let edits: Vec<_> = places
        .into_iter()
        .map(|place| context.edit(EditOp::Remove, place, name, &[]))
        .collect();
    context.edit_list(plugin, &edits, false).number()
}
