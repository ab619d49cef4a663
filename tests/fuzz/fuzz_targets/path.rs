//! Canonical paths: idempotent under every choice, and without anything a backend could read in another way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::path::{EmptySegments, EncodedSeparators, Parameters, PathRules, canonicalise};

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, raw) = input;
    let rules = PathRules {
        empty_segments: if choice & 1 == 0 { EmptySegments::Merge } else { EmptySegments::Reject },
        parameters: if choice & 2 == 0 { Parameters::Reject } else { Parameters::Strip },
        encoded_separators: if choice & 4 == 0 { EncodedSeparators::Reject } else { EncodedSeparators::Keep },
    };
    let (mut path, mut again) = (Vec::new(), Vec::new());
    if canonicalise(raw, rules, &mut path).is_err() {
        return;
    }
    assert!(canonicalise(&path, rules, &mut again).is_ok() && path == again, "idempotent");
    let text = std::str::from_utf8(&path).expect("canonical paths are ASCII");
    assert!(text.starts_with('/') && !text.contains("//") && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains([';', '\\', '?', '#']));
    let decoded = text.replace("%2F", "/").replace("%5C", "/");
    assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
});
