//! gRPC: the official library on both ends, with the gateway between them.

use anyhow::{Context, Result};
use serde_json::json;
use tests::{Authority, Client, Curl, Frame, Frames, Gateway, Grpc, Nginx};

use crate::tls::certificates;

fn policy(url: &str, protocols: &str, plugins: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: echo\n  url: {url}\n  routes:\n  - {{name: all, paths: [/], \
         protocols: [{protocols}], plugins: [{plugins}]}}\nconsumers: [{{username: ann, keyauth_credentials: \
         [{{key: ann-key}}]}}]\n"
    )
}

#[test]
fn every_kind_of_call_passes() -> Result<()> {
    let grpc = Grpc::start()?;
    let url = format!("grpc://127.0.0.1:{}", grpc.serve()?);
    let gateway = Gateway::start(policy(&url, "grpc", "{name: correlation-id}"))?;
    let target = gateway.addr().to_string();
    for _ in 0..3 {
        let results = grpc.call(&target, &json!({}))?;
        assert_eq!(results["unary"]["same"], true, "{results}");
        assert_eq!(results["unary"]["trailers"]["x-trailer"], "late");
        assert_eq!(results["server_stream"], 500);
        assert_eq!(results["client_stream"], "1000000");
        assert_eq!(results["bidi"].as_array().map(Vec::len), Some(20));
        assert_eq!(results["fail"]["code"], "NOT_FOUND");
        assert_eq!(results["fail"]["details"], "no such thing: %41 ü");
        assert_eq!(results["fail"]["trailers"]["x-why"], "asked");
        assert_eq!(results["deadline"]["code"], "DEADLINE_EXCEEDED");
    }
    Ok(())
}

#[test]
fn refusals_have_the_shape_of_grpc() -> Result<()> {
    let grpc = Grpc::start()?;
    let url = format!("grpc://127.0.0.1:{}", grpc.serve()?);
    let gateway = Gateway::start(policy(&url, "grpc", "{name: key-auth}"))?;
    let target = gateway.addr().to_string();
    let refused = grpc.call(&target, &json!({}))?;
    for kind in ["unary", "server_stream", "client_stream", "bidi"] {
        assert_eq!(refused[kind]["code"], "UNAUTHENTICATED", "{kind}: {refused}");
        assert_eq!(refused[kind]["details"], "No API key found in request");
    }
    let allowed = grpc.call(&target, &json!({"apikey": "ann-key"}))?;
    assert_eq!(allowed["unary"]["same"], true, "{allowed}");
    Ok(())
}

#[test]
fn an_upstream_that_is_not_there_is_unavailable() -> Result<()> {
    let grpc = Grpc::start()?;
    let gateway = Gateway::start(policy("grpc://127.0.0.1:1", "grpc", ""))?;
    let results = grpc.call(&gateway.addr().to_string(), &json!({}))?;
    // 502 is none of the statuses that Kong has a code for.
    assert_eq!(results["unary"]["code"], "INTERNAL", "{results}");
    Ok(())
}

#[test]
fn a_grpc_route_takes_nothing_else() -> Result<()> {
    let gateway = Gateway::start(policy("grpc://127.0.0.1:1", "grpc", ""))?;
    let answer = Client::get(gateway.addr(), "/", &[])?;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.json()["message"], "Non-gRPC request matched gRPC route");
    let answer = Client::get(gateway.addr(), "/", &[("Content-Type", "application/grpc")])?;
    assert_eq!(answer.header("grpc-message"), "Please use HTTP2 protocol");
    assert_eq!(answer.header("Upgrade"), "HTTP/2");
    let gateway = Gateway::start(policy("grpc://127.0.0.1:1", "grpcs", ""))?;
    let mut frames = Frames::connect(gateway.addr())?;
    let kind = Frame::field("content-type", "application/grpc");
    frames.push(&[Frame::request(1, "POST", "/", true).and(&kind)])?;
    let answer = frames.find(|frame| frame.kind == 1)?.context("an answer")?;
    let told = b"gRPC request matched gRPCs route";
    assert!(
        answer.payload.windows(told.len()).any(|it| it == told),
        "{answer:?}"
    );
    Ok(())
}

#[test]
fn upstreams_over_tls_agree_on_http_2_or_are_refused() -> Result<()> {
    let authority = Authority::new()?;
    let certificate = authority.issue(&["localhost"])?;
    let location = "location / { default_type application/grpc; return 200 \"$server_protocol\"; }";
    let nginx = Nginx::start_tls(location, &certificate)?;
    let port = nginx.tls_addr().context("a TLS port")?.port();
    let gateway = Gateway::builder(
        policy(&format!("grpcs://localhost:{port}"), "grpcs", "")
            + &certificates(&[(&certificate, &["localhost"])]),
    )
    .tls()
    .flag("--upstream-tls-verify=false")
    .start()?;
    // This server offers HTTP/1.1 alone.
    let answer = Curl::new(&format!("https://{}/", gateway.tls_addr()))?
        .args(["--insecure", "--http2"])
        .header("Content-Type", "application/grpc")
        .run()?;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, "13"));
    Ok(())
}

#[test]
fn httpx_speaks_http_2_over_tls() -> Result<()> {
    let (nginx, authority) = (
        Nginx::start("location / { return 200 hello; }")?,
        Authority::new()?,
    );
    let list = certificates(&[(&authority.issue(&["localhost"])?, &["localhost"])]);
    let gateway = Gateway::builder(crate::one_route(&format!("http://{}", nginx.addr()), "", &list))
        .tls()
        .start()?;
    let url = format!("https://{}/", gateway.tls_addr());
    let outcome = Grpc::start()?.get(&url, 50)?;
    assert_eq!(outcome, json!({"versions": ["HTTP/2"], "statuses": [200]}));
    Ok(())
}
