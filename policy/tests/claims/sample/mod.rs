//! A small estate with every table filled: consumers, credentials, plugins; and routes that use them.

pub(crate) mod assembly;
mod plugins;
pub(crate) mod probes;
mod programs;
pub(crate) mod random;
pub(crate) mod request;
pub(crate) mod router;
pub(crate) mod streams;
pub(crate) mod tamper;

use std::collections::BTreeMap;

use policy::artifact::{BuildError, Builder, Limits};
use policy::digest::{self, Domain};
use policy::isa::Instr;
use policy::table::{
    Acl, Code, Compat, Consumer, Credential, Group, Id, Membership, Meta, Proof, Route, Rows, Seed, Sni,
    Text, Word,
};
use policy::{Policy, index};

pub(crate) use plugins::Plugins;
use router::{Path, Wanted};

pub(crate) const SALT: [u8; 32] = [7; 32];

/// Rows of the consumers.
pub(crate) const NOBODY: u32 = 0;
pub(crate) const ALICE: u32 = 1;
pub(crate) const BOB: u32 = 2;
pub(crate) const CAROL: u32 = 3;

/// ACL groups by their bit; the last one stands in a second word.
pub(crate) const GOLD: u32 = 0;
pub(crate) const SILVER: u32 = 1;
pub(crate) const BLACK: u32 = 33;

/// Routes by their names.
pub(crate) type Routes = BTreeMap<String, Id<Route>>;

/// An artifact being assembled.
pub(crate) struct Scene {
    pub(crate) builder: Builder,
    pub(crate) plugins: Plugins,
    routes: Vec<(Wanted, Id<Route>)>,
    names: Routes,
    unmatched: Id<Route>,
    keys: (Rows<Credential>, Rows<Seed>),
    basics: (Rows<Credential>, Rows<Seed>),
    snis: Rows<Sni>,
}

/// A finished artifact.
pub(crate) struct Sample {
    pub(crate) file: Vec<u8>,
    pub(crate) policy: Policy,
    pub(crate) routes: Routes,
}

/// The entries of a route.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) request: Vec<Instr>,
    pub(crate) body: Vec<Instr>,
    pub(crate) response: Vec<Instr>,
    pub(crate) chunk: Vec<Instr>,
    pub(crate) end: Vec<Instr>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new();
        let people = people(&mut builder);
        let keys = keys(&mut builder, &people);
        let basics = basics(&mut builder, &people);
        let plugins = Plugins::write(&mut builder);
        let snis = plugins::snis(&mut builder);
        let unmatched = builder.row(&Route {
            source: Some(plugins.source),
            ..Route::EMPTY
        });
        Self {
            builder,
            plugins,
            routes: Vec::new(),
            names: BTreeMap::new(),
            unmatched,
            keys,
            basics,
            snis,
        }
    }

    /// A consumer's row, without groups.
    pub(crate) fn consumer(&mut self, number: u32) -> Consumer {
        let name = self.builder.text(&format!("consumer-{number}"));
        Consumer {
            id: name,
            username: name,
            custom_id: Text::EMPTY,
            acl: Rows::NONE,
            acl_header: Text::EMPTY,
            groups: Rows::NONE,
            json: Text::EMPTY,
        }
    }

    /// An acl that lists nobody.
    pub(crate) fn acl(&self, allow: bool) -> Acl {
        Acl {
            source: None,
            allow,
            groups: Rows::NONE,
            consumer_groups: Rows::NONE,
            unauthorized: self.plugins.unauthorized,
            forbidden: self.plugins.forbidden,
            hide_groups_header: false,
        }
    }

    /// Adds a route below those that are there.
    pub(crate) fn route(&mut self, name: &str, wanted: Wanted, entries: &Entries) -> Id<Route> {
        let mut code = |instrs: &[Instr]| Code((!instrs.is_empty()).then(|| self.builder.program(instrs)));
        let row = Route {
            on_request: code(&entries.request),
            on_body: code(&entries.body),
            on_response: code(&entries.response),
            on_chunk: code(&entries.chunk),
            on_end: code(&entries.end),
            name: self.builder.text(name),
            service: Some(self.plugins.service),
            source: Some(self.plugins.source),
            ..Route::EMPTY
        };
        let id = self.builder.row(&row);
        self.routes.push((wanted, id));
        self.names.insert(name.to_owned(), id);
        id
    }

    /// Adds a route at a path of its own, which runs `request`.
    pub(crate) fn program(&mut self, name: &str, request: Vec<Instr>) -> Id<Route> {
        let wanted = Wanted {
            path: Path::Prefixes(vec![format!("/{name}")]),
            ..Wanted::default()
        };
        let entries = Entries {
            request,
            ..Entries::default()
        };
        self.route(name, wanted, &entries)
    }

    pub(crate) fn try_finish(mut self) -> Result<(Vec<u8>, Routes), BuildError> {
        let hosts = router::write(&mut self.builder, &SALT, &self.routes);
        let workspace = self.builder.text("default");
        self.builder.row(&Meta {
            compat: Compat::V3_9,
            salt: SALT,
            workspace,
            hosts: hosts.hosts,
            host_seeds: hosts.seeds,
            suffix_hosts: hosts.suffix,
            prefix_hosts: hosts.prefix,
            port_hosts: hosts.port,
            any_host: hosts.any,
            route_cost: 0,
            keys: self.keys.0,
            key_seeds: self.keys.1,
            basics: self.basics.0,
            basic_seeds: self.basics.1,
            unmatched: self.unmatched,
            snis: self.snis,
        });
        Ok((self.builder.finish([1; 32], 5)?, self.names))
    }

    pub(crate) fn finish(self) -> Sample {
        let (file, routes) = self.try_finish().expect("the sample is sound");
        let policy = Policy::load(&file, Limits::default()).expect("what the builder proves is loaded");
        Sample { file, policy, routes }
    }
}

/// The estate with its ordinary routes.
pub(crate) fn estate() -> Scene {
    let mut scene = Scene::new();
    programs::write(&mut scene);
    streams::write(&mut scene);
    scene
}

/// One route without plugins: the smallest file that is worth flipping every bit of.
pub(crate) fn tiny() -> Vec<u8> {
    let mut builder = Builder::new();
    let id = builder.row(&Route {
        on_request: Code(Some(0)),
        ..Route::EMPTY
    });
    builder.program(
        &assembly::Assembly::new()
            .op(policy::isa::Op::Forward, 0, 0)
            .finish(),
    );
    let wanted = Wanted {
        hosts: vec!["a.test".to_owned()],
        path: Path::Prefixes(vec!["/a".to_owned()]),
        ..Wanted::default()
    };
    let hosts = router::write(&mut builder, &SALT, &[(wanted, id)]);
    builder.row(&Meta {
        hosts: hosts.hosts,
        host_seeds: hosts.seeds,
        any_host: None,
        unmatched: id,
        salt: SALT,
        ..Meta::EMPTY
    });
    builder.finish([0; 32], 1).expect("the tiny artifact is sound")
}

fn people(builder: &mut Builder) -> Vec<Id<Consumer>> {
    for name in ["alpha", "beta", "gamma"] {
        let group = Group {
            id: builder.text(&format!("id-of-{name}")),
            name: builder.text(name),
        };
        builder.row(&group);
    }
    let members: [(&str, &[u32], &[u32]); 4] = [
        ("nobody", &[], &[]),
        ("alice", &[GOLD], &[0]),
        ("bob", &[SILVER, BLACK], &[0, 1]),
        ("carol", &[], &[]),
    ];
    members
        .into_iter()
        .map(|(name, acl, groups)| {
            let memberships: Vec<Membership> = groups
                .iter()
                .map(|&group| Membership {
                    group: Id::new(group),
                })
                .collect();
            let row = Consumer {
                id: builder.text(&format!("id-of-{name}")),
                username: builder.text(name),
                custom_id: builder.text(&format!("custom-{name}")),
                acl: bits(builder, acl),
                acl_header: builder.text("gold, silver"),
                groups: builder.list(&memberships),
                json: builder.text("{}"),
            };
            builder.row(&row)
        })
        .collect()
}

/// A bit set with these members.
pub(crate) fn bits(builder: &mut Builder, members: &[u32]) -> Rows<Word> {
    let words = members.iter().map(|member| member / 32 + 1).max().unwrap_or(0);
    let mut set = vec![Word { bits: 0 }; words as usize];
    for &member in members {
        set[member as usize / 32].bits |= 1 << (member % 32);
    }
    builder.list(&set)
}

fn keys(builder: &mut Builder, people: &[Id<Consumer>]) -> (Rows<Credential>, Rows<Seed>) {
    let rows: Vec<Credential> = [("key-alice", ALICE), ("key-bob", BOB), ("key-carol", CAROL)]
        .into_iter()
        .map(|(key, owner)| Credential {
            lookup: digest::keyed(&SALT, Domain::Key, &[key.as_bytes()]),
            proof: Proof::Lookup,
            digest: [0; 32],
            consumer: people[owner as usize],
            id: builder.text(&format!("credential-{key}")),
            identifier: builder.text(&format!("credential-{key}")),
        })
        .collect();
    indexed(builder, &rows)
}

fn basics(builder: &mut Builder, people: &[Id<Consumer>]) -> (Rows<Credential>, Rows<Seed>) {
    let rows: Vec<Credential> = [
        ("alice", "open sesame", ALICE),
        ("bob", "b:b", BOB),
        ("empty", "", CAROL),
    ]
    .into_iter()
    .map(|(user, password, owner)| Credential {
        lookup: digest::keyed(&SALT, Domain::User, &[user.as_bytes()]),
        proof: Proof::Keyed,
        digest: digest::keyed(&SALT, Domain::Password, &[user.as_bytes(), password.as_bytes()]),
        consumer: people[owner as usize],
        id: builder.text(&format!("basic-{user}")),
        identifier: builder.text(user),
    })
    .collect();
    let hashed = Credential {
        lookup: digest::keyed(&SALT, Domain::User, &[b"hashed"]),
        proof: Proof::Hashed,
        digest: digest::keyed(&SALT, Domain::Hashed, &[b"hashed", KONG_HASH.as_bytes()]),
        consumer: people[ALICE as usize],
        id: builder.text("basic-hashed"),
        identifier: builder.text("hashed"),
    };
    indexed(builder, &[rows, vec![hashed]].concat())
}

/// SHA-1 of `open sesame` and `id-of-alice`, made by another program.
const KONG_HASH: &str = "8bf82096c2dfa1ac9adf96bc9109802bd26f4bce";

fn indexed(builder: &mut Builder, rows: &[Credential]) -> (Rows<Credential>, Rows<Seed>) {
    let hashes: Vec<u64> = rows.iter().map(|row| digest::index_hash(&row.lookup)).collect();
    let index = index::build(&hashes).expect("the credentials differ");
    let ordered: Vec<Credential> = index.order.iter().map(|&number| rows[number as usize]).collect();
    let seeds: Vec<Seed> = index.seeds.iter().map(|&seed| Seed { seed }).collect();
    (builder.unique_list(&ordered), builder.unique_list(&seeds))
}
