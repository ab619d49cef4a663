//! Which version of HTTP services are spoken to in: what their tag says, and what they agree to.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tests::{Authority, Client, Gateway, Nginx};

/// Tells the version and the connection it was asked on, and what was asked for beside it. Keeps what is put.
const LOCATIONS: &str = "location / { return 200 \"$server_protocol $connection $http_upgrade\"; }\n\
                         location /kept/ { dav_methods PUT; create_full_put_path on; }";

/// A gateway before an nginx, whose services are spoken to in a version each.
struct Scene {
    nginx: Nginx,
    gateway: Gateway,
}

impl Scene {
    /// A route `/NAME` for each service: name, URL without its port, its address, and its tag.
    fn new(
        services: impl Fn(&Nginx) -> Result<Vec<(&'static str, &'static str, SocketAddr, &'static str)>>,
    ) -> Result<Self> {
        let authority = Authority::new()?;
        let nginx = Nginx::start_tls(LOCATIONS, &authority.issue(&["localhost"])?)?;
        let mut policy = "_format_version: \"3.0\"\nservices:\n".to_owned();
        for (name, url, addr, tag) in services(&nginx)? {
            let port = addr.port();
            policy += &format!(
                "- {{name: {name}, url: \"{url}:{port}\", tags: [{tag}], routes: [{{name: {name}, paths: [/{name}]}}]}}\n"
            );
        }
        let gateway = Gateway::builder(policy)
            .workers(1)
            .flag("--upstream-tls-verify=false")
            .start()?;
        Ok(Self { nginx, gateway })
    }

    /// The three that nginx offers: HTTP/2 in plain text, HTTP/1.1 alone and both through TLS.
    fn addresses(nginx: &Nginx) -> Result<(SocketAddr, SocketAddr, SocketAddr)> {
        Ok((
            nginx.http2_addr(),
            nginx.tls_addr().context("with TLS")?,
            nginx.tls_http2_addr().context("with TLS and HTTP/2")?,
        ))
    }

    /// What the server tells: the version, the connection, and the protocol asked for.
    fn told(&self, path: &str, headers: &[(&str, &str)]) -> Result<(String, String, String)> {
        let answer = Client::get(self.gateway.addr(), path, headers)?;
        anyhow::ensure!(answer.status == 200, "{path}: {}", answer.status);
        let text = answer.text();
        let mut words = text.splitn(3, ' ').map(str::to_owned);
        let mut next = || words.next().context("three words");
        Ok((next()?, next()?, next()?))
    }
}

#[test]
fn a_service_is_spoken_to_in_the_version_that_its_tag_says() -> Result<()> {
    let scene = Scene::new(|nginx| {
        let (plain, one, both) = Scene::addresses(nginx)?;
        Ok(vec![
            ("untagged", "https://localhost", both, ""),
            ("first", "https://localhost", both, "\"tollgate:http=1.1\""),
            ("second", "https://localhost", both, "\"tollgate:http=2\""),
            ("best", "https://localhost", both, "\"tollgate:http=auto\""),
            ("fallen", "https://localhost", one, "\"tollgate:http=auto\""),
            ("never", "https://localhost", one, "\"tollgate:http=2\""),
            ("known", "http://localhost", plain, "\"tollgate:http=2\""),
        ])
    })?;
    for (path, version) in [
        ("/untagged", "HTTP/1.1"),
        ("/first", "HTTP/1.1"),
        ("/second", "HTTP/2.0"),
        ("/best", "HTTP/2.0"),
        ("/fallen", "HTTP/1.1"),
        ("/known", "HTTP/2.0"),
    ] {
        assert_eq!(scene.told(path, &[])?.0, version, "{path}");
    }
    // It speaks HTTP/1.1 alone, which is not what the file wants.
    assert_eq!(Client::get(scene.gateway.addr(), "/never", &[])?.status, 502);
    Ok(())
}

#[test]
fn bodies_without_a_length_arrive_whole_in_either_version() -> Result<()> {
    let scene = Scene::new(|nginx| {
        let (plain, one, both) = Scene::addresses(nginx)?;
        Ok(vec![
            ("best", "https://localhost", both, "\"tollgate:http=auto\""),
            ("fallen", "https://localhost", one, "\"tollgate:http=auto\""),
            ("known", "http://localhost", plain, "\"tollgate:http=2\""),
        ])
    })?;
    for name in ["best", "fallen", "known"] {
        // Twice: on a new connection, and on one that is there.
        for turn in 0..2 {
            let path = format!("/{name}/kept/{name}-{turn}");
            let mut client = Client::connect(scene.gateway.addr())?;
            client.send(
                format!(
                    "PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n"
                )
                .as_bytes(),
            )?;
            assert_eq!(client.response("PUT")?.status, 201, "{path}");
            let file = scene.nginx.scratch().path().join(format!("kept/{name}-{turn}"));
            assert_eq!(std::fs::read_to_string(file)?, "first second");
        }
    }
    Ok(())
}

#[test]
fn who_asks_for_another_protocol_is_asked_over_http_1() -> Result<()> {
    let scene = Scene::new(|nginx| {
        let (_, _, both) = Scene::addresses(nginx)?;
        Ok(vec![(
            "best",
            "https://localhost",
            both,
            "\"tollgate:http=auto\"",
        )])
    })?;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let asked = |headers| scene.told("/best", headers);
    let first = asked(&[])?;
    assert_eq!((&*first.0, &*first.2), ("HTTP/2.0", ""));
    let asking = asked(&upgrade)?;
    assert_eq!((&*asking.0, &*asking.2), ("HTTP/1.1", "websocket"));
    // Either connection serves its own kind from now on.
    assert_eq!(asked(&[])?.1, first.1);
    assert_eq!(asked(&upgrade)?.1, asking.1);
    Ok(())
}

#[test]
fn a_burst_is_answered_whatever_the_server_chooses() -> Result<()> {
    let scene = Scene::new(|nginx| {
        let (_, one, both) = Scene::addresses(nginx)?;
        Ok(vec![
            ("best", "https://localhost", both, "\"tollgate:http=auto\""),
            ("fallen", "https://localhost", one, "\"tollgate:http=auto\""),
        ])
    })?;
    for (path, version) in [("/best", "HTTP/2.0"), ("/fallen", "HTTP/1.1")] {
        let connections = std::thread::scope(|scope| -> Result<Vec<String>> {
            let clients: Vec<_> = (0..24).map(|_| scope.spawn(|| scene.told(path, &[]))).collect();
            let told = clients.into_iter().map(|client| {
                let (spoken, connection, _) = client.join().expect("no panic")?;
                assert_eq!(spoken, version);
                Ok(connection)
            });
            told.collect()
        })?;
        let mut distinct = connections.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(version == "HTTP/1.1" || distinct.len() == 1, "{connections:?}");
    }
    Ok(())
}
