//! request-size-limiting: too large, too vague, and not read further than needed.

use anyhow::Result;
use tests::{Client, Gateway, Origin, Response};

use crate::one_route;

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: request-size-limiting, config: {config}}}"),
        "",
    ))
}

fn post(gateway: &Gateway, bytes: usize, headers: &[(&str, &str)]) -> Result<Response> {
    Client::fetch(gateway.addr(), "POST", "/", headers, &vec![b'x'; bytes])
}

#[test]
fn the_limit_itself_passes_and_one_more_byte_does_not() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{allowed_payload_size: 2, size_unit: kilobytes}")?;
    assert_eq!(post(&gateway, 2048, &[])?.status, 200);
    let refusal = post(&gateway, 2049, &[])?;
    assert_eq!(
        (refusal.status, refusal.json()["message"].as_str()),
        (413, Some("Request size limit exceeded"))
    );
    assert_eq!(origin.requests().len(), 1);
    Ok(())
}

#[test]
fn a_client_that_waits_to_send_is_told_417() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{allowed_payload_size: 10, size_unit: bytes}")?;
    let mut client = Client::connect(gateway.addr())?;
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")?;
    let answer = client.response("POST")?;
    assert_eq!((answer.status, answer.interim.len()), (417, 0));
    Ok(())
}

#[test]
fn a_chunked_body_is_measured_as_it_comes() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{allowed_payload_size: 10, size_unit: bytes}")?;
    let chunked = |body: &[u8]| -> Result<u16> {
        let mut client = Client::connect(gateway.addr())?;
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        client.send(body)?;
        Ok(client.response("POST")?.status)
    };
    assert_eq!(chunked(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")?, 200);
    assert_eq!(chunked(b"5\r\nhello\r\n6\r\nworld!\r\n0\r\n\r\n")?, 413);
    Ok(())
}

#[test]
fn a_length_can_be_demanded() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{require_content_length: true}")?;
    assert_eq!(post(&gateway, 5, &[])?.status, 200);
    let refusal = Client::fetch(gateway.addr(), "POST", "/", &[], b"")?;
    assert_eq!(
        (refusal.status, refusal.json()["message"].as_str()),
        (411, Some("A valid Content-Length header is required"))
    );
    Ok(())
}
