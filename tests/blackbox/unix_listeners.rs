//! Listeners on Unix sockets: their files, and what is known of clients that have no address.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::{Authority, Curl, Gateway, GatewayBuilder, Origin, Response, Scratch};

use crate::{echoed, eventually, one_route};

/// A place for a socket.
fn place() -> Result<(Scratch, PathBuf)> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join("http.sock");
    Ok((scratch, path))
}

fn listening(policy: String, path: &Path, options: &str) -> GatewayBuilder {
    Gateway::builder(policy).flag(&format!("--listen=unix:{}{options}", path.display()))
}

fn ask(path: &Path, headers: &[(&str, &str)]) -> Result<Response> {
    let mut curl = Curl::new("http://localhost/")?.args(["--unix-socket", &path.display().to_string()]);
    for (name, value) in headers {
        curl = curl.header(name, value);
    }
    curl.run()
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[test]
fn a_client_on_a_unix_socket_is_told_on_as_nginx_and_kong_do() -> Result<()> {
    let (origin, (scratch, path)) = (Origin::echo()?, place()?);
    let log = scratch.path().join("requests.log");
    let plugin = format!("{{name: file-log, config: {{path: '{}'}}}}", log.display());
    let gateway = listening(one_route(&origin.url(), &plugin, ""), &path, "").start()?;
    assert_eq!(gateway.ready()["listen"][1], format!("unix:{}", path.display()));
    let claims = [("X-Real-IP", "192.0.2.7"), ("X-Forwarded-Proto", "https")];
    let view = ask(&path, &claims)?.json();
    for (header, expected) in [
        ("X-Real-IP", "unix:"),
        ("X-Forwarded-For", "unix:"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port", "80"),
    ] {
        assert_eq!(echoed(&view, header).as_deref(), Some(expected), "{header}");
    }
    let line = eventually("a line", || {
        let text = std::fs::read_to_string(&log).ok()?;
        serde_json::from_str::<serde_json::Value>(text.lines().next()?).ok()
    });
    assert_eq!(line["client_ip"], "unix:");
    assert_eq!(line["request"]["url"], "http://localhost:80/");
    Ok(())
}

#[test]
fn no_list_of_addresses_lets_a_unix_peer_pass() -> Result<()> {
    let origin = Origin::echo()?;
    for lists in ["allow: ['0.0.0.0/0', '::/0']", "deny: [192.0.2.0/24]"] {
        let (_scratch, path) = place()?;
        let plugin = format!("{{name: ip-restriction, config: {{{lists}}}}}");
        // A network of addresses trusts no Unix peer either, however wide.
        let _gateway = listening(one_route(&origin.url(), &plugin, ""), &path, "")
            .flag("--trusted-ip=0.0.0.0/0,::/0")
            .start()?;
        for claim in [&[][..], &[("X-Real-IP", "198.51.100.7")]] {
            let answer = ask(&path, claim)?;
            assert_eq!(answer.status, 403, "{lists}");
            assert_eq!(answer.json()["message"], "IP address not allowed: unix:");
        }
    }
    assert_eq!(origin.requests().len(), 0);
    Ok(())
}

#[test]
fn a_trusted_unix_peer_names_the_client() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let plugin = "{name: ip-restriction, config: {allow: [198.51.100.0/24]}}";
    let _gateway = listening(one_route(&origin.url(), plugin, ""), &path, "")
        .flag("--trusted-ip=unix:")
        .start()?;
    let named = |address: &str| ask(&path, &[("X-Real-IP", address), ("X-Forwarded-For", address)]);
    let view = named("198.51.100.7")?.json();
    assert_eq!(echoed(&view, "X-Real-IP").as_deref(), Some("198.51.100.7"));
    assert_eq!(
        echoed(&view, "X-Forwarded-For").as_deref(),
        Some("198.51.100.7, unix:")
    );
    assert_eq!(named("192.0.2.7")?.status, 403);
    assert_eq!(ask(&path, &[])?.status, 403, "it names nobody");
    Ok(())
}

#[test]
fn a_trusted_unix_peer_may_send_proxy_headers() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let gateway = listening(one_route(&origin.url(), "", ""), &path, "")
        .flag("--trusted-ip=unix:")
        .flag("--proxy-protocol")
        .start()?;
    let ask = |header: &str| -> Result<String> {
        let mut stream = UnixStream::connect(&path)?;
        write!(
            stream,
            "{header}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    assert!(ask("PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n")?.contains("192.0.2.7"));
    assert!(ask("PROXY UNKNOWN\r\n")?.contains("unix:"));
    assert_eq!(ask("")?, "", "without a header it is refused");
    assert_eq!(
        tests::Client::get(gateway.addr(), "/", &[])?.status,
        200,
        "others need none"
    );
    Ok(())
}

#[test]
fn unix_peers_share_the_counter_of_who_has_no_address() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let plugin = "{name: rate-limiting, config: {minute: 2, limit_by: ip, policy: local}}";
    let gateway = listening(one_route(&origin.url(), plugin, ""), &path, "").start()?;
    let statuses = (0..3)
        .map(|_| Ok(ask(&path, &[])?.status))
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(tests::Client::get(gateway.addr(), "/", &[])?.status, 200);
    Ok(())
}

#[test]
fn every_worker_accepts_and_none_takes_what_another_has() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let _gateway = listening(one_route(&origin.url(), "", ""), &path, "")
        .workers(4)
        .start()?;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || -> Result<()> {
                for _ in 0..40 {
                    let mut stream = UnixStream::connect(&path)?;
                    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer)?;
                    anyhow::ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic")?;
    }
    assert_eq!(origin.requests().len(), 320);
    Ok(())
}

#[test]
fn tls_and_sessions_come_over_unix_sockets_too() -> Result<()> {
    let (origin, authority) = (Origin::echo()?, Authority::new()?);
    let certificate = authority.issue(&["localhost"])?;
    let list = crate::tls::certificates(&[(&certificate, &["localhost"])]);
    let ((_one, secure), (_two, bytes)) = (place()?, place()?);
    let tcp = format!(
        "- {{name: t, protocol: tcp, host: 127.0.0.1, port: {}, routes: [{{name: b, protocols: [tls], snis: [localhost]}}]}}\n",
        origin.addr().port()
    );
    let gateway = Gateway::builder(one_route(&origin.url(), "", &format!("{tcp}{list}")))
        .flag(&format!("--listen-tls=unix:{}", secure.display()))
        .flag(&format!("--stream-listen=unix:{},ssl,mode=0600", bytes.display()))
        .start()?;
    let mode = std::fs::metadata(&bytes)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ask = |path: &Path| {
        let curl = Curl::new("https://localhost/")?;
        let path = path.display().to_string();
        anyhow::Ok(curl.args(["--insecure", "--unix-socket", &path]).run()?.json())
    };
    let view = ask(&secure)?;
    assert_eq!(echoed(&view, "X-Forwarded-Port").as_deref(), Some("443"));
    assert_eq!(echoed(&view, "X-Forwarded-Proto").as_deref(), Some("https"));
    let view = ask(&bytes)?;
    assert_eq!(
        echoed(&view, "X-Real-IP"),
        None,
        "nothing was read or written on the way"
    );
    drop(gateway);
    Ok(())
}

#[test]
fn a_dead_gateways_socket_makes_way_and_a_living_ones_does_not() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    drop(UnixListener::bind(&path)?);
    assert!(is_socket(&path));
    let start = || listening(one_route(&origin.url(), "", ""), &path, ",mode=0666").start();
    let first = start()?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o666);
    let refused = format!("{:#}", start().err().context("it started")?);
    assert!(refused.contains("another process listens there"), "{refused}");
    assert_eq!(ask(&path, &[])?.status, 200, "the first one goes on");
    drop(first);
    assert!(is_socket(&path), "it was killed");
    let mut second = start()?;
    assert_eq!(ask(&path, &[])?.status, 200);
    second.terminate()?;
    second.wait(Duration::from_secs(10))?;
    assert!(!path.exists(), "it ended by itself");
    std::fs::write(&path, "kept")?;
    assert!(start().is_err());
    assert_eq!(std::fs::read_to_string(&path)?, "kept");
    Ok(())
}

#[test]
fn a_gateway_that_does_not_start_leaves_no_socket() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let twice = format!("--listen=unix:{}", path.display());
    for flags in [["--listen-tls=127.0.0.1:0", "--grace=1"], [&twice, "--grace=1"]] {
        let builder = listening(one_route(&origin.url(), "", ""), &path, "");
        let started = flags
            .iter()
            .fold(builder, |builder, flag| builder.flag(flag))
            .start();
        assert!(started.is_err(), "{flags:?}");
        assert!(!path.exists(), "{flags:?}");
    }
    Ok(())
}

#[test]
fn a_take_over_brings_the_socket_and_its_file_along() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let mut old = listening(one_route(&origin.url(), "", ""), &path, "")
        .flag("--confine=strict")
        .start()?;
    let file = std::fs::metadata(&path)?;
    for workers in [3, 1, 2] {
        let new = old.successor(workers, &[])?;
        old.wait(Duration::from_secs(10))?;
        let same = std::fs::metadata(&path)?;
        assert_eq!(
            std::os::unix::fs::MetadataExt::ino(&file),
            std::os::unix::fs::MetadataExt::ino(&same)
        );
        assert_eq!(ask(&path, &[])?.status, 200);
        old = new;
    }
    old.terminate()?;
    old.wait(Duration::from_secs(10))?;
    assert!(!path.exists(), "it goes with the last of them");
    Ok(())
}

#[test]
fn a_service_managers_socket_is_used_and_left_to_it() -> Result<()> {
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let listener = UnixListener::bind(&path)?;
    let mut first = listening(one_route(&origin.url(), "", ""), &path, "")
        .passed_unix(listener.try_clone()?)
        .start()?;
    assert_eq!(ask(&path, &[])?.status, 200);
    let mut second = first.successor(2, &[])?;
    first.wait(Duration::from_secs(10))?;
    assert_eq!(ask(&path, &[])?.status, 200);
    second.terminate()?;
    second.wait(Duration::from_secs(10))?;
    assert!(is_socket(&path));
    UnixStream::connect(&path).context("the service manager still listens")?;
    Ok(())
}

#[test]
fn another_user_may_own_the_socket() -> Result<()> {
    if !tests::is_root() {
        eprintln!("only root can give files away: not tested");
        return Ok(());
    }
    let (origin, (_scratch, path)) = (Origin::echo()?, place()?);
    let _gateway = listening(
        one_route(&origin.url(), "", ""),
        &path,
        ",user=nobody,group=65534",
    )
    .start()?;
    let metadata = std::fs::metadata(&path)?;
    let owner = (
        std::os::unix::fs::MetadataExt::uid(&metadata),
        std::os::unix::fs::MetadataExt::gid(&metadata),
    );
    assert_eq!(owner, (65_534, 65_534));
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    Ok(())
}
