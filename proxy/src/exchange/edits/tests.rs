//! Lists as the compiler writes them, on the parts of a message. The edits themselves are tested in `edit`.

use policy::artifact::{Builder, Limits, Policy};
use policy::table::{self, EditList, EditOp, EditPlace, JsonType, Meta, Part, PartKind, Route, Text};

use super::apply::{self, EditMemory, Groups, Renderer, RequestParts, Unrendered};
use crate::edit::template::Sources;
use crate::exchange::record::Record;
use crate::http::headers::{Headers, Span};
use crate::http::known::KnownHeader;
use crate::http::outgoing::OutgoingHeaders;

/// `place op name value`, as a template of kind and text.
type Row<'r> = (EditPlace, EditOp, &'r str, &'r [(PartKind, &'r str)]);

fn text(value: &str) -> [(PartKind, &str); 1] {
    [(PartKind::Literal, value)]
}

/// A verified artifact with these lists, numbered from 0.
fn policy(lists: &[&[Row<'_>]]) -> Policy {
    let mut builder = Builder::new();
    builder.row(&Route::EMPTY);
    builder.row(&Meta::EMPTY);
    for list in lists {
        let rows: Vec<_> = list.iter().map(|row| edit(&mut builder, row)).collect();
        let edits = builder.unique_list(&rows);
        let needs_body = rows.iter().any(|row| row.place == Body);
        builder.row(&EditList {
            plugin: Text::EMPTY,
            source: None,
            edits,
            needs_body,
        });
    }
    let file = builder.finish([0; 32], 1).expect("the lists are sound");
    Policy::load(&file, Limits::default()).expect("what was built is sound")
}

fn edit(builder: &mut Builder, (place, op, name, value): &Row<'_>) -> table::Edit {
    let parts: Vec<Part> = value
        .iter()
        .map(|(kind, text)| Part {
            kind: *kind,
            text: builder.text(text),
            index: text.parse().unwrap_or(0),
            otherwise: false,
        })
        .collect();
    let json_type = if *name == "count" {
        JsonType::Number
    } else {
        JsonType::String
    };
    table::Edit {
        op: *op,
        place: *place,
        name: builder.text(name),
        value: builder.unique_list(&parts),
        json_type,
    }
}

/// A request on its way out, after edits.
struct Request {
    fields: Vec<(String, String)>,
    path: String,
    query: String,
    body: String,
    record: Record,
    result: Result<(), Unrendered>,
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, value)| &value[..])
    }
}

/// What the client sent: two fields and a query, beside what the case says.
struct Sent<'s> {
    content_type: &'s str,
    encoding: &'s str,
    body: Option<&'s str>,
}

const BARE: Sent<'_> = Sent {
    content_type: "",
    encoding: "",
    body: None,
};
const QUERY: &str = "q=1&r=2";

fn edited(sent: &Sent<'_>, lists: &[&[Row<'_>]]) -> Request {
    let policy = policy(lists);
    let mut received = Vec::new();
    let mut headers = Headers::default();
    let lines = [
        ("X-User", "bob"),
        ("X-Old", "o"),
        ("Content-Type", sent.content_type),
        ("Content-Encoding", sent.encoding),
    ];
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        let start = received.len();
        received.extend_from_slice(name.as_bytes());
        let middle = received.len();
        received.extend_from_slice(value.as_bytes());
        let end = received.len();
        headers.push(
            Span::new(start, middle),
            Span::new(middle, end),
            KnownHeader::of(name.as_bytes()),
        );
    }
    let regex = regex::bytes::Regex::new("^(?:/users/(?<id>[0-9]+)(/x)?)").unwrap();
    let groups = Groups::of(&regex, b"/users/42/orders");
    let sources = Sources {
        headers: headers.on(&received),
        query: Some(QUERY.as_bytes()),
        captures: groups.numbered(),
        named_captures: groups.named(),
    };
    let (mut outgoing, mut memory) = (OutgoingHeaders::default(), EditMemory::default());
    let mut fields = outgoing.start_request(headers.on(&received), &received);
    let (mut path, mut query) = (b"/up".to_vec(), QUERY.as_bytes().to_vec());
    let mut body = sent.body.unwrap_or_default().as_bytes().to_vec();
    let mut record = Record::begin([b'0'; 32], 0, None, false);
    (record.has_query, record.body_read) = (true, sent.body.is_some());
    let mut result = Ok(());
    for id in policy.all::<EditList>().ids() {
        let mut parts = RequestParts {
            path: &mut path,
            query: &mut query,
            body: &mut body,
            record: &mut record,
        };
        let renderer = Renderer {
            policy: &policy,
            sources: &sources,
        };
        result = result.and(apply::edit_request(
            renderer,
            id,
            &mut memory,
            &mut parts,
            &mut fields,
        ));
    }
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = fields
        .iter()
        .map(|field| (string(field.name), string(field.value)))
        .collect();
    Request {
        fields,
        path: string(&path),
        query: string(&query),
        body: string(&body),
        record,
        result,
    }
}

use EditOp::{Add, Append, Remove, Rename, Replace, Set};
use EditPlace::{Body, Header, Method, Query, Uri};

#[test]
fn every_op_reaches_header_fields() {
    let request = edited(
        &BARE,
        &[&[
            (Header, Remove, "X-Old", &[]),
            (Header, Rename, "X-User", &text("X-Name")),
            (Header, Replace, "X-None", &text("no")),
            (Header, Add, "X-Name", &text("no")),
            (Header, Add, "X-New", &text("1")),
            (Header, Append, "X-New", &text("2")),
            (Header, Set, "X-Set", &text("s")),
        ]],
    );
    let fields: Vec<_> = request
        .fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(fields, ["X-Name: bob", "X-New: 1", "X-New: 2", "X-Set: s"]);
    assert!(!request.record.host_edited && !request.record.body_edited && request.record.method.is_none());
}

#[test]
fn only_replace_names_the_host_and_then_the_target_does_not() {
    let added = edited(&BARE, &[&[(Header, Add, "Host", &text("a.test"))]]);
    assert!(!added.record.host_edited);
    let replaced = edited(&BARE, &[&[(Header, Replace, "host", &text("a.test"))]]);
    assert!(replaced.record.host_edited);
    assert_eq!(replaced.field("host"), Some("a.test"));
}

#[test]
fn every_op_reaches_the_query() {
    let request = edited(
        &BARE,
        &[&[
            (Query, Remove, "r", &[]),
            (Query, Rename, "q", &text("s")),
            (Query, Replace, "s", &text("a b")),
            (Query, Add, "s", &text("no")),
            (Query, Append, "s", &text("3")),
            (Query, Set, "t", &text("4")),
        ]],
    );
    assert_eq!(request.query, "s=a%20b&s=3&t=4");
    let emptied = edited(&BARE, &[&[(Query, Remove, "q", &[]), (Query, Remove, "r", &[])]]);
    assert!(!emptied.record.has_query && emptied.query.is_empty());
    let untouched = edited(&BARE, &[&[(Query, Remove, "none", &[])]]);
    assert_eq!(untouched.query, QUERY);
}

#[test]
fn every_op_reaches_a_json_body_with_its_type() {
    let sent = Sent {
        content_type: "application/json",
        encoding: "",
        body: Some(r#"{"a":1,"b":2,"c":3.50}"#),
    };
    let list: &[Row<'_>] = &[
        (Body, Remove, "a", &[]),
        (Body, Rename, "b", &text("d")),
        (Body, Replace, "d", &text("x")),
        (Body, Add, "count", &text("7")),
        (Body, Append, "e", &text("y")),
    ];
    let request = edited(&sent, &[list]);
    assert_eq!(request.body, r#"{"d":"x","c":3.50,"count":7,"e":["y"]}"#);
    assert!(request.record.body_edited);
}

#[test]
fn bodies_that_are_unread_compressed_unparsable_or_of_another_type_go_on_as_they_are() {
    let list: &[Row<'_>] = &[(Body, Add, "a", &text("1")), (Header, Add, "X-After", &text("1"))];
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    for (content_type, encoding, body) in [
        (json, "", None),
        (json, "", Some("{")),
        ("text/plain", "", Some("{}")),
        ("", "", Some("{}")),
        (form, "gzip", Some("b=1")),
    ] {
        let request = edited(
            &Sent {
                content_type,
                encoding,
                body,
            },
            &[list],
        );
        assert_eq!(
            request.body,
            body.unwrap_or_default(),
            "{content_type} {encoding}"
        );
        assert!(
            !request.record.body_edited && request.result.is_ok(),
            "{content_type} {encoding}"
        );
        assert_eq!(
            request.field("X-After"),
            Some("1"),
            "edits after the body's still apply"
        );
    }
    let plain = edited(
        &Sent {
            content_type: form,
            encoding: "identity",
            body: Some("b=1"),
        },
        &[list],
    );
    assert_eq!(plain.body, "b=1&a=1");
}

#[test]
fn a_uri_replaces_the_whole_path_with_captures_and_stays_a_path() {
    use PartKind::{Capture, CaptureIndex, Literal};
    let template = [
        (Literal, "/v2/"),
        (Capture, "id"),
        (Literal, "/../u?"),
        (CaptureIndex, "1"),
    ];
    let request = edited(&BARE, &[&[(Uri, Set, "", &template)]]);
    assert_eq!((&request.path[..], &request.query[..]), ("/v2/u%3F42", QUERY));
    for bad in ["relative", "/../above"] {
        assert_eq!(
            edited(&BARE, &[&[(Uri, Set, "", &text(bad))]]).result,
            Err(Unrendered),
            "{bad}"
        );
    }
}

#[test]
fn a_method_without_use_for_a_body_takes_the_form_into_the_query() {
    let form = Sent {
        content_type: "application/x-www-form-urlencoded",
        encoding: "",
        body: Some("f=a+b&g"),
    };
    for (method, query) in [
        ("GET", "q=1&r=2&f=a+b&g"),
        ("HEAD", "q=1&r=2&f=a+b&g"),
        ("PUT", QUERY),
    ] {
        let request = edited(&form, &[&[(Method, Set, "", &text(method))]]);
        assert_eq!(request.record.method.as_deref(), Some(method.as_bytes()));
        assert_eq!(request.query, query, "{method}");
    }
    let json = Sent {
        content_type: "application/json",
        encoding: "",
        body: Some("{}"),
    };
    assert_eq!(edited(&json, &[&[(Method, Set, "", &text("GET"))]]).query, QUERY);
}

#[test]
fn a_method_that_would_break_the_request_line_is_refused() {
    for method in ["", "GET /x HTTP/1.1\r\nA:", "get"] {
        let request = edited(&BARE, &[&[(Method, Set, "", &text(method))]]);
        assert_eq!(request.result, Err(Unrendered), "{method:?}");
        assert_eq!(request.record.method, None);
    }
}

#[test]
fn a_look_up_that_finds_nothing_is_empty() {
    let missing = [(PartKind::Header, "nobody")];
    let request = edited(
        &BARE,
        &[&[(Header, Add, "X-None", &missing), (Query, Add, "none", &missing)]],
    );
    assert_eq!(request.result, Ok(()));
    assert!(
        request.fields.contains(&("X-None".to_owned(), String::new())),
        "{:?}",
        request.fields
    );
    assert!(request.query.ends_with("none="), "{}", request.query);
    let method = edited(&BARE, &[&[(Method, Set, "", &missing)]]);
    assert_eq!(method.result, Err(Unrendered), "a method cannot be empty");
}

#[test]
fn a_second_list_sees_what_the_first_left_but_looks_up_what_was_received() {
    let first: &[Row<'_>] = &[
        (Header, Replace, "X-User", &text("eve")),
        (Query, Add, "s", &text("3")),
        (Body, Add, "a", &text("1")),
    ];
    let second: &[Row<'_>] = &[
        (Header, Rename, "X-User", &text("X-Name")),
        (Header, Add, "X-Received", &[(PartKind::Header, "x_user")]),
        (Query, Append, "s", &[(PartKind::Query, "q")]),
        (Body, Append, "a", &text("2")),
    ];
    let sent = Sent {
        content_type: "application/json",
        encoding: "",
        body: Some("{}"),
    };
    let request = edited(&sent, &[first, second]);
    assert_eq!(request.field("X-Name"), Some("eve"));
    assert_eq!(request.field("X-Received"), Some("bob"));
    assert_eq!(request.query, "q=1&r=2&s=3&s=1");
    assert_eq!(request.body, r#"{"a":["1","2"]}"#);
    let other = edited(&sent, &[second, first]);
    assert_eq!(other.field("X-Name"), Some("bob"));
    assert_eq!(other.body, r#"{"a":["2"]}"#);
}

/// The fields and the body of a response after its lists.
fn answered(body: &str, lists: &[&[Row<'_>]]) -> (Vec<String>, String) {
    let policy = policy(lists);
    let headers = Headers::default();
    let sources = Sources {
        headers: headers.on(b""),
        query: None,
        captures: &[],
        named_captures: &[],
    };
    let renderer = Renderer {
        policy: &policy,
        sources: &sources,
    };
    let (mut outgoing, mut memory) = (OutgoingHeaders::default(), EditMemory::default());
    let mut fields = outgoing.start_empty();
    fields.set(b"Server", b"origin");
    let mut body = body.as_bytes().to_vec();
    for id in policy.all::<EditList>().ids() {
        apply::edit_response_json(renderer, id, &mut memory, &mut body);
        apply::edit_response_headers(renderer, id, &mut memory, &mut fields);
    }
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = fields
        .iter()
        .map(|field| format!("{}: {}", string(field.name), string(field.value)));
    (lines.collect(), string(&body))
}

#[test]
fn a_response_gets_its_headers_and_json_from_every_list() {
    let first: &[Row<'_>] = &[(Header, Remove, "Server", &[]), (Body, Add, "count", &text("1"))];
    let second: &[Row<'_>] = &[
        (Body, Replace, "count", &text("2")),
        (Header, Add, "Server", &text("gate")),
    ];
    let (fields, body) = answered(r#"{"a":[1, 2]}"#, &[first, second]);
    assert_eq!(fields, ["Server: gate"]);
    assert_eq!(body, r#"{"a":[1, 2],"count":2}"#);
}

#[test]
fn a_response_that_is_no_object_passes_unchanged() {
    for body in ["", "{", "[1]", "text"] {
        assert_eq!(answered(body, &[&[(Body, Add, "a", &text("1"))]]).1, body);
    }
}

#[test]
fn captures_are_had_only_where_a_template_asks() {
    let plain: &[Row<'_>] = &[(Uri, Set, "", &text("/a"))];
    let asking: &[Row<'_>] = &[(
        Uri,
        Set,
        "",
        &[(PartKind::Literal, "/"), (PartKind::CaptureIndex, "1")],
    )];
    let policy = policy(&[plain, asking]);
    let asks: Vec<bool> = policy
        .all()
        .ids()
        .map(|id| apply::uses_captures(&policy, id))
        .collect();
    assert_eq!(asks, [false, true]);
}
