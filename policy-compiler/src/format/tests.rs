use super::*;
use crate::source::Sources;

/// The canonical text, or the codes of what was said instead.
fn formatted(text: &str) -> Result<String, Vec<&'static str>> {
    let (mut sources, report) = (Sources::default(), Report::default());
    let id = sources.add("kong.yaml", text.to_owned());
    let file = sources.get(id).expect("it was added");
    canonical(file, &report).ok_or_else(|| report.findings().iter().map(|finding| finding.code).collect())
}

#[test]
fn comments_blank_lines_and_templates_stay() {
    let text = r#"# who may call
services:   # all of them
    -   name: "orders"
        url:  'http://orders.test'   # plain


        # the only one
        routes: [{name: all, paths: [/, "~/x$"]}]
_format_version: "3.0"
plugins:
- name: key-auth
  config: {realm: "${{ env "DECK_REALM" }}", key_names: [a, b]}
"#;
    let wanted = r#"_format_version: "3.0"
# who may call
services:  # all of them
- name: orders
  url: http://orders.test  # plain

  # the only one
  routes:
  - name: all
    paths:
    - /
    - ~/x$
plugins:
- name: key-auth
  config:
    realm: "${{ env "DECK_REALM" }}"
    key_names:
    - a
    - b
"#;
    assert_eq!(formatted(text).as_deref(), Ok(wanted));
    assert_eq!(formatted(wanted).as_deref(), Ok(wanted));
}

#[test]
fn what_would_change_is_refused() {
    let aliased = "_format_version: \"3.0\"\nservices:\n- &a {name: a, host: a.test}\nplugins: [*a]\n";
    assert_eq!(formatted(aliased), Err(vec!["format-alias"]));
    assert_eq!(formatted("- a\n"), Err(vec!["not-a-mapping"]));
    let indented = "_info: |\n  ${{ env \"DECK_X\" | indent 2 }}\n";
    assert_eq!(formatted(indented), Err(vec!["format-indent"]));
}

#[test]
fn values_that_look_like_others_stay_quoted() {
    let text = "a: \"true\"\nb: \"12\"\nc: \"\"\nd: \" x\"\ne: \"a: b\"\nf: \"#\"\ng: \"null\"\nh: \"0x1\"\ni: \"*a\"\n";
    let again = formatted(text).expect("it formats");
    for line in text.lines() {
        let quoted = again.contains(line) || again.contains(&line.replace('"', "'"));
        assert!(quoted, "{line} in\n{again}");
    }
}
