//! Requests that the small models know something about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::analyse::Request;
use crate::analyse::websocket::OPENING;

#[expect(clippy::too_many_lines, reason = "a list of cases")]
pub(super) fn request() -> impl Strategy<Value = Request> {
    let hosts = prop::sample::select(vec!["a.test", "b.a.test", "x.test", "a.org", "b.net", "c", ""]);
    let paths = prop::sample::select(vec![
        "/", "/a", "/a/", "/a/12", "/a/b", "/b", "/x/b", "/ab", "/a/b/c", "/%C3%A4", "/bar/x", "/q/c",
    ]);
    let keys = || {
        prop::sample::select(vec![
            "key-alice",
            "key-alice",
            "key-bob",
            "key-bob",
            "key-carol",
            "",
            "wrong",
        ])
    };
    let auth = prop::sample::select(vec![
        None,
        Some("Basic YWxpY2U6cGFzcw=="),
        Some("Basic Ym9iOnBhc3M="),
        Some("Basic Ym9iOndyb25n"),
        Some("Bearer x"),
    ]);
    let clients = prop::sample::select(vec![
        Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
        Some(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9))),
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
        None,
    ]);
    let place = (
        prop::sample::select(vec!["GET", "POST", "OPTIONS", "PURGE", "LOCK"]),
        hosts,
        prop::sample::select(vec![80u16, 81, 8080]),
        paths,
        any::<bool>(),
    );
    let credentials = (
        proptest::collection::vec(
            (prop::sample::select(vec!["apikey", "apikey", "token"]), keys()),
            0..3,
        ),
        proptest::collection::vec(
            (
                prop::sample::select(vec!["apikey", "token", "Token", "Stop"]),
                keys(),
            ),
            0..2,
        ),
        prop::option::of(keys()),
        auth,
    );
    let headers = (
        prop::option::of(prop::sample::select(vec!["1", "2", "v77", "V"])),
        prop::option::of(prop::sample::select(vec!["w", "wow", "other"])),
        any::<bool>(),
    );
    (place, credentials, headers, clients, any::<bool>(), 0..5u8).prop_map(
        |(
            (method, host, port, path, secure),
            (header_keys, query_keys, body_key, auth),
            (v, w, cors),
            client,
            spent,
            body,
        )| {
            let mut headers: Vec<(String, String)> = header_keys
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let mut add = |name: &str, value: Option<&str>| {
                if let Some(value) = value {
                    headers.push((name.to_owned(), value.to_owned()));
                }
            };
            add("authorization", auth);
            add("x-v", v);
            add("x-w", w);
            if cors {
                add("origin", Some("https://o.test"));
                add("access-control-request-method", Some("GET"));
            }
            if port == 81 {
                for (name, value) in OPENING {
                    add(name, Some(value));
                }
            }
            add("transfer-encoding", (body == 1).then_some("chunked"));
            add("content-type", Some("application/x-www-form-urlencoded"));
            let query: Vec<String> = query_keys
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let body_text = body_key.map_or_else(String::new, |key| format!("apikey={key}"));
            Request {
                method: method.to_owned(),
                host: host.to_owned(),
                port,
                path: path.to_owned(),
                query: query.join("&"),
                secure,
                server_name: if secure { host.to_owned() } else { String::new() },
                headers,
                body: (body > 0).then(|| body_text.into_bytes()),
                client,
                spent,
                malformed: None,
            }
        },
    )
}
