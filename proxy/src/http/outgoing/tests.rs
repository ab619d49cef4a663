use super::*;
use crate::http::h1::head::RequestDecoder;
use crate::http::head::RequestHead;

fn edited(lines: &str, change: impl FnOnce(&mut Outgoing<'_>)) -> String {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines.replace('\n', "\r\n")).into_bytes();
    let mut head = RequestHead::default();
    RequestDecoder::default()
        .decode(&bytes, &mut head)
        .unwrap()
        .unwrap();
    let mut headers = OutgoingHeaders::default();
    let mut outgoing = headers.start_request(head.headers.on(&bytes), &bytes);
    change(&mut outgoing);
    let line = |it: Header<'_>| format!("{}:{}\n", it.name.escape_ascii(), it.value.escape_ascii());
    outgoing.iter().map(line).collect()
}

#[test]
fn this_hops_fields_and_forged_ones_do_not_get_in() {
    let lines = "Connection: close, x-gone\nX-Gone: 1\nKeep-Alive: 5\nTE: gzip\nProxy: x\nProxy-Connection: x\n\
                 Proxy-Authorization: x\nTrailer: x\nUpgrade: x\nContent-Length: 5\nExpect: 100-continue\n\
                 X-Consumer-ID: me\nX_Consumer_Username: me\nX-Forwarded-For: 1\nx_real_ip: 1\n\
                 X-Kong-Request-Id: 1\nA: b\n";
    assert_eq!(edited(lines, |_| {}), "A:b\n");
}

#[test]
fn only_trailers_are_left_of_te() {
    assert_eq!(
        edited("TE: gzip;q=1, trailers, deflate\n", |_| {}),
        "TE:trailers\n"
    );
}

#[test]
fn connection_never_removes_what_we_set() {
    let lines = "Connection: X-Consumer-Username, close\nX-Consumer-Username: forged\n";
    let result = edited(lines, |out| assert!(out.set(b"X-Consumer-Username", b"alice")));
    assert_eq!(result, "X-Consumer-Username:alice\n");
}

#[test]
fn later_changes_see_earlier_ones() {
    let result = edited("A: 1\nB: 2\n", |out| {
        assert!(out.rename(b"a", b"C"));
        assert!(!out.replace(b"A", b"x"));
        assert!(out.replace(b"c", b"3"));
        assert!(!out.add(b"C", b"4"));
        assert!(out.append(b"C", b"5"));
        assert!(out.remove(b"B"));
        assert!(out.add(b"B", b"6"));
        assert_eq!(out.get(b"c"), Some(&b"3"[..]));
    });
    assert_eq!(result, "c:3\nC:5\nB:6\n");
}

#[test]
fn set_leaves_one_field_at_the_first_ones_place() {
    assert_eq!(
        edited("A: 1\nB: 2\na: 3\n", |out| assert!(out.set(b"A", b"9"))),
        "A:9\nB:2\n"
    );
    assert_eq!(edited("B: 2\n", |out| assert!(out.set(b"A", b"9"))), "B:2\nA:9\n");
}

#[test]
fn rename_moves_every_value_and_replaces_the_target() {
    let renamed = edited("Cookie: 1\nX: old\ncookie: 2\n", |out| {
        assert!(out.rename(b"Cookie", b"X"))
    });
    assert_eq!(renamed, "X:1\nX:2\n");
    assert_eq!(edited("x: 1\n", |out| assert!(out.rename(b"X", b"X"))), "X:1\n");
    assert_eq!(edited("X: 1\n", |out| assert!(!out.rename(b"Y", b"X"))), "X:1\n");
}

#[test]
fn a_value_cannot_start_another_field() {
    let result = edited("", |out| assert!(out.append(b"A", b"b\r\nEvil: 1\0\tc\x7f")));
    assert_eq!(result, "A:b%0D%0AEvil: 1%00\\tc%7F\n");
}

#[test]
fn a_name_that_is_no_token_or_frames_this_hop_is_not_written() {
    let framing = [
        &b"Content-Length"[..],
        b"transfer-encoding",
        b"Connection",
        b"Upgrade",
        b"TE",
    ];
    for name in framing
        .into_iter()
        .chain([&b""[..], b"a b", b"a:", b"a\r\nb", b"\xff"])
    {
        assert_eq!(
            edited("X: 1\n", |out| assert!(
                !out.set(name, b"1") && !out.rename(b"X", name)
            )),
            "X:1\n"
        );
    }
}
