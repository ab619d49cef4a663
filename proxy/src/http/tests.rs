//! The whole room at once: a request goes through, and no memory is asked for.

use policy::path::{PathRules, canonicalise};

use super::body::{BodyLength, BodyReader, BodyStep};
use super::forwarding::{Forwarding, write_via};
use super::h1::encode::{Connection, Framing, write_request, write_response};
use super::h1::head::RequestDecoder;
use super::h1::response::ResponseDecoder;
use super::head::{RequestHead, ResponseHead, Version};
use super::outgoing::OutgoingHeaders;
use super::query::Arguments;
use super::refusal_body::BodyType;
use super::upstream_path;
use crate::edit::body::{BodyEditor, BodyType as Edited};
use crate::edit::{Edit, EditOp, JsonType};

const REQUEST: &[u8] = b"POST /api/../api/%7ebob//x?key=secret&page=2 HTTP/1.1\r\nHost: api.example\r\nUser-Agent: curl\r\n\
    Accept: */*\r\nContent-Type: application/json\r\nX-Forwarded-For: 10.1.1.1\r\nConnection: x-gone\r\nX-Gone: 1\r\n\
    Transfer-Encoding: chunked\r\n\r\nb\r\n{\"a\":[1,2]}\r\n0\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

#[derive(Default)]
struct Memory {
    head: RequestHead,
    response: ResponseHead,
    outgoing: OutgoingHeaders,
    arguments: Arguments,
    bodies: BodyEditor,
    canonical: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    body: Vec<u8>,
    out: Vec<u8>,
}

fn exchange(memory: &mut Memory) {
    for buffer in [&mut memory.query, &mut memory.body, &mut memory.out] {
        buffer.clear();
    }
    let length = RequestDecoder::default()
        .decode(REQUEST, &mut memory.head)
        .unwrap()
        .unwrap();
    let request = memory.head.on(REQUEST);
    canonicalise(request.raw_path(), PathRules::default(), &mut memory.canonical).unwrap();
    upstream_path::join(b"/v1", &memory.canonical, Some("/api".len()), &mut memory.path);

    let mut arguments = memory.arguments.start(request.query().unwrap());
    arguments.remove(b"key");
    arguments.add(b"user", b"b b");
    arguments.write_to(&mut memory.query);

    let mut reader = BodyReader::new(memory.head.body);
    let BodyStep::Data { start, end } = reader.advance(&REQUEST[length..]).unwrap() else {
        panic!("the chunk is all there");
    };
    let mut body = memory
        .bodies
        .start(Edited::Json, &REQUEST[length + start..length + end])
        .unwrap();
    let add = Edit {
        op: EditOp::Append,
        name: b"a",
        value: b"x",
        json_type: JsonType::String,
    };
    add.apply(&mut body);
    body.write_to(&mut memory.body);

    let mut fields = memory.outgoing.start_request(request.headers(), REQUEST);
    fields.set(b"Host", b"upstream:8080");
    facts().write(request.headers(), &mut fields);
    fields.rename(b"User-Agent", b"X-Agent");
    let framing = Framing::Length(memory.body.len() as u64);
    let query = Some(&memory.query[..]);
    let out = &mut memory.out;
    write_request(
        request.method(),
        &memory.path,
        query,
        &fields,
        framing,
        Connection::KeepAlive,
        out,
    );
    out.extend_from_slice(&memory.body);

    let method = memory.head.method;
    ResponseDecoder::default()
        .decode(RESPONSE, method, &mut memory.response)
        .unwrap()
        .unwrap();
    let received = memory.response.headers.on(RESPONSE);
    let mut fields = memory.outgoing.start_response(received, RESPONSE);
    write_via(received, Version::Http11, "kong/3.9.1", &mut fields);
    let framing = Framing::of_response(&memory.response, RESPONSE, method, Version::Http11);
    write_response(
        memory.response.status,
        &fields,
        framing,
        Connection::KeepAlive,
        out,
    );
    BodyType::negotiate(request.headers().find(b"accept"), None).write("No", "id", out);
}

fn facts() -> Forwarding<'static> {
    Forwarding {
        peer: "10.0.0.1",
        client: "10.0.0.1",
        peer_is_trusted: false,
        scheme: "http",
        host: b"api.example",
        port: 8000,
        path: b"/api/../api/%7ebob//x",
        prefix: Some(b"/api"),
        request_id: Some(b"0123456789abcdef0123456789abcdef"),
        version: Version::Http11,
        product: "kong/3.9.1",
    }
}

#[test]
fn an_exchange_is_written_as_read_judged_and_edited() {
    let mut memory = Memory::default();
    exchange(&mut memory);
    let expected = "POST /v1/~bob/x?page=2&user=b%20b HTTP/1.1\r\nX-Agent: curl\r\nAccept: */*\r\n\
        Content-Type: application/json\r\nHost: upstream:8080\r\nX-Forwarded-For: 10.1.1.1, 10.0.0.1\r\n\
        X-Forwarded-Proto: http\r\nX-Forwarded-Host: api.example\r\nX-Forwarded-Port: 8000\r\n\
        X-Forwarded-Path: /api/../api/%7ebob//x\r\nX-Forwarded-Prefix: /api\r\nX-Real-IP: 10.0.0.1\r\n\
        Via: 1.1 kong/3.9.1\r\nX-Kong-Request-Id: 0123456789abcdef0123456789abcdef\r\nContent-Length: 15\r\n\
        Connection: keep-alive\r\n\r\n{\"a\":[1,2,\"x\"]}\
        HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nVia: 1.1 kong/3.9.1\r\nContent-Length: 2\r\n\
        Connection: keep-alive\r\n\r\n{\n  \"message\":\"No\",\n  \"request_id\":\"id\"\n}";
    assert_eq!(memory.head.body, BodyLength::Chunked);
    assert_eq!(
        memory.out.escape_ascii().to_string(),
        expected.as_bytes().escape_ascii().to_string()
    );
}

#[test]
fn a_warm_exchange_allocates_nothing() {
    let mut memory = Memory::default();
    let cold = allocation_counter::measure(|| exchange(&mut memory));
    assert!(cold.count_total > 0, "the counter counts");
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            exchange(&mut memory);
        }
    });
    assert_eq!(counted.count_total, 0);
}
