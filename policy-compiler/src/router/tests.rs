//! Order, splitting, shadows and automata of hand-written routes.

use proptest::prelude::*;

use super::*;
use crate::deck::entity::HeaderMatch;
use crate::deck::entity::sample::{self, spanned};
use crate::diagnostic::Severity;

/// A route with an id, a name and paths; `~` starts a regex.
fn route(id: u128, paths: &[&str]) -> Route {
    Route {
        name: Some(format!("r{id}").into()),
        ..sample::route(id, paths)
    }
}

fn with_hosts(mut route: Route, hosts: &[&str]) -> Route {
    route.hosts = hosts.iter().map(|host| spanned((*host).into())).collect();
    route
}

fn with_methods(mut route: Route, methods: &[&str]) -> Route {
    route.methods = methods.iter().map(|method| (*method).into()).collect();
    route
}

/// The plan of some routes, and the codes of what was said about them.
fn planned(routes: Vec<Route>) -> (Plan, Vec<&'static str>) {
    let model = Model {
        routes,
        ..Model::default()
    };
    let report = Report::default();
    let plan = plan(&model, &Sources::default(), &report);
    let codes = report.findings().iter().map(|finding| finding.code).collect();
    (plan, codes)
}

/// Which route comes in which place.
fn order(plan: &Plan) -> Vec<u32> {
    plan.subroutes.iter().map(|subroute| subroute.route.0).collect()
}

#[test]
fn more_kinds_of_matchers_beat_a_longer_path() {
    let (plan, _) = planned(vec![
        route(1, &["/a/very/long/path"]),
        with_hosts(route(2, &["/"]), &["a.test"]),
        with_methods(route(3, &["/abc"]), &["GET"]),
    ]);
    assert_eq!(order(&plan), [1, 2, 0]);
}

#[test]
fn plain_hosts_beat_wildcards_and_regexes_beat_prefixes() {
    let (plan, _) = planned(vec![
        with_hosts(route(1, &["/long/prefix"]), &["*.test"]),
        with_hosts(route(2, &["/"]), &["a.test"]),
        with_hosts(route(3, &["~/x"]), &["*.test"]),
    ]);
    assert_eq!(order(&plan), [1, 2, 0]);
}

#[test]
fn regex_priority_orders_regexes_only() {
    let mut low = route(2, &["~/b"]);
    low.regex_priority = 1;
    let mut high = route(1, &["~/a", "/prefix"]);
    high.regex_priority = 2;
    let mut prefix = route(3, &["/prefix/longer"]);
    prefix.regex_priority = 9;
    let (plan, _) = planned(vec![low, high, prefix]);
    assert_eq!(order(&plan), [1, 0, 2, 1]);
}

#[test]
fn paths_of_one_length_stay_together() {
    let (plan, _) = planned(vec![route(1, &["/aa", "/b", "/cc", "~/x", "~/y"])]);
    assert_eq!(plan.subroutes.len(), 3);
    let lens: Vec<_> = plan
        .subroutes
        .iter()
        .map(|subroute| match &subroute.path {
            PathTest::Prefixes { len, prefixes } => (*len, prefixes.len()),
            PathTest::Regexes { spans, .. } => (0, spans.len()),
            PathTest::Any => (0, 0),
        })
        .collect();
    assert_eq!(lens, [(0, 2), (3, 2), (2, 1)]);
    assert!(
        plan.subroutes
            .iter()
            .all(|subroute| subroute.id != Uuid::from_u128(1))
    );
}

#[test]
fn the_greater_id_wins_a_tie() {
    let (plan, codes) = planned(vec![
        with_methods(route(1, &["/a"]), &["GET", "POST"]),
        with_methods(route(2, &["/a"]), &["POST", "PUT"]),
    ]);
    assert_eq!(order(&plan), [1, 0]);
    assert_eq!(codes, ["route-tie"]);
}

#[test]
fn routes_that_share_no_request_do_not_tie() {
    let (_, codes) = planned(vec![
        with_methods(route(1, &["/a"]), &["GET"]),
        with_methods(route(2, &["/a"]), &["PUT"]),
        route(3, &["/b"]),
        route(4, &["/c"]),
        route(5, &[r"~/users/\d+$"]),
        route(6, &[r"~/users/[a-z]+$"]),
    ]);
    assert_eq!(codes, [""; 0]);
}

#[test]
fn regexes_that_share_a_path_tie() {
    let (_, codes) = planned(vec![
        route(5, &[r"~/users/\w+$"]),
        route(6, &[r"~/users/[a-z]+$"]),
    ]);
    assert_eq!(codes, ["route-tie"]);
}

#[test]
fn equal_routes_are_duplicates() {
    let (_, codes) = planned(vec![route(1, &["/a"]), route(2, &["/a"])]);
    assert_eq!(codes, ["duplicate-route"]);
}

#[test]
fn a_regex_over_everything_shadows_prefixes() {
    let (_, codes) = planned(vec![
        route(1, &["~/api"]),
        route(2, &["/api/v1"]),
        route(3, &["/other"]),
    ]);
    assert_eq!(codes, ["shadowed-route"]);
    let (_, codes) = planned(vec![route(1, &["~/api$"]), route(2, &["/api"])]);
    assert_eq!(codes, [""; 0]);
}

#[test]
fn a_wildcard_host_shadows_what_it_covers() {
    let mut wide = with_hosts(route(1, &["~/a"]), &["*.test"]);
    wide.headers = vec![HeaderMatch {
        name: "x".into(),
        values: vec![spanned("1".into()), spanned("2".into())],
    }];
    let mut inner = wide.clone();
    inner.meta.id = Uuid::from_u128(2);
    inner.hosts = vec![spanned("*.a.test".into())];
    inner.paths = vec![spanned(RoutePath::Prefix("/ab".into()))];
    inner.headers[0].values.truncate(1);
    let (_, codes) = planned(vec![wide.clone(), inner.clone()]);
    assert_eq!(codes, ["shadowed-route"]);
    inner.headers[0].values[0] = spanned("3".into());
    let (_, codes) = planned(vec![wide, inner]);
    assert_eq!(codes, [""; 0]);
}

fn compiled(pattern: &str, subject: Subject) -> Result<Compiled, Vec<&'static str>> {
    let report = Report::default();
    let mut automata = Automata::default();
    let index = automata.compile(
        &[(pattern, Span::default())],
        subject,
        &Sources::default(),
        &report,
    );
    let errors = |finding: &Diagnostic| finding.severity == Severity::Error;
    match index {
        Some(index) => Ok(Compiled { automata, index }),
        None => Err(report
            .findings()
            .iter()
            .filter(|f| errors(f))
            .map(|f| f.code)
            .collect()),
    }
}

struct Compiled {
    automata: Automata,
    index: AutomatonIndex,
}

impl Compiled {
    /// Bytes that match from the start.
    fn end(&self, text: &str) -> Option<usize> {
        use regex_automata::dfa::Automaton as _;
        let input = regex_automata::Input::new(text).anchored(regex_automata::Anchored::Yes);
        let found = self.automata[self.index].dfa.try_search_fwd(&input);
        found.expect("no quit bytes").map(|found| found.offset())
    }
}

#[test]
fn path_regexes_are_anchored_at_the_start_only() {
    let regex = compiled("/a(?<id>[0-9]+)", Subject::Path).expect("a regex");
    assert_eq!(regex.end("/a12/more"), Some(4));
    assert_eq!(regex.end("/x/a12"), None);
}

#[test]
fn path_regexes_spell_what_paths_escape() {
    let regex = compiled("/ä b[é]$", Subject::Path).expect("a regex");
    assert!(regex.end("/%C3%A4%20b%C3%A9").is_some());
    let regex = compiled("/%c3%a4x", Subject::Path).expect("a regex");
    assert!(regex.end("/%C3%A4x").is_some());
    let regex = compiled(r"/[^/]+/\w+\sx", Subject::Path).expect("a regex");
    assert!(regex.end("/%C3%A4/b%20x").is_some());
}

#[test]
fn header_regexes_search_without_case() {
    let regex = compiled("^v[0-9]$", Subject::Header).expect("a regex");
    assert!(regex.end("V7").is_some() && regex.end("xv7").is_none());
    let regex = compiled("beta", Subject::Header).expect("a regex");
    assert!(regex.end("the BETA one").is_some());
}

#[test]
fn origins_match_whole() {
    let regex = compiled(r".+\.example\.org", Subject::Whole).expect("a regex");
    assert!(regex.end("a.example.org").is_some() && regex.end("a.example.org.evil").is_none());
}

#[test]
fn broken_and_boundless_regexes_are_refused() {
    assert_eq!(compiled("/(", Subject::Path).err(), Some(vec!["regex"]));
    assert_eq!(compiled("/(?=x)", Subject::Path).err(), Some(vec!["regex"]));
    let bomb = compiled(r"/(a|b)*a(a|b){30}", Subject::Path).err();
    assert_eq!(bomb, Some(vec!["regex-too-large"]));
}

#[test]
fn an_alternative_outside_a_group_is_pointed_at() {
    let (_, codes) = planned(vec![route(1, &["~/a|/b"])]);
    assert_eq!(codes, ["regex-alternation"]);
    let (_, codes) = planned(vec![route(1, &["~/(?:a|b)"])]);
    assert_eq!(codes, [""; 0]);
}

#[test]
fn unicode_classes_warn() {
    for path in [r"~/\p{Greek}+x", r"~/[a\p{L}]q"] {
        let (_, codes) = planned(vec![route(1, &[path])]);
        assert_eq!(codes, ["regex-unicode-class"], "{path}");
    }
}

#[test]
fn paths_that_no_request_may_have_warn() {
    for path in ["/a;b", "/a%2fb"] {
        let (_, codes) = planned(vec![route(1, &[path])]);
        assert_eq!(codes, ["unreachable-path"], "{path}");
    }
    let (_, codes) = planned(vec![route(1, &["/a%3Bb"])]);
    assert_eq!(codes, [""; 0]);
}

#[test]
fn paths_become_canonical() {
    for (written, wanted) in [
        ("/", "/"),
        ("/a//b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/%61%2f%7e", "/a%2F~"),
        ("/ä", "/%C3%A4"),
        ("/a b|{c}", "/a%20b%7C%7Bc%7D"),
        ("/100%", "/100%25"),
    ] {
        assert_eq!(canonical(written), wanted, "{written}");
    }
}

#[test]
fn hosts_cover_what_they_match() {
    let covers = |outer: &str, inner: &str| HostPattern::of(outer).covers(&HostPattern::of(inner));
    assert!(covers("*.test", "a.test") && covers("*.test", "*.a.test") && covers("a.*", "a.test"));
    assert!(covers("a.test", "a.test:80") && !covers("a.test:80", "a.test"));
    assert!(!covers("*.test", "test") && !covers("*.a.test", "*.test") && !covers("a.*", "*.test"));
}

proptest! {
    #[test]
    fn canonical_paths_stay(path in "/[a-c./%äé{ ]{0,12}") {
        let once = canonical(&path);
        prop_assert_eq!(canonical(&once), once.clone());
        prop_assert!(once.starts_with('/') && once.is_ascii() && !once.contains("//"));
    }

    #[test]
    fn the_tree_holds_every_prefix_once(paths in proptest::collection::vec("/[ab/]{0,6}", 0..20)) {
        let ranked: Vec<(&str, u32)> = paths.iter().map(String::as_str).zip(0..).collect();
        let nodes = tree::build(&ranked);
        let mut found = Vec::new();
        // Children come after their parents, so texts of parents are known when they are needed.
        let mut texts = vec![String::new(); nodes.len()];
        for (number, node) in nodes.iter().enumerate() {
            let text = format!("{}{}", texts[number], node.label);
            prop_assert!(number == 0 || !node.label.is_empty());
            found.extend(node.ranks.iter().map(|rank| (text.clone(), *rank)));
            for child in node.first_child..node.first_child + node.children {
                prop_assert!(child as usize > number);
                texts[child as usize] = text.clone();
            }
        }
        found.sort_by_key(|(_, rank)| *rank);
        let wanted: Vec<(String, u32)> = ranked.iter().map(|(path, rank)| ((*path).to_owned(), *rank)).collect();
        prop_assert_eq!(found, wanted);
    }
}
