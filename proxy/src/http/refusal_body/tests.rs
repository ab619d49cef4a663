use super::*;

fn body(kind: BodyType, message: &str) -> String {
    let mut out = Vec::new();
    kind.write(message, "R", &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn bodies_are_kongs_to_the_byte() {
    assert_eq!(
        body(BodyType::Json, "M"),
        "{\n  \"message\":\"M\",\n  \"request_id\":\"R\"\n}"
    );
    assert_eq!(body(BodyType::Plain, "M"), "M\nrequest_id: R\n");
    assert_eq!(
        body(BodyType::Xml, "M"),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>M</message>\n  <requestid>R</requestid>\n</error>\n"
    );
    let html = [
        "<!doctype html>",
        "<html>",
        "  <head>",
        "    <meta charset=\"utf-8\">",
        "    <title>Error</title>",
        "  </head>",
        "  <body>",
        "    <h1>Error</h1>",
        "    <p>M.</p>",
        "    <p>request_id: R</p>",
        "  </body>",
        "</html>",
        "",
    ];
    assert_eq!(body(BodyType::Html, "M"), html.join("\n"));
    assert_eq!(body(BodyType::Grpc, "M"), "");
}

#[test]
fn messages_stay_text() {
    let hostile = "a\"b\\c\n<script>&'\u{1}é";
    let json: serde_json::Value = serde_json::from_str(&body(BodyType::Json, hostile)).unwrap();
    assert_eq!(json["message"], hostile);
    assert!(body(BodyType::Html, hostile).contains("<p>a&quot;b\\c\n&lt;script&gt;&amp;&#39;\u{1}é.</p>"));
    assert!(body(BodyType::Xml, "<a>").contains("<message>&lt;a&gt;</message>"));
}

#[test]
fn bare_bodies_are_compact() {
    let mut out = Vec::new();
    write_message("No \"x\"", &mut out);
    out.push(b'\n');
    write_error_message("M", &mut out);
    out.push(b'\n');
    write_unknown_status(418, &mut out);
    let expected = "{\"message\":\"No \\\"x\\\"\"}\n{\"error\":{\"message\":\"M\"}}\nThe upstream server responded with 418";
    assert_eq!(out, expected.as_bytes());
}

#[test]
fn accept_chooses_the_type() {
    let rows: [(&str, BodyType); 16] = [
        ("application/json", BodyType::Json),
        ("text/plain", BodyType::Plain),
        ("TEXT/HTML", BodyType::Html),
        ("application/xml; charset=utf-8", BodyType::Xml),
        ("*/*", BodyType::Json),
        ("application/*", BodyType::Json),
        ("text/*", BodyType::Plain),
        ("image/png", BodyType::Json),
        ("", BodyType::Json),
        ("nonsense", BodyType::Json),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            BodyType::Html,
        ),
        (
            "text/plain;q=0.3, text/html;q=0.7, application/xml;q=0.5",
            BodyType::Html,
        ),
        ("application/xml;q=0.5, text/plain; q=0.5", BodyType::Xml),
        ("text/html;q=0, text/plain;q=0.001", BodyType::Plain),
        ("text/html;level=1;q=0.4, text/plain;q=0.41", BodyType::Plain),
        ("text/html;q=abc, text/plain;q=0.1", BodyType::Plain),
    ];
    for (accept, kind) in rows {
        assert_eq!(
            BodyType::negotiate(Some(accept.as_bytes()), None),
            kind,
            "{accept}"
        );
    }
}

#[test]
fn the_two_defaults_differ() {
    let [json, html, grpc] = [&b"application/json"[..], b"text/html", b"application/grpc+proto"].map(Some);
    assert_eq!(BodyType::negotiate(None, html), BodyType::Json);
    assert_eq!(BodyType::negotiate_below_plugins(None, None), BodyType::Plain);
    assert_eq!(BodyType::negotiate_below_plugins(None, html), BodyType::Html);
    assert_eq!(BodyType::negotiate_below_plugins(json, html), BodyType::Json);
    assert_eq!(BodyType::negotiate(html, grpc), BodyType::Grpc);
    assert_eq!(BodyType::negotiate_below_plugins(html, grpc), BodyType::Grpc);
}
