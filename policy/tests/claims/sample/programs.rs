//! The routes of the estate and their programs.

use policy::field::Method;
use policy::isa::{Instr, Op};
use policy::table::Table;

use super::assembly::Assembly;
use super::router::{Path, Wanted};
use super::{Entries, NOBODY, Scene};

fn at(prefix: &str) -> Wanted {
    Wanted {
        path: Path::Prefixes(vec![prefix.to_owned()]),
        ..Wanted::default()
    }
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

pub(super) fn write(scene: &mut Scene) {
    let everything = everything(scene);
    let hosts = strings(&["api.test", "*.api.test", "api.*", "port.test:8443"]);
    let api = Wanted {
        hosts,
        methods: strings(&["GET", "POST", "PURGE"]),
        headers: vec![("x-version".to_owned(), strings(&["1", "~*^b[0-9]+$"]))],
        ..at("/v1")
    };
    scene.route("api", api, &everything);
    let regex = Wanted {
        path: Path::Regexes(strings(&["/users/[0-9]+", "/users/me|/users/m"])),
        snis: strings(&["tls.test", "*.tls.test", "tls.*"]),
        ..Wanted::default()
    };
    let request = key_auth(scene);
    scene.route("keys", at("/keys"), &entries(request));
    scene.route("users", regex, &Entries::default());
    let request = basic_auth(scene);
    scene.route("basic", at("/basic"), &entries(request));
    let request = anonymous(scene);
    scene.route("anonymous", at("/anonymous"), &entries(request));
    let request = body_key(scene);
    scene.route("body", at("/body"), &entries(request));
    scene.route("root", at("/"), &Entries::default());
}

fn entries(request: Vec<Instr>) -> Entries {
    Entries {
        request,
        ..Entries::default()
    }
}

fn name(scene: &mut Scene, text: &str) -> u32 {
    scene.builder.names([text]).first
}

/// key-auth with `key_names: [apikey]` in header and query, without a preflight exemption.
fn key_steps(scene: &mut Scene, program: Assembly) -> Assembly {
    let apikey = name(scene, "apikey");
    let plugins = scene.plugins;
    program
        .test(Op::Header, 1, apikey, "query")
        .test(Op::Several, 1, 0, "found")
        .op(Op::Refuse, 0, plugins.duplicate.number())
        .place("query")
        .test(Op::Query, 1, apikey, "none")
        .test(Op::Several, 1, 0, "found")
        .op(Op::Refuse, 0, plugins.duplicate.number())
        .place("none")
        .op(Op::Refuse, 0, plugins.no_key.number())
        .place("found")
        .test(Op::Empty, 1, 0, "given")
        .op(Op::Refuse, 0, plugins.no_key.number())
        .place("given")
        .test(Op::Key, 2, 1, "unknown")
        .op(Op::Identify, 2, 0)
        .test(Op::Jump, 0, 0, "known")
        .place("unknown")
        .op(Op::Refuse, 0, plugins.unauthorized.number())
        .place("known")
}

fn key_auth(scene: &mut Scene) -> Vec<Instr> {
    let program = key_steps(scene, Assembly::new());
    let plugins = scene.plugins;
    program
        .constant(3, Table::Acl, plugins.allow.number())
        .op(Op::Acl, 3, 0)
        .apply(3, Table::Acl)
        .test(Op::Select, 4, plugins.quota_by_scope.number(), "free")
        .op(Op::Take, 4, 0)
        .apply(4, Table::Quota)
        .place("free")
        .op(Op::Forward, 0, 0)
        .finish()
}

/// basic-auth on `proxy-authorization`, then `authorization`.
fn basic_auth(scene: &mut Scene) -> Vec<Instr> {
    let first = name(scene, "proxy-authorization");
    let second = name(scene, "authorization");
    let plugins = scene.plugins;
    Assembly::new()
        .test(Op::Header, 1, first, "second")
        .test(Op::Basic, 2, 1, "second")
        .op(Op::Identify, 2, 0)
        .test(Op::Jump, 0, 0, "known")
        .place("second")
        .test(Op::Header, 1, second, "unknown")
        .test(Op::Basic, 2, 1, "unknown")
        .op(Op::Identify, 2, 0)
        .test(Op::Jump, 0, 0, "known")
        .place("unknown")
        .op(Op::Refuse, 0, plugins.unauthorized.number())
        .place("known")
        .constant(3, Table::Acl, plugins.deny.number())
        .op(Op::Acl, 3, 0)
        .op(Op::Forward, 0, 0)
        .finish()
}

/// key-auth with an anonymous consumer, then an allowing acl.
fn anonymous(scene: &mut Scene) -> Vec<Instr> {
    let apikey = name(scene, "apikey");
    let plugins = scene.plugins;
    Assembly::new()
        .test(Op::Header, 1, apikey, "unknown")
        .test(Op::Key, 2, 1, "unknown")
        .op(Op::Identify, 2, 0)
        .test(Op::Jump, 0, 0, "known")
        .place("unknown")
        .op(Op::Anonymous, 0, NOBODY)
        .place("known")
        .constant(3, Table::Acl, plugins.allow_groups.number())
        .op(Op::Acl, 3, 0)
        .test(Op::Select, 4, plugins.quota_by_group.number(), "free")
        .op(Op::Take, 4, 0)
        .place("free")
        .op(Op::Forward, 0, 0)
        .finish()
}

/// key-auth with `key_in_body`, then a budget.
fn body_key(scene: &mut Scene) -> Vec<Instr> {
    let apikey = name(scene, "apikey");
    let plugins = scene.plugins;
    Assembly::new()
        .constant(5, Table::Size, plugins.size.number())
        .op(Op::Size, 5, 0)
        .op(Op::Wait, 0, 0)
        .test(Op::BodyArgument, 1, apikey, "none")
        .test(Op::Key, 2, 1, "none")
        .op(Op::Identify, 2, 0)
        .constant(6, Table::Budget, plugins.budget.number())
        .op(Op::Reserve, 6, 0)
        .constant(7, Table::Model, plugins.model.number())
        .apply(7, Table::Model)
        .op(Op::Forward, 0, 0)
        .place("none")
        .op(Op::Refuse, 0, plugins.no_key.number())
        .finish()
}

/// Every plugin at once, in Kong's order, with entries for every phase.
fn everything(scene: &mut Scene) -> Entries {
    let version = name(scene, "x-version");
    let plugins = scene.plugins;
    let head = Assembly::new()
        .constant(0, Table::Correlation, plugins.correlation.number())
        .apply(0, Table::Correlation)
        .constant(0, Table::Cors, plugins.cors.number())
        .op(Op::Preflight, 0, 0)
        .apply(0, Table::Cors)
        .test(Op::Method, 0, Method::OPTIONS.0, "authenticate")
        .test(Op::Jump, 0, 0, "known")
        .place("authenticate");
    let request = key_steps(scene, head)
        .constant(0, Table::IpRule, plugins.lenient_ip.number())
        .op(Op::Ip, 0, 0)
        .constant(0, Table::Size, plugins.strict_size.number())
        .op(Op::Size, 0, 0)
        .test(Op::Header, 5, version, "acl")
        .test(Op::Match, 5, plugins.regex.number(), "acl")
        .constant(6, Table::EditList, plugins.edits.number())
        .apply(6, Table::EditList)
        .place("acl")
        .constant(0, Table::Acl, plugins.allow.number())
        .op(Op::Acl, 0, 0)
        .test(Op::Select, 4, plugins.quota_by_scope.number(), "free")
        .op(Op::Take, 4, 0)
        .place("free")
        .constant(7, Table::Response, plugins.triggered.number())
        .op(Op::Respond, 7, 0)
        .op(Op::Forward, 0, 0)
        .finish();
    Entries {
        request,
        body: Assembly::new()
            .constant(0, Table::Budget, plugins.budget.number())
            .op(Op::Reserve, 0, 0)
            .op(Op::Forward, 0, 0)
            .finish(),
        response: Assembly::new()
            .constant(0, Table::Cors, plugins.cors.number())
            .apply(0, Table::Cors)
            .test(Op::Authenticated, 0, 0, "end")
            .test(Op::Select, 1, plugins.quota_by_scope.number(), "end")
            .apply(1, Table::Quota)
            .place("end")
            .op(Op::Forward, 0, 0)
            .finish(),
        chunk: Assembly::new().op(Op::Forward, 0, 0).finish(),
        end: Assembly::new()
            .constant(0, Table::Log, plugins.log.number())
            .apply(0, Table::Log)
            .constant(1, Table::Metrics, plugins.metrics.number())
            .apply(1, Table::Metrics)
            .op(Op::Forward, 0, 0)
            .finish(),
    }
}
