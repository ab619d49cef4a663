//! The peers themselves, without a gateway: a test that fails here says the rig or the machine is at fault.

use anyhow::Result;
use serde_json::json;
use tests::{Authority, Curl, Llm, Nginx, OpenAi, Scenario};

#[test]
fn nginx_and_curl_speak_plain_and_tls() -> Result<()> {
    let authority = Authority::new()?;
    let nginx = Nginx::start_tls(
        "location / { return 200 hello; }",
        &authority.issue(&["localhost"])?,
    )?;
    assert_eq!(
        Curl::new(&format!("http://{}/", nginx.addr()))?.run()?.text(),
        "hello"
    );
    let file = nginx.scratch().write("authority.pem", authority.pem())?;
    let port = nginx.tls_addr().map_or(0, |addr| addr.port());
    let verified = Curl::new(&format!("https://localhost:{port}/"))?
        .args(["--cacert"])
        .args([&file])
        .run()?;
    assert_eq!(verified.text(), "hello");
    assert!(
        Curl::new(&format!("https://localhost:{port}/"))?.run().is_err(),
        "an unknown authority is refused"
    );
    assert_eq!(nginx.access_log()?, "GET / HTTP/1.1 200\nGET / HTTP/1.1 200\n");
    Ok(())
}

#[test]
fn the_openai_sdk_understands_the_mock_provider() -> Result<()> {
    let (llm, sdk) = (Llm::start(Scenario::default())?, OpenAi::start()?);
    let messages = json!([{"role": "user", "content": "12345678"}]);
    let asked =
        json!({"model": "m:split=1", "messages": messages, "stream_options": {"include_usage": true}});
    let stream = sdk.call(llm.addr(), "stream", &asked)?;
    assert_eq!(
        (&stream["text"], &stream["usage"]["total_tokens"]),
        (&json!(Scenario::text(16)), &json!(22))
    );
    let vectors = sdk.call(
        llm.addr(),
        "embeddings",
        &json!({"model": "m", "input": ["a", "b"]}),
    )?;
    assert_eq!(vectors["vectors"], json!([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]));
    let refused = sdk.call(
        llm.addr(),
        "chat",
        &json!({"model": "m:status=429", "messages": messages}),
    )?;
    assert_eq!(refused["error"]["class"], "RateLimitError");
    Ok(())
}
