//! What `tollc explain` and `tollc disasm` print for one small policy, to the letter.

use std::path::Path;
use std::process::Command;

fn tollc(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tollc"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"))
        .args(arguments)
        .output()
        .expect("tollc starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("tollc writes UTF-8")
}

#[test]
fn a_policy_explained() {
    insta::assert_snapshot!(tollc(&["explain", "golden.yaml"]));
}

#[test]
fn a_program_disassembled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let artifact = folder.path().join("policy.toll");
    let artifact = artifact.to_str().expect("a plain path");
    tollc(&["compile", "golden.yaml", "-o", artifact]);
    let listing = tollc(&["disasm", artifact]);
    let (rows, code) = listing.split_once("[Code]").expect("a code section");
    insta::assert_snapshot!(code);
    // Every section is there; their columns are the contract's and change with it.
    let sections: Vec<&str> = rows.lines().filter(|line| line.starts_with('[')).collect();
    insta::assert_snapshot!(sections.join(" "));
    assert!(!listing.contains("ada-key"), "a key stands in the artifact");
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let compiled = |name: &str| {
        let artifact = folder.path().join(name);
        tollc(&[
            "compile",
            "golden.yaml",
            "-o",
            artifact.to_str().expect("a plain path"),
        ]);
        std::fs::read(artifact).expect("it was written")
    };
    assert_eq!(compiled("one.toll"), compiled("two.toll"));
}
