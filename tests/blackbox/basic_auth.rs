//! basic-auth: right and wrong passwords, and what the origin learns.

use anyhow::Result;
use tests::{Curl, Gateway, Origin};

use crate::one_route;

const CONSUMERS: &str = "consumers:\n- {username: ada, basicauth_credentials: [{username: ada@example.com, password: 'p:ä w'}]}\n";

fn gateway(origin: &Origin, config: &str) -> Result<Gateway> {
    Gateway::start(one_route(
        &origin.url(),
        &format!("{{name: basic-auth, config: {config}}}"),
        CONSUMERS,
    ))
}

#[test]
fn the_right_password_passes() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{}")?;
    let answer = Curl::new(&gateway.url("/"))?
        .args(["--user", "ada@example.com:p:ä w"])
        .run()?;
    assert_eq!(answer.status, 200);
    let seen = origin.last();
    assert_eq!(seen.header("X-Consumer-Username"), "ada");
    assert_eq!(seen.header("X-Credential-Identifier"), "ada@example.com");
    assert!(seen.headers.has("Authorization"));
    Ok(())
}

#[test]
fn anything_else_is_unauthorized() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{}")?;
    for wrong in [
        "ada@example.com:p:ä",
        "ada@example.com:",
        "ada:p:ä w",
        ":",
        "eve@example.com:p:ä w",
    ] {
        let answer = Curl::new(&gateway.url("/"))?.args(["--user", wrong]).run()?;
        assert_eq!(
            (answer.status, answer.json()["message"].as_str()),
            (401, Some("Unauthorized")),
            "{wrong}"
        );
        assert_eq!(answer.header("WWW-Authenticate"), "Basic realm=\"service\"");
    }
    for broken in ["Basic", "Basic !!!", "Basic YWRh", "Bearer YWRhOnB3", "basic"] {
        assert_eq!(
            Curl::new(&gateway.url("/"))?
                .header("Authorization", broken)
                .run()?
                .status,
            401,
            "{broken}"
        );
    }
    assert!(origin.requests().is_empty());
    Ok(())
}

#[test]
fn hidden_credentials_never_reach_the_origin() -> Result<()> {
    let origin = Origin::echo()?;
    let gateway = gateway(&origin, "{hide_credentials: true, realm: shop}")?;
    assert_eq!(
        Curl::new(&gateway.url("/"))?
            .args(["--user", "ada@example.com:p:ä w"])
            .run()?
            .status,
        200
    );
    assert!(!origin.last().headers.has("Authorization"));
    let answer = Curl::new(&gateway.url("/"))?.run()?;
    assert_eq!(answer.header("WWW-Authenticate"), "Basic realm=\"shop\"");
    Ok(())
}
