use super::*;
use crate::source::FileId;

const TABLE: &[Tag] = &[
    Tag {
        name: "warm_up",
        on: &[Kind::Upstream],
        shape: Shape::Duration {
            least: 100,
            most: 7_200_000,
        },
        default: "none",
        needs: None,
        about: "",
    },
    Tag {
        name: "most",
        on: &[Kind::Upstream, Kind::Target],
        shape: Shape::Count { least: 1, most: 500 },
        default: "any number",
        needs: None,
        about: "",
    },
    Tag {
        name: "share",
        on: &[Kind::Upstream],
        shape: Shape::Percent { least: 0, most: 100 },
        default: "10%",
        needs: Some("most"),
        about: "",
    },
    Tag {
        name: "mode",
        on: &[Kind::Service],
        shape: Shape::Choice(&["off", "v1", "v2"]),
        default: "off",
        needs: None,
        about: "",
    },
];

/// What tags of an entity come to: values by name, and the codes of what was said.
fn read(kind: &str, tags: &[&str]) -> (Vec<(&'static str, u32)>, Vec<&'static str>) {
    let (mut extensions, report) = (Extensions::default(), Report::default());
    for (at, tag) in (0..).zip(tags) {
        let span = Span {
            file: FileId(0),
            start: at,
            end: at + 1,
        };
        let written = Spanned {
            value: (*tag).into(),
            span,
        };
        extensions.read(TABLE, kind, &written, &report);
    }
    extensions.close(&report);
    let values = extensions.iter().map(|it| (it.tag.name, it.value)).collect();
    let codes = report.findings().iter().map(|finding| finding.code).collect();
    (values, codes)
}

#[test]
fn values_are_read_in_the_unit_of_their_shape() {
    for (kind, tag, value) in [
        ("upstream", "tollgate:warm_up=30s", 30_000),
        ("upstream", "tollgate:warm_up=100ms", 100),
        ("upstream", "tollgate:warm_up=2h", 7_200_000),
        ("upstream", "tollgate:warm_up=120m", 7_200_000),
        ("target", "tollgate:most=500", 500),
        ("service", "tollgate:mode=v2", 2),
    ] {
        let (values, codes) = read(kind, &[tag]);
        assert_eq!(codes, Vec::<&str>::new(), "{tag}");
        assert_eq!(values.first().map(|(_, value)| *value), Some(value), "{tag}");
    }
}

#[test]
fn a_tag_that_needs_another_is_refused_alone() {
    assert_eq!(read("upstream", &["tollgate:share=0%"]).1, ["extension-needs"]);
    let (values, codes) = read("upstream", &["tollgate:share=0%", "tollgate:most=1"]);
    assert_eq!((values, codes), (vec![("share", 0), ("most", 1)], vec![]));
}

#[test]
fn what_is_no_value_is_refused() {
    for tag in [
        "warm_up=30",
        "warm_up=99ms",
        "warm_up=3h",
        "warm_up=1.5s",
        "warm_up=-1s",
        "warm_up=+1s",
        "warm_up=s",
        "warm_up= 1s",
        "warm_up=1S",
        "warm_up=99999999999999999999h",
        "warm_up=18446744073709551615h",
        "warm_up=",
        "warm_up",
        "most=0",
        "most=501",
        "most=0x1",
        "most=4294967297",
        "share=10",
        "share=101%",
        "share=%",
    ] {
        let (values, codes) = read("upstream", &[&format!("tollgate:{tag}")]);
        assert_eq!((values.len(), codes), (0, vec!["extension-value"]), "{tag}");
    }
    assert_eq!(read("service", &["tollgate:mode=V2"]).1, ["extension-value"]);
}

#[test]
fn other_tags_are_nobodys_business() {
    for tag in [
        "team-a",
        "tollgate",
        "tollgat:most=1",
        "x-tollgate:most=1",
        "grüße",
        "tøllgate:most=1",
    ] {
        assert_eq!(read("upstream", &[tag]), (vec![], vec![]), "{tag}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    for (tag, hint) in [
        ("tollgate:warmup=1s", Some("did you mean `tollgate:warm_up`?")),
        ("tollgate:wram_up=1s", Some("did you mean `tollgate:warm_up`?")),
        ("Tollgate:most=1", Some("did you mean `tollgate:most`?")),
        ("tollgate:nothing_like_it=1", None),
        ("tollgate:", None),
    ] {
        let report = Report::default();
        let span = Span {
            file: FileId(0),
            start: 0,
            end: 1,
        };
        let written = Spanned {
            value: tag.into(),
            span,
        };
        Extensions::default().read(TABLE, "upstream", &written, &report);
        let findings = report.findings();
        assert_eq!(findings[0].code, "unknown-extension", "{tag}");
        assert_eq!(findings[0].help.as_deref(), hint, "{tag}");
    }
}

#[test]
fn a_tag_stands_once_and_where_it_belongs() {
    assert_eq!(read("service", &["tollgate:most=1"]).1, ["extension-place"]);
    assert_eq!(read("consumer", &["tollgate:most=1"]).1, ["extension-place"]);
    let (values, codes) = read("target", &["tollgate:most=1", "tollgate:most=2"]);
    assert_eq!((values, codes), (vec![("most", 1)], vec!["duplicate-extension"]));
}

#[test]
fn the_page_lists_every_tag_as_the_table_has_it() {
    let page = include_str!("../../../docs/extensions.md");
    for tag in TAGS {
        let kinds: Vec<&str> = tag.on.iter().map(|kind| kind.name()).collect();
        let line = format!(
            "| `tollgate:{}` | {} | {} | {} | {} |",
            tag.name,
            kinds.join(", "),
            tag.shape.words(),
            tag.default,
            tag.about
        );
        assert!(
            page.lines().any(|it| it == line),
            "docs/extensions.md lacks the line\n{line}"
        );
    }
    let lines = page
        .lines()
        .filter(|line| line.starts_with("| `tollgate:"))
        .count();
    assert_eq!(
        lines,
        TAGS.len(),
        "docs/extensions.md lists a tag that does not exist"
    );
}

#[test]
fn names_are_told_apart() {
    for (at, tag) in TAGS.iter().enumerate() {
        assert!(
            TAGS[..at].iter().all(|other| other.name != tag.name),
            "{}",
            tag.name
        );
        assert!(!tag.on.is_empty(), "{}", tag.name);
    }
}
