//! Routing tables from subroutes in rank order, as the compiler would lay them out but written apart from it.

use std::collections::{BTreeMap, VecDeque};

use policy::artifact::Builder;
use policy::field::Method;
use policy::table::{
    Bucket, Candidate, HeaderTest, Host, Id, Node, Regex, Route, Rows, Seed, Subroute, Text,
};
use policy::{index, route};
use regex_automata::dfa::{StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

/// The path test of a subroute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Path {
    #[default]
    Any,
    /// Prefixes of one length.
    Prefixes(Vec<String>),
    Regexes(Vec<String>),
}

/// A subroute, as an operator would write it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) hosts: Vec<String>,
    pub(crate) path: Path,
    pub(crate) methods: Vec<String>,
    /// Name and alternatives; an alternative that starts with `~*` is a regex.
    pub(crate) headers: Vec<(String, Vec<String>)>,
    pub(crate) snis: Vec<String>,
}

/// What `Meta` needs to know of the tables.
#[derive(Clone, Copy)]
pub(crate) struct Hosts {
    pub(crate) hosts: Rows<Host>,
    pub(crate) seeds: Rows<Seed>,
    pub(crate) suffix: bool,
    pub(crate) prefix: bool,
    pub(crate) port: bool,
    pub(crate) any: Option<Id<Bucket>>,
}

pub(crate) fn write(builder: &mut Builder, salt: &[u8; 32], ranked: &[(Wanted, Id<Route>)]) -> Hosts {
    let rows: Vec<Subroute> = ranked
        .iter()
        .map(|(wanted, route)| subroute(builder, wanted, *route))
        .collect();
    builder.unique_list(&rows);
    let mut by_host: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (rank, (wanted, _)) in (0..).zip(ranked) {
        if wanted.hosts.is_empty() {
            by_host.entry(String::new()).or_default().push(rank);
        }
        for host in &wanted.hosts {
            let ranks = by_host.entry(key(host)).or_default();
            if ranks.last() != Some(&rank) {
                ranks.push(rank);
            }
        }
    }
    let any = by_host.remove("").map(|ranks| bucket(builder, ranked, &ranks));
    let keys: Vec<String> = by_host.keys().cloned().collect();
    let hashes: Vec<u64> = keys
        .iter()
        .map(|key| route::host_hash(salt, key.as_bytes()))
        .collect();
    let index = index::build(&hashes).expect("host keys differ");
    let hosts: Vec<Host> = index
        .order
        .iter()
        .map(|&number| {
            let key = &keys[number as usize];
            Host {
                key: builder.text(key),
                bucket: bucket(builder, ranked, &by_host[key]),
            }
        })
        .collect();
    let seeds: Vec<Seed> = index.seeds.iter().map(|&seed| Seed { seed }).collect();
    let all = || ranked.iter().flat_map(|(wanted, _)| &wanted.hosts);
    Hosts {
        hosts: builder.unique_list(&hosts),
        seeds: builder.unique_list(&seeds),
        suffix: all().any(|host| host.starts_with('*')),
        prefix: all().any(|host| split(host).0.ends_with('*')),
        port: all().any(|host| split(host).1.is_some()),
        any,
    }
}

/// Host and port of a pattern.
pub(crate) fn split(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().expect("a port"))),
        None => (host, None),
    }
}

fn key(host: &str) -> String {
    host.replace('*', "")
}

fn subroute(builder: &mut Builder, wanted: &Wanted, route: Id<Route>) -> Subroute {
    let methods = wanted.methods.iter();
    let others: Vec<&str> = methods
        .clone()
        .filter(|name| Method::from_name(name.as_bytes()) == Method::OTHER)
        .map(String::as_str)
        .collect();
    let headers: Vec<HeaderTest> = wanted
        .headers
        .iter()
        .map(|(name, values)| {
            let (regexes, plain): (Vec<&String>, Vec<&String>) =
                values.iter().partition(|value| value.starts_with("~*"));
            let patterns: Vec<String> = regexes.iter().map(|regex| regex[2..].to_owned()).collect();
            HeaderTest {
                name: builder.text(name),
                values: builder.names(plain.iter().map(|value| value.as_str())),
                regex: (!patterns.is_empty()).then(|| header_regex(builder, &patterns)),
            }
        })
        .collect();
    Subroute {
        route,
        priority: 0,
        methods: methods.fold(0, |mask, name| mask | Method::from_name(name.as_bytes()).0),
        other_methods: builder.names(others),
        headers: builder.list(&headers),
        snis: builder.names(wanted.snis.iter().map(String::as_str)),
        regex: match &wanted.path {
            Path::Regexes(patterns) => Some(path_regex(builder, patterns)),
            _ => None,
        },
        prefix_len: match &wanted.path {
            Path::Prefixes(prefixes) => u32::try_from(prefixes[0].len()).expect("prefixes are short"),
            _ => 0,
        },
    }
}

pub(crate) fn path_regex(builder: &mut Builder, patterns: &[String]) -> Id<Regex> {
    let automaton = builder.automaton(&automaton(patterns));
    let patterns = builder.names(patterns.iter().map(String::as_str));
    builder.row(&Regex {
        dfa: automaton,
        patterns,
    })
}

/// Kong searches header values anywhere, so the automaton may skip to the match.
fn header_regex(builder: &mut Builder, patterns: &[String]) -> Id<Regex> {
    let anywhere: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("(?is:.)*?(?i:{pattern})"))
        .collect();
    path_regex(builder, &anywhere)
}

pub(crate) fn automaton(patterns: &[String]) -> Vec<u8> {
    let dfa = dense::Builder::new()
        .configure(dense::Config::new().start_kind(StartKind::Anchored))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build_many(patterns)
        .expect("the patterns are small");
    let (bytes, padding) = dfa.to_bytes_little_endian();
    bytes[padding..].to_vec()
}

fn bucket(builder: &mut Builder, ranked: &[(Wanted, Id<Route>)], ranks: &[u32]) -> Id<Bucket> {
    let mut prefixes: Vec<(&str, u32)> = Vec::new();
    let (mut regexes, mut bare) = (Vec::new(), Vec::new());
    for &rank in ranks {
        let candidate = Candidate {
            subroute: Id::new(rank),
        };
        match &ranked[rank as usize].0.path {
            Path::Any => bare.push(candidate),
            Path::Regexes(_) => regexes.push(candidate),
            Path::Prefixes(all) => prefixes.extend(all.iter().map(|prefix| (prefix.as_str(), rank))),
        }
    }
    let row = Bucket {
        prefixes: (!prefixes.is_empty()).then(|| tree(builder, &prefixes)),
        regexes: builder.list(&regexes),
        bare: builder.list(&bare),
    };
    builder.row(&row)
}

#[derive(Default)]
struct Twig {
    label: String,
    children: BTreeMap<u8, Self>,
    ranks: Vec<u32>,
}

impl Twig {
    fn insert(&mut self, prefix: &str, rank: u32) {
        let shared = self
            .label
            .bytes()
            .zip(prefix.bytes())
            .take_while(|(mine, theirs)| mine == theirs)
            .count();
        if shared < self.label.len() {
            let rest = Self {
                label: self.label.split_off(shared),
                children: std::mem::take(&mut self.children),
                ranks: std::mem::take(&mut self.ranks),
            };
            self.children.insert(rest.label.as_bytes()[0], rest);
        }
        let rest = &prefix[shared..];
        match rest.bytes().next() {
            None if self.ranks.last() == Some(&rank) => {}
            None => self.ranks.push(rank),
            Some(first) => self
                .children
                .entry(first)
                .or_insert_with(|| Self {
                    label: rest.to_owned(),
                    ..Self::default()
                })
                .insert(rest, rank),
        }
    }
}

fn tree(builder: &mut Builder, prefixes: &[(&str, u32)]) -> Id<Node> {
    const OPEN: Node = Node {
        label: Text::EMPTY,
        children: Rows::NONE,
        candidates: Rows::NONE,
    };
    let mut root = Twig::default();
    for &(prefix, rank) in prefixes {
        root.insert(prefix, rank);
    }
    let first = builder.row(&OPEN);
    let mut open = VecDeque::from([(first, &root)]);
    while let Some((id, twig)) = open.pop_front() {
        let children = builder.unique_list(&vec![OPEN; twig.children.len()]);
        let candidates: Vec<Candidate> = twig
            .ranks
            .iter()
            .map(|&rank| Candidate {
                subroute: Id::new(rank),
            })
            .collect();
        let node = Node {
            label: builder.text(&twig.label),
            children,
            candidates: builder.list(&candidates),
        };
        builder.set(id, &node);
        open.extend(children.ids().zip(twig.children.values()));
    }
    first
}
