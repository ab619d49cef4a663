//! What the verbs of `tollc` do to files and print for programs, through the built binary.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

const SOURCE: &str = "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://s.test\n  routes:\n  - name: r\n    paths:\n    - /r\n";

fn tollc(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollc"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("tollc starts")
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("it is writable");
    }
    folder
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("tollc writes UTF-8")
}

/// The one JSON document that was printed.
fn document(ran: &Output) -> Json {
    let words = || format!("stdout {}\nstderr {}", text(&ran.stdout), text(&ran.stderr));
    assert!(ran.stderr.is_empty(), "{}", words());
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{}", words()))
}

#[test]
fn every_verb_prints_one_document_for_programs() {
    let folder = folder_with(&[
        ("kong.yaml", SOURCE),
        ("ugly.yaml", "{_format_version: '3.0'}"),
        ("bad.toll", "x"),
    ]);
    let ran = |arguments: &[&str]| {
        let ran = tollc(folder.path(), &[arguments, &["--format", "json"]].concat());
        let document = document(&ran);
        assert_eq!(document["ok"], ran.status.success(), "{arguments:?}");
        assert!(document["diagnostics"].is_array(), "{arguments:?}");
        document
    };
    ran(&["check", "kong.yaml"]);
    ran(&["compile", "kong.yaml", "-o", "policy.toll"]);
    ran(&["explain", "kong.yaml"]);
    assert_eq!(
        ran(&["eval", "kong.yaml", "GET", "http://x.test/r"])["verdict"]["kind"],
        "forward"
    );
    let listed = ran(&["disasm", "policy.toll"]);
    assert_eq!(listed["rows"]["Service"][0]["host"], "s.test");
    assert!(listed["code"].is_array());
    let formatted = ran(&["fmt", "kong.yaml", "ugly.yaml"]);
    assert_eq!(formatted["formatted"][0]["text"], SOURCE);
    assert_eq!(formatted["unformatted"], serde_json::json!(["ugly.yaml"]));
    assert_eq!(
        ran(&["fmt", "--check", "ugly.yaml"])["formatted"],
        serde_json::json!([])
    );
    for (arguments, code) in [
        (&["check", "none.yaml"][..], "unreadable-file"),
        (&["compile", "none.yaml", "-o", "x.toll"], "unreadable-file"),
        (&["compile", "kong.yaml", "-o", "none/x.toll"], "unwritable-file"),
        (&["explain", "none.yaml"], "unreadable-file"),
        (&["eval", "none.yaml", "GET", "http://x.test/"], "unreadable-file"),
        (&["eval", "bad.toll", "GET", "http://x.test/"], "unsound-artifact"),
        (&["eval", "kong.yaml", "GET", "x.test"], "usage"),
        (&["disasm", "none.toll"], "unreadable-file"),
        (&["disasm", "bad.toll"], "unsound-artifact"),
        (&["fmt", "none.yaml"], "unreadable-file"),
    ] {
        let document = ran(arguments);
        assert_eq!(document["diagnostics"][0]["code"], code, "{arguments:?}");
    }
}

#[test]
fn a_source_is_never_replaced_by_its_artifact() {
    let folder = folder_with(&[("kong.yaml", SOURCE), ("a.toll.secrets", SOURCE)]);
    std::os::unix::fs::symlink("kong.yaml", folder.path().join("link.toll")).expect("a link");
    std::fs::hard_link(folder.path().join("kong.yaml"), folder.path().join("hard.toll")).expect("a link");
    let own = folder.path().join(".").join("kong.yaml");
    for (source, output) in [
        ("kong.yaml", "kong.yaml"),
        ("./kong.yaml", own.to_str().expect("a plain path")),
        ("kong.yaml", "link.toll"),
        ("kong.yaml", "hard.toll"),
        (".", "hard.toll"),
        ("a.toll.secrets", "a.toll"),
    ] {
        let ran = tollc(folder.path(), &["compile", source, "-o", output]);
        assert_eq!(ran.status.code(), Some(1), "{source} → {output}");
        assert!(
            text(&ran.stderr).contains("error[output-is-input]"),
            "{}",
            text(&ran.stderr)
        );
    }
    for name in ["kong.yaml", "link.toll", "hard.toll", "a.toll.secrets"] {
        let now = std::fs::read_to_string(folder.path().join(name)).expect("it is still there");
        assert_eq!(now, SOURCE, "{name}");
    }
}

#[test]
fn an_artifact_goes_to_standard_output_if_it_needs_no_secrets() {
    let folder = folder_with(&[("kong.yaml", SOURCE)]);
    let ran = tollc(folder.path(), &["compile", "kong.yaml", "-o", "-"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let written = tollc(folder.path(), &["compile", "kong.yaml", "-o", "policy.toll"]);
    assert!(written.status.success());
    assert_eq!(
        ran.stdout,
        std::fs::read(folder.path().join("policy.toll")).expect("it was written")
    );
    assert!(!folder.path().join("-").exists());
    let both = tollc(
        folder.path(),
        &["compile", "kong.yaml", "-o", "-", "--format", "json"],
    );
    assert_eq!(both.status.code(), Some(2));
    assert_eq!(document(&both)["ok"], false);
    let secret = SOURCE.replace("  routes:", "  plugins:\n  - name: ai-proxy\n    config: {route_type: llm/v1/chat, auth: {header_name: a, header_value: sk-literal}, model: {provider: openai}}\n  routes:");
    std::fs::write(folder.path().join("secret.yaml"), secret).expect("it is writable");
    let refused = tollc(folder.path(), &["compile", "secret.yaml", "-o", "-"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    assert!(
        text(&refused.stderr).contains("error[sealed-secrets]"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_finding() {
    let folder = folder_with(&[]);
    let ran = tollc(folder.path(), &["check", "none.yaml", "--format", "json"]);
    assert_eq!(document(&ran)["diagnostics"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_tie_between_paths_is_not_put_down_to_the_routes_ids() {
    let routes = "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://s.test\n  routes:\n\
        \x20 - {id: 21111111-1111-4111-8111-111111111111, name: low, paths: [/b, /b/c]}\n\
        \x20 - {id: efffffff-1111-4111-8111-111111111111, name: high, paths: [/b, /b/d]}\n";
    let folder = folder_with(&[("kong.yaml", routes)]);
    let ran = tollc(folder.path(), &["check", "kong.yaml"]);
    let said = text(&ran.stderr);
    assert!(
        said.contains("a path of route `high` matches the same requests as a path of route `low`"),
        "{said}"
    );
    assert!(!said.contains("its id is the greater"), "{said}");
}

#[test]
fn what_another_version_makes_of_unverified_services_is_said() {
    let services = "_format_version: \"3.0\"\nservices:\n- {name: a, url: 'https://a.test'}\n\
        - {name: b, url: 'https://b.test', tls_verify: false}\n\
        - {name: c, url: 'https://c.test', tls_verify: true}\n- {name: d, url: 'http://d.test'}\n";
    let folder = folder_with(&[("kong.yaml", services)]);
    let old = document(&tollc(folder.path(), &["check", "kong.yaml", "--format", "json"]));
    assert_eq!(old["diagnostics"], serde_json::json!([]));
    assert_eq!(
        old["versions"],
        serde_json::json!([
            {
                "kong": "3.15", "count": 1, "first": "kong.yaml:3",
                "message": "1 TLS service without `tls_verify` becomes verified",
            },
            {
                "kong": "3.15", "count": 1, "first": "kong.yaml:4",
                "message": "1 TLS service with `tls_verify: false` is refused, unless verification is off for the whole gateway",
            },
        ])
    );
    let arguments = ["check", "kong.yaml", "--format", "json", "--kong-compat", "3.15"];
    let new = document(&tollc(folder.path(), &arguments));
    assert_eq!(new["diagnostics"][0]["code"], "tls-verify-off");
    assert_eq!(new["diagnostics"][0]["at"]["start"]["line"], 4);
    assert_eq!(new["diagnostics"].as_array().map(Vec::len), Some(1));
}
