//! Kong's transformers on headers, queries and bodies.

use policy::path::PathError;
use policy::table::PartKind;
use proptest::prelude::*;

use super::body::{BodyEditor, BodyType};
use super::template::{Piece, Sources, canonical_uri, render};
use super::{Edit, EditOp, JsonType};
use crate::http::headers::Headers;
use crate::http::known::KnownHeader;
use crate::http::outgoing::OutgoingHeaders;
use crate::http::query::Arguments;

fn edit<'a>(op: EditOp, name: &'a str, value: &'a str) -> Edit<'a> {
    typed(op, name, value, JsonType::String)
}

fn typed<'a>(op: EditOp, name: &'a str, value: &'a str, json_type: JsonType) -> Edit<'a> {
    Edit {
        op,
        name: name.as_bytes(),
        value: value.as_bytes(),
        json_type,
    }
}

/// One of each, in Kong's order, on names that the earlier ones touch.
fn kongs_order<'a>() -> [Edit<'a>; 6] {
    [
        edit(EditOp::Remove, "gone", ""),
        edit(EditOp::Rename, "old", "new"),
        edit(EditOp::Replace, "new", "r"),
        edit(EditOp::Replace, "old", "never"),
        edit(EditOp::Add, "gone", "back"),
        edit(EditOp::Append, "new", "more"),
    ]
}

fn body(content_type: &str, text: &str, edits: &[Edit<'_>]) -> Option<String> {
    let mut editor = BodyEditor::default();
    let mut changing = editor.start(BodyType::of(content_type.as_bytes())?, text.as_bytes())?;
    edits.iter().for_each(|edit| edit.apply(&mut changing));
    let mut out = Vec::new();
    changing.write_to(&mut out);
    changing.is_changed().then(|| String::from_utf8(out).unwrap())
}

fn json(text: &str, edits: &[Edit<'_>]) -> Option<String> {
    body("application/json; charset=utf-8", text, edits)
}

#[test]
fn stacked_edits_see_each_other_everywhere() {
    let mut headers = OutgoingHeaders::default();
    let mut fields = headers.start_empty();
    for (name, value) in [("gone", "1"), ("old", "2"), ("new", "3"), ("old", "4")] {
        fields.append(name.as_bytes(), value.as_bytes());
    }
    kongs_order().iter().for_each(|edit| edit.apply(&mut fields));
    let lines: Vec<_> = fields
        .iter()
        .map(|it| [it.name, it.value].map(|it| str::from_utf8(it).unwrap().to_owned()))
        .collect();
    assert_eq!(lines, [["new", "r"], ["gone", "back"], ["new", "more"]]);

    let mut arguments = Arguments::default();
    let mut query = arguments.start(b"gone=1&old=2&new=3&old=4");
    kongs_order().iter().for_each(|edit| edit.apply(&mut query));
    let mut out = Vec::new();
    query.write_to(&mut out);
    assert_eq!(out, b"new=r&gone=back&new=more");

    let text = "{\"gone\":1,\"old\":2,\"new\":3}";
    assert_eq!(
        json(text, &kongs_order()).unwrap(),
        "{\"new\":[\"r\",\"more\"],\"gone\":\"back\"}"
    );
}

#[test]
fn host_can_only_be_replaced() {
    let mut headers = OutgoingHeaders::default();
    let mut fields = headers.start_empty();
    let everything_else = [
        edit(EditOp::Add, "Host", "evil"),
        edit(EditOp::Append, "host", "evil"),
        edit(EditOp::Rename, "X", "host"),
        edit(EditOp::Rename, "Host", "X"),
        edit(EditOp::Remove, "HOST", ""),
    ];
    fields.set(b"X", b"1");
    fields.set(b"Host", b"real");
    everything_else.iter().for_each(|edit| edit.apply(&mut fields));
    assert_eq!(
        (fields.get(b"host"), fields.get(b"x")),
        (Some(&b"real"[..]), Some(&b"1"[..]))
    );
    edit(EditOp::Replace, "host", "other").apply(&mut fields);
    assert_eq!(fields.get(b"Host"), Some(&b"other"[..]));
}

#[test]
fn json_values_that_are_not_edited_keep_their_bytes() {
    let text = " { \"a\" : 1.10e+2 , \"b\" : { \"c\" : [ 1, 2 ] } , \"d\" : 12345678901234567890123 , \"\\u0065\":\"\\u00e9\" } ";
    let result = json(text, &[edit(EditOp::Add, "z", "q\"\n")]).unwrap();
    assert_eq!(
        result,
        "{\"a\":1.10e+2,\"b\":{ \"c\" : [ 1, 2 ] },\"d\":12345678901234567890123,\"e\":\"\\u00e9\",\"z\":\"q\\\"\\n\"}"
    );
    assert_eq!(
        json(
            text,
            &[edit(EditOp::Remove, "x", ""), edit(EditOp::Replace, "y", "1")]
        ),
        None
    );
    assert!(
        !json(text, &[edit(EditOp::Remove, "e", "")])
            .unwrap()
            .contains("00e9"),
        "escaped names are found"
    );
}

#[test]
fn json_append_makes_lists() {
    let append = |text: &str| json(text, &[edit(EditOp::Append, "a", "x")]).unwrap();
    assert_eq!(append("{}"), "{\"a\":[\"x\"]}");
    assert_eq!(append("{\"a\":\"w\"}"), "{\"a\":[\"w\",\"x\"]}");
    assert_eq!(append("{\"a\":[]}"), "{\"a\":[\"x\"]}");
    assert_eq!(append("{\"a\":[ 1, [2] ]}"), "{\"a\":[1, [2],\"x\"]}");
    let twice = [edit(EditOp::Append, "a", "x"), edit(EditOp::Append, "a", "y")];
    assert_eq!(
        json("{\"a\":\"w\"}", &twice).unwrap(),
        "{\"a\":[\"w\",\"x\",\"y\"]}"
    );
    assert_eq!(append("{\"a\":7}"), "{\"a\":[\"x\"]}");
    assert_eq!(append("{\"a\":{\"b\":1}}"), "{\"a\":[{\"b\":1},\"x\"]}");
}

#[test]
fn json_values_have_types() {
    let add = |value, json_type| json("{}", &[typed(EditOp::Add, "a", value, json_type)]);
    assert_eq!(add("1.50", JsonType::Number).unwrap(), "{\"a\":1.50}");
    assert_eq!(add("-1e3", JsonType::Number).unwrap(), "{\"a\":-1e3}");
    for refused in ["", "x", "1,\"b\":2", "01", "+1", "NaN", "\"1\"", "[1]", "1}"] {
        assert_eq!(add(refused, JsonType::Number), None, "{refused}");
    }
    assert_eq!(add("true", JsonType::Boolean).unwrap(), "{\"a\":true}");
    assert_eq!(add("yes", JsonType::Boolean).unwrap(), "{\"a\":false}");
    assert_eq!(add("true", JsonType::String).unwrap(), "{\"a\":\"true\"}");
}

#[test]
fn bodies_that_are_not_what_they_claim_are_left_alone() {
    let add = [edit(EditOp::Add, "a", "b")];
    for text in [
        "[1]",
        "\"a\"",
        "1",
        "{",
        "{\"a\":}",
        "{} x",
        "{\"a\":1,}",
        "\u{1}",
        "nul",
    ] {
        assert_eq!(json(text, &add), None, "{text}");
    }
    assert_eq!(json("", &add).unwrap(), "{\"a\":\"b\"}");
    assert_eq!(
        json(
            "",
            &[edit(EditOp::Replace, "a", "b"), edit(EditOp::Remove, "c", "")]
        ),
        None
    );
    assert_eq!(body("text/plain", "a=b", &add), None);
    assert_eq!(body("multipart/form-data", "", &add), None);
    assert_eq!(json(&"[".repeat(100_000), &add), None);
    assert_eq!(json(&format!("{{\"a\":{}", "[".repeat(100_000)), &add), None);
}

#[test]
fn repeated_members_are_edited_together() {
    assert_eq!(
        json("{\"a\":1,\"b\":2,\"a\":3}", &[edit(EditOp::Replace, "a", "x")]).unwrap(),
        "{\"a\":\"x\",\"b\":2}"
    );
    assert_eq!(
        json("{\"a\":1,\"a\":3}", &[edit(EditOp::Remove, "a", "")]).unwrap(),
        "{}"
    );
}

const FORM: &str = "--b7\r\nContent-Disposition: form-data; name=\"old\"; filename=\"name=x\"\r\nContent-Type: image/png\r\n\r\n\
    \u{1}\r\n--b7x\r\n\u{2}\r\n--b7\r\ncontent-disposition: form-data; filename=\"f\"; name=\"gone\"\r\n\r\n\r\n--b7--\r\n";

#[test]
fn multipart_fields_are_edited_and_files_kept() {
    let result = body(
        "multipart/form-data; boundary=\"b7\"",
        FORM,
        &[
            edit(EditOp::Remove, "gone", ""),
            edit(EditOp::Rename, "old", "n\"w"),
            edit(EditOp::Add, "added", "v"),
            edit(EditOp::Append, "added", "no"),
        ],
    );
    let expected = "--b7\r\nContent-Disposition: form-data; name=\"n%22w\"; filename=\"name=x\"\r\nContent-Type: image/png\r\n\r\n\
        \u{1}\r\n--b7x\r\n\u{2}\r\n--b7\r\nContent-Disposition: form-data; name=\"added\"\r\n\r\nv\r\n--b7--\r\n";
    assert_eq!(result.unwrap(), expected);
    let replaced = body(
        "multipart/form-data;boundary=b7",
        FORM,
        &[edit(EditOp::Replace, "old", "v")],
    )
    .unwrap();
    assert!(
        replaced.starts_with("--b7\r\nContent-Disposition: form-data; name=\"old\"\r\n\r\nv\r\n--b7\r\n")
    );
}

#[test]
fn a_value_may_name_the_boundary() {
    let edits = [edit(EditOp::Add, "a", "b7 --b7")];
    assert!(
        body("multipart/form-data; boundary=b7", FORM, &edits)
            .unwrap()
            .ends_with("\r\n\r\nb7 --b7\r\n--b7--\r\n")
    );
}

#[test]
fn a_value_cannot_end_its_part() {
    for start in ["--b7--", "--b7\r\n", "\n--b7"] {
        let edits = [edit(EditOp::Add, "a", start), edit(EditOp::Replace, "old", start)];
        assert_eq!(body("multipart/form-data; boundary=b7", FORM, &edits), None);
    }
    let edits = [edit(
        EditOp::Add,
        "a",
        "x\r\n--b7\r\nContent-Disposition: form-data; name=\"evil\"\r\n\r\n1",
    )];
    assert_eq!(body("multipart/form-data; boundary=b7", FORM, &edits), None);
}

#[test]
fn malformed_forms_are_left_alone() {
    let add = [edit(EditOp::Add, "a", "b")];
    for text in [
        "x",
        "--b7",
        "--b7\r\n",
        "--b7\r\n\r\n--b7--",
        &FORM[..FORM.len() - 8],
        "--b7\r\nA: b\r\n\r\n\r\n--b7--",
    ] {
        assert_eq!(
            body("multipart/form-data; boundary=b7", text, &add),
            None,
            "{}",
            text.escape_debug()
        );
    }
}

fn piece(kind: PartKind, text: &str, otherwise: bool) -> Piece<'_> {
    Piece {
        kind,
        text: text.as_bytes(),
        index: text.parse().unwrap_or(0),
        otherwise,
    }
}

fn rendered(pieces: &[Piece<'_>]) -> (String, bool) {
    let bytes = b"X-User-Id:7|X-Empty:|";
    let mut headers = Headers::default();
    for (start, colon, end) in [(0, 9, 11), (12, 19, 20)] {
        let span = crate::http::headers::Span::new;
        headers.push(span(start, colon), span(colon + 1, end), KnownHeader::Other);
    }
    let sources = Sources {
        headers: headers.on(bytes),
        query: Some(b"q=a%20b&q=c&e=&n"),
        captures: &[b"one", b""],
        named_captures: &[(b"user", b"bob")],
    };
    let mut out = Vec::new();
    let found = render(pieces.iter().copied(), &sources, &mut out);
    (String::from_utf8(out).unwrap(), found)
}

#[test]
fn templates_look_up_and_fall_back() {
    use PartKind::{Capture, CaptureIndex, Header, Literal, Query};
    let all = [
        piece(Literal, "a-", false),
        piece(Header, "x_user_id", false),
        piece(Literal, "-", false),
        piece(Query, "q", false),
    ];
    assert_eq!(rendered(&all), ("a-7-a b".to_owned(), true));
    assert_eq!(
        rendered(&[piece(Capture, "user", false), piece(CaptureIndex, "1", false)]),
        ("bobone".to_owned(), true)
    );
    for (present, value) in [
        (piece(Header, "x-empty", false), ""),
        (piece(Query, "e", false), ""),
        (piece(Query, "n", false), "true"),
    ] {
        assert_eq!(rendered(&[present]), (value.to_owned(), true), "{present:?}");
    }
    for missing in [
        piece(Header, "nope", false),
        piece(CaptureIndex, "2", false),
        piece(CaptureIndex, "0", false),
        piece(CaptureIndex, "9", false),
        piece(Capture, "x", false),
    ] {
        assert_eq!(
            rendered(&[piece(Literal, "a", false), missing]),
            ("a".to_owned(), false),
            "{missing:?}"
        );
        assert_eq!(
            rendered(&[missing, piece(Literal, "b", false)]),
            ("b".to_owned(), false),
            "{missing:?}"
        );
        let chain = [
            missing,
            piece(Header, "nope", true),
            piece(Literal, "c", true),
            piece(Literal, "d", true),
        ];
        assert_eq!(rendered(&chain), ("c".to_owned(), true), "{missing:?}");
    }
}

#[test]
fn a_rendered_uri_is_canonical_and_never_a_query() {
    let uri = |text: &str| {
        let mut out = Vec::new();
        canonical_uri(text.as_bytes(), &mut Vec::new(), &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(uri("/v1/a b/é?x=1").unwrap(), "/v1/a%20b/%C3%A9%3Fx=1");
    assert_eq!(uri("//v1/../x").unwrap(), "/x");
    assert_eq!(uri("v1"), Err(PathError::NotAbsolute));
    assert_eq!(uri("/../x"), Err(PathError::AboveRoot));
}

proptest! {
    #[test]
    fn edited_json_is_json_and_holds_what_was_set(
        names in proptest::collection::vec("[a-c\"\\\\é]{0,2}", 0..5),
        name in "[a-c\"\\\\é]{1,2}",
        value in "\\PC{0,8}",
    ) {
        let members: Vec<_> = names.iter().map(|it| format!("{}:[1]", serde_json::to_string(it).unwrap())).collect();
        let text = format!("{{{}}}", members.join(","));
        let result = json(&text, &[edit(EditOp::Set, &name, &value)]).unwrap();
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&result).unwrap();
        prop_assert_eq!(&object[&name], &serde_json::Value::String(value));
        for other in names.iter().filter(|it| **it != name) {
            prop_assert_eq!(object[other].to_string(), "[1]");
        }
    }
}
