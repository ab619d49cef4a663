//! The router finds what a scan of all subroutes in Kong's order finds.

use policy::field::{Exchange, Method};
use policy::table::Id;
use policy::{Policy, route};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::reference;
use crate::sample::request::Request;
use crate::sample::router::{Path, Wanted, split};
use crate::sample::{Entries, Sample, Scene};

/// Rank and matched bytes of the first subroute that fits.
fn scan(policy: &Policy, ranked: &[Wanted], request: &Request) -> Option<(usize, usize)> {
    ranked.iter().enumerate().find_map(|(rank, wanted)| {
        let fits = host_fits(wanted, request)
            && method_fits(wanted, request)
            && sni_fits(wanted, request)
            && headers_fit(wanted, request);
        let matched = match &wanted.path {
            Path::Any => Some(0),
            Path::Prefixes(prefixes) => prefixes
                .iter()
                .find(|prefix| request.path.starts_with(prefix.as_str()))
                .map(String::len),
            Path::Regexes(_) => {
                let rank = u32::try_from(rank).expect("few subroutes");
                let regex = policy.get(Id::<policy::table::Subroute>::new(rank)).regex;
                reference::regex_end(policy, regex.expect("it has a regex"), request.path.as_bytes())
            }
        };
        matched.filter(|_| fits).map(|matched| (rank, matched))
    })
}

fn host_fits(wanted: &Wanted, request: &Request) -> bool {
    wanted.hosts.is_empty()
        || wanted.hosts.iter().any(|host| {
            let (host, port) = split(host);
            let named = match (host.strip_prefix('*'), host.strip_suffix('*')) {
                (Some(suffix), _) => request.host.ends_with(suffix),
                (_, Some(prefix)) => request.host.starts_with(prefix),
                _ => request.host == host,
            };
            named && port.is_none_or(|port| port == request.port)
        })
}

fn method_fits(wanted: &Wanted, request: &Request) -> bool {
    wanted.methods.is_empty() || wanted.methods.contains(&request.method)
}

fn sni_fits(wanted: &Wanted, request: &Request) -> bool {
    let name = &request.server_name;
    let one = |sni: &String| match (sni.strip_prefix('*'), sni.strip_suffix('*')) {
        (Some(suffix), _) => name.ends_with(suffix) && name.len() > suffix.len(),
        (_, Some(prefix)) => name.starts_with(prefix) && name.len() > prefix.len(),
        _ => name == sni,
    };
    wanted.snis.is_empty() || !request.secure || wanted.snis.iter().any(one)
}

fn headers_fit(wanted: &Wanted, request: &Request) -> bool {
    wanted.headers.iter().all(|(name, values)| {
        request.any_header(name, &mut |given| {
            let given = String::from_utf8_lossy(given).to_lowercase();
            values.iter().any(|value| match value.strip_prefix("~*") {
                Some("^b[0-9]+$") => given
                    .strip_prefix('b')
                    .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())),
                Some("beta") => given.contains("beta"),
                Some(other) => panic!("the scan does not know {other}"),
                None => *value == given,
            })
        })
    })
}

const HOSTS: [&str; 10] = [
    "a.test",
    "b.a.test",
    "*.a.test",
    "*.test",
    "a.*",
    "b.a.*",
    "a.test:81",
    "*.a.test:81",
    "a.*:81",
    "b.*",
];
const PREFIXES: [&[&str]; 7] = [
    &["/"],
    &["/a", "/b"],
    &["/ab", "/ac"],
    &["/a/b"],
    &["/abc"],
    &["/abcd/efgh"],
    &["/abcd/e"],
];
const REGEXES: [&[&str]; 5] = [
    &["/a"],
    &["/[a-z]+", "/a/b"],
    &["/a|/ab"],
    &["/ab|/a", "/x"],
    &["/ab?c*d"],
];
const PATHS: [&str; 11] = [
    "/",
    "/a",
    "/ab",
    "/a/b",
    "/abc",
    "/abcd/efgh/i",
    "/abcd/e",
    "/b",
    "/x",
    "/abbb",
    "",
];

fn path() -> impl Strategy<Value = Path> {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    prop_oneof![
        1 => Just(Path::Any),
        4 => select(PREFIXES.as_slice()).prop_map(move |all| Path::Prefixes(owned(all))),
        2 => select(REGEXES.as_slice()).prop_map(move |all| Path::Regexes(owned(all))),
    ]
}

fn some_of(all: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(all, 0..=most).prop_map(|some| some.into_iter().map(str::to_owned).collect())
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let header = (
        select(["x-one", "x-two"].as_slice()).prop_map(str::to_owned),
        some_of(&["one", "two", "~*^b[0-9]+$", "~*beta"], 2),
    );
    let header = header.prop_filter("a header test has values", |(_, values)| !values.is_empty());
    (
        some_of(&HOSTS, 3),
        path(),
        some_of(&["GET", "POST", "OPTIONS", "PURGE", "get"], 2),
        proptest::collection::vec(header, 0..=1),
        some_of(&["tls.test", "*.tls.test", "tls.*"], 2),
    )
        .prop_map(|(hosts, path, methods, headers, snis)| Wanted {
            hosts,
            path,
            methods,
            headers,
            snis,
        })
}

fn request() -> impl Strategy<Value = Request> {
    let host = select(
        [
            "",
            "a.test",
            "b.a.test",
            "c.b.a.test",
            "a.org",
            "b.a.org",
            "b.org",
            ".a.test",
            "a.",
            "test",
            "xa.test",
        ]
        .as_slice(),
    );
    let value = select(["one", "ONE", "two", "b12", "B7", "xb7", "my BETA", ""].as_slice());
    let headers = proptest::collection::vec((select(["x-one", "x-two"].as_slice()), value), 0..4);
    (
        select(["GET", "POST", "PURGE", "BREW", "get"].as_slice()),
        host,
        select([80, 81].as_slice()),
        select(PATHS.as_slice()),
        proptest::option::of(select(
            ["", "tls.test", "a.tls.test", "tls.org", "other"].as_slice(),
        )),
        headers,
    )
        .prop_map(|(method, host, port, path, sni, headers)| {
            let mut request = Request::new(method, host, path).port(port);
            if let Some(name) = sni {
                request = request.tls(name);
            }
            headers
                .into_iter()
                .fold(request, |request, (name, value)| request.with_header(name, value))
        })
}

fn assemble(ranked: &[Wanted]) -> Sample {
    let mut scene = Scene::new();
    for (rank, wanted) in ranked.iter().enumerate() {
        scene.route(&format!("r{rank}"), wanted.clone(), &Entries::default());
    }
    scene.finish()
}

fn found(sample: &Sample, request: &Request) -> Option<(usize, usize)> {
    route::find(&sample.policy, request).map(|found| (found.subroute.index(), found.matched_len as usize))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn tables_find_what_a_scan_finds(
        ranked in proptest::collection::vec(wanted(), 1..14),
        requests in proptest::collection::vec(request(), 40),
    ) {
        let sample = assemble(&ranked);
        for request in requests {
            let wanted = scan(&sample.policy, &ranked, &request);
            prop_assert_eq!(found(&sample, &request), wanted, "{:?}", request);
            if let Some(found) = route::find(&sample.policy, &request) {
                let name = format!("r{}", found.subroute.index());
                prop_assert_eq!(found.route, sample.routes[&name]);
            }
        }
    }
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn rank_decides_across_hosts_trees_and_regexes() {
    let host = |host: &str, path| Wanted {
        hosts: strings(&[host]),
        path,
        ..Wanted::default()
    };
    let prefix = |prefix: &str| Path::Prefixes(strings(&[prefix]));
    let ranked = [
        Wanted {
            path: Path::Regexes(strings(&["/a[0-9]"])),
            ..Wanted::default()
        },
        host("*.test", prefix("/a")),
        host("a.test", prefix("/abc")),
        host("a.test", Path::Any),
    ];
    let sample = assemble(&ranked);
    let rank = |host, path| found(&sample, &Request::new("GET", host, path));
    assert_eq!(rank("a.test", "/a1"), Some((0, 3)), "a regex without a host");
    assert_eq!(
        rank("a.test", "/abc"),
        Some((1, 2)),
        "a shorter prefix of a wildcard host"
    );
    assert_eq!(rank("a.test", "/x"), Some((3, 0)));
    assert_eq!(rank("b.org", "/x"), None);
}

#[test]
fn a_match_of_a_regex_ends_leftmost_first() {
    let ranked = [Wanted {
        path: Path::Regexes(strings(&["/sam|/samwise", "/frodo(/ring)?"])),
        ..Wanted::default()
    }];
    let sample = assemble(&ranked);
    let end = |path| found(&sample, &Request::new("GET", "", path)).map(|(_, end)| end);
    assert_eq!(
        end("/samwise"),
        Some(4),
        "the first alternative wins, not the longest"
    );
    assert_eq!(end("/frodo/ring/x"), Some(11));
    assert_eq!(end("/x/sam"), None, "anchored at the first byte");
}

#[test]
fn a_method_without_a_bit_is_matched_by_its_name() {
    let ranked = [Wanted {
        methods: strings(&["PURGE"]),
        ..Wanted::default()
    }];
    let sample = assemble(&ranked);
    let rank = |method| found(&sample, &Request::new(method, "", "/"));
    assert_eq!(rank("PURGE"), Some((0, 0)));
    assert_eq!(rank("BREW"), None);
    assert_eq!(rank("GET"), None);
    assert_eq!(Method::from_name(b"purge"), Method::OTHER);
}

#[test]
fn hosts_of_any_length_are_looked_up_without_a_panic() {
    let hosts = strings(&["*.a.test", "a.*", "a.test:65535"]);
    let ranked = [Wanted {
        hosts,
        ..Wanted::default()
    }];
    let sample = assemble(&ranked);
    for len in 0..600 {
        for byte in ["a", ".", "a."] {
            let host: String = byte.chars().cycle().take(len).collect();
            found(&sample, &Request::new("GET", &host, "/").port(65535));
        }
    }
    let request = Request::new("GET", "a.test", "/").port(65535);
    assert_eq!(found(&sample, &request), Some((0, 0)));
    for port in [0, 6553, 65534] {
        assert_eq!(
            found(&sample, &Request::new("GET", "a.test", "/").port(port)),
            Some((0, 0)),
            "by a.*"
        );
    }
}

fn regex_of(host: &str) -> Wanted {
    Wanted {
        hosts: strings(&[host]),
        path: Path::Regexes(strings(&[r"/[a-z]+/\d+"])),
        ..Wanted::default()
    }
}

fn search_cost(hosts: &[&str]) -> u32 {
    let ranked: Vec<Wanted> = hosts.iter().map(|host| regex_of(host)).collect();
    assemble(&ranked).policy.meta().route_cost
}

#[test]
fn wildcards_beside_each_other_cost_what_one_of_them_costs() {
    let one = search_cost(&["*.a.test"]);
    assert_eq!(search_cost(&["*.a.test", "*.b.test", "*.c.test"]), one);
    assert_eq!(search_cost(&["a.*"]), one);
    assert_eq!(search_cost(&["a.*", "b.*"]), one);
    assert!(
        search_cost(&["*.a.test", "*.test"]) > one,
        "b.a.test is asked both"
    );
    assert!(search_cost(&["*.a.test", "a.*"]) > one, "a.a.test is asked both");
    assert!(
        search_cost(&["*.a.test", "*.b.test:81"]) > one,
        "told apart by the request"
    );
    assert_eq!(search_cost(&["a.test"]), search_cost(&["a.test", "b.test"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_host_is_asked_more_regexes_than_the_cost_says(
        hosts in subsequence(HOSTS.as_slice(), 1..HOSTS.len()),
        request in request(),
    ) {
        let asked = hosts.iter().filter(|host| host_fits(&regex_of(host), &request)).count();
        let asked = u32::try_from(asked).expect("few hosts");
        prop_assert!(search_cost(&hosts) >= asked * route::PATH_MAX);
    }
}
