//! basic-auth: user name and password of `Proxy-Authorization`, else of `Authorization` (RFC 7617, Kong 3.15).

use policy::isa::Op;
use policy::table::{EditOp, EditPlace, Table};

use super::{Config, Failure, How, Lowering};
use crate::deck::entity::Plugin;
use crate::lower::{Answer, Block, Context};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::BasicAuth,
    how: How::Authenticate(lower),
};

const VALUE: u8 = 0;
const CREDENTIAL: u8 = 1;
const EDITS: u8 = 2;

fn lower(context: &mut Context<'_>, plugin: &Plugin, block: &mut Block) {
    let config = Config(&plugin.config);
    super::refuse_directories(context, plugin);
    if config
        .word("brute_force_protection.strategy")
        .is_some_and(|strategy| strategy != "off")
    {
        context.unsupported(
            config.span("brute_force_protection"),
            "`brute_force_protection` of basic-auth is not enforced",
            "wrong passwords are refused but not counted",
        );
    }
    let challenge = super::challenge(context, "Basic", config);
    let answer = Answer {
        headers: &[("WWW-Authenticate", &challenge)],
        ..Answer::error(401, "Unauthorized")
    };
    let refusal = context.refusal(plugin, &answer).number();
    let failure = Failure::of(context, plugin);
    let done = block.label();
    failure.skip_if_known(block, done);
    for header in ["proxy-authorization", "authorization"] {
        let next = block.label();
        if config.flag("hide_credentials") {
            let edit = context.edit(EditOp::Remove, EditPlace::Header, header, &[]);
            let edits = context.edit_list(plugin, &[edit], false).number();
            block.constant(EDITS, Table::EditList, edits);
            block.apply(EDITS, Table::EditList);
        }
        let name = context.name(header);
        block.test(Op::Header, VALUE, name, next);
        block.test(Op::Basic, CREDENTIAL, u32::from(VALUE), next);
        block.step(Op::Identify, CREDENTIAL, 0);
        block.jump(done);
        block.place(next);
    }
    failure.emit(block, refusal, done);
    block.place(done);
}
