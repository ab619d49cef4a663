use super::*;

#[test]
fn the_table_is_in_order_and_its_defaults_are_within_bounds() {
    for (number, row) in TABLE.iter().enumerate() {
        assert_eq!(row.limit as usize, number, "{}", row.name);
        assert!((row.least..=row.most).contains(&row.default), "{}", row.name);
        let (name, rate) = match row.name.strip_suffix("_per_s") {
            Some(name) => (name, true),
            None => (row.name, false),
        };
        let unit = match (name.rsplit('_').next(), rate) {
            (Some("s"), false) => Unit::Seconds,
            (Some("bytes"), _) => Unit::Bytes,
            _ => Unit::Count,
        };
        assert_eq!(row.unit, unit, "{}: a name tells its unit", row.name);
    }
}

#[test]
fn values_are_read_with_their_units() {
    for (text, limit, value) in [
        ("head_bytes=32KiB", Limit::HeadBytes, 32 << 10),
        ("head_bytes = 2048", Limit::HeadBytes, 2048),
        ("client_idle_s=5s", Limit::ClientIdleS, 5),
        ("h2_streams=7", Limit::H2Streams, 7),
    ] {
        assert_eq!(text.parse(), Ok(Setting { limit, value }), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, said) in [
        ("head_bytes", "expected NAME=VALUE"),
        ("head-byte=1", "is `head_bytes` meant?"),
        ("colour=1", "`tollgate limits` lists them"),
        ("head_bytes=many", "a number of bytes"),
        ("client_idle_s=5KiB", "a number of seconds"),
        ("headers=5000", "`headers` may be 8 to 100, not 5000"),
        ("head_bytes=1", "`head_bytes` may be 1KiB to 1MiB, not 1"),
    ] {
        let error = text.parse::<Setting>().unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn what_is_applied_is_read_and_what_is_reached_is_counted() {
    assert_eq!(linger_s(), Duration::from_secs(limits::LINGER_S));
    apply(&["linger_s=2".parse().unwrap(), "linger_s=3".parse().unwrap()]);
    assert_eq!(linger_s(), Duration::from_secs(3));
    let count = || counts().find(|(name, _)| *name == "linger_s").unwrap().1;
    let before = count();
    reached(Limit::LingerS);
    assert_eq!(count(), before + 1);
    assert!(
        page().contains("linger_s                     5s  1s to 300s\n"),
        "{}",
        page()
    );
}
