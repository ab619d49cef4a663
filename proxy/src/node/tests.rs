use super::*;

#[test]
fn flags_win_over_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tollgate.toml");
    std::fs::write(&path, "workers = 3\ngrace = 5\n").expect("written");
    let flags = Settings {
        workers: Some(2),
        ..Settings::default()
    };
    let node = Node::complete(flags, Some(&path)).expect("complete");
    assert_eq!((node.workers, node.grace_s), (2, 5));
}

#[test]
fn names_are_resolved_as_the_file_says_unless_a_flag_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tollgate.toml");
    let text = "dns_resolver = [\"192.0.2.53\", \"[2001:db8::1]:5353\"]\ndns_order = \"A,SRV\"\ndns_stale_ttl = 60\n";
    std::fs::write(&path, text).expect("written");
    let flags = Settings {
        dns_stale_ttl: Some(5),
        ..Settings::default()
    };
    let dns = Node::complete(flags, Some(&path)).expect("complete").dns;
    let servers = ["192.0.2.53:53", "[2001:db8::1]:5353"].map(|it| it.parse().expect("an address"));
    assert_eq!(dns.servers, servers);
    assert_eq!(dns.order, "A,SRV".parse().expect("an order"));
    assert_eq!((dns.stale_ttl, dns.valid_ttl), (Duration::from_secs(5), None));
    assert_eq!(dns.hosts_file, Path::new("/etc/hosts"));
    std::fs::write(&path, "dns_order = \"MX\"\n").expect("written");
    let error = Node::complete(Settings::default(), Some(&path)).expect_err("refused");
    assert!(
        error.to_string().contains("LAST, SRV, A, AAAA and CNAME"),
        "{error}"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tollgate.toml");
    std::fs::write(&path, "workers = 3\nwrokers = 5\n").expect("written");
    let error = Node::complete(Settings::default(), Some(&path)).expect_err("refused");
    assert!(error.to_string().contains("wrokers"), "{error}");
}
