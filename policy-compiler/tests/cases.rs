//! The cases of `testdata/requests/*.toml`, through the built `tollc`: what it says about a file, and what becomes of requests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

/// A decK file, what is said about it, and requests to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    source: String,
    /// Flags of every verb.
    #[serde(default)]
    flags: Vec<String>,
    /// `severity code line`, in any order.
    #[serde(default)]
    diagnostics: Vec<String>,
    #[serde(default)]
    request: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Method and URL.
    send: String,
    /// Flags of `tollc eval`.
    #[serde(default)]
    with: Vec<String>,
    /// `forward to SERVICE`, or `KIND STATUS PLUGIN:LINE MESSAGE`.
    verdict: String,
    /// Lines that the account for people must have.
    #[serde(default)]
    shows: Vec<String>,
    /// Texts that it must not have.
    #[serde(default)]
    hides: Vec<String>,
}

#[test]
fn every_case_holds() {
    let mut wrong = String::new();
    let mut count = 0;
    for path in testdata() {
        let text = std::fs::read_to_string(&path).expect("the case file is readable");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.case {
            count += 1;
            let place = format!(
                "{}: {}",
                path.file_name().unwrap_or_default().display(),
                case.name
            );
            check(&case, &place, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count > 20, "only {count} cases were found");
}

fn testdata() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/requests");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("testdata/requests is a folder")
        .map(|entry| entry.expect("it is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
}

fn check(case: &Case, place: &str, wrong: &mut String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("kong.yaml"), &case.source).expect("it is writable");
    let mut complain = |what: &str, wanted: &str, found: &str| {
        let _ = writeln!(wrong, "{place}\n  {what}\n  wanted {wanted}\n  found  {found}\n");
    };
    let tollc = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tollc"))
            .current_dir(folder.path())
            .args(arguments)
            .args(&case.flags)
            .output()
            .expect("tollc starts");
        String::from_utf8(output.stdout).expect("tollc writes UTF-8")
    };
    let compiled = tollc(&["compile", "kong.yaml", "-o", "policy.toll", "--format", "json"]);
    let mut found = findings(&compiled);
    let mut wanted = case.diagnostics.clone();
    found.sort();
    wanted.sort();
    if found != wanted {
        complain(
            "diagnostics",
            &format!("{wanted:?}"),
            &format!("{found:?}\n{compiled}"),
        );
    }
    for (number, request) in case.request.iter().enumerate() {
        // The first is judged from the source, the others by the artifact, which knows the same places.
        let policy = if number == 0 { "kong.yaml" } else { "policy.toll" };
        let (method, url) = request.send.split_once(' ').expect("method and URL");
        let with: Vec<&str> = request.with.iter().map(String::as_str).collect();
        let judge = |format: &str| {
            let arguments = [
                &["eval", policy, method, url, "--format", format],
                with.as_slice(),
            ]
            .concat();
            tollc(&arguments)
        };
        let account = judge("json");
        let verdict = verdict(&account);
        if verdict != request.verdict {
            complain(&request.send, &request.verdict, &verdict);
        }
        let human = judge("human");
        for line in &request.shows {
            if !human.lines().any(|shown| shown == line) {
                complain(&request.send, line, &human);
            }
        }
        for text in &request.hides {
            if human.contains(text) {
                complain(&request.send, &format!("no {text}"), &human);
            }
        }
    }
}

/// `severity code line` of each finding but notes.
fn findings(document: &str) -> Vec<String> {
    let document: Json = serde_json::from_str(document).expect("compile writes JSON");
    let findings = document["diagnostics"].as_array().expect("a list of findings");
    findings
        .iter()
        .filter(|finding| finding["severity"] != "note")
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or_default();
            let line = finding["at"]["start"]["line"].as_u64().unwrap_or_default();
            format!("{} {} {line}", text("severity"), text("code"))
        })
        .collect()
}

fn verdict(account: &str) -> String {
    let Ok(account) = serde_json::from_str::<Json>(account) else {
        return format!("no account: {account}");
    };
    let verdict = &account["verdict"];
    let text = |key: &str| verdict[key].as_str().unwrap_or_default();
    if text("kind") == "forward" {
        let service = account["route"]["service"].as_str().unwrap_or_default();
        return format!("forward to {service}");
    }
    let line = text("source").strip_prefix("kong.yaml").unwrap_or_default();
    let (kind, by, message) = (text("kind"), text("by"), text("message"));
    format!("{kind} {} {by}{line} {message}", verdict["status"])
        .trim_end()
        .to_owned()
}
