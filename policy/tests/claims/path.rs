//! Canonical paths, by the vectors of `testdata/path.toml` and by what must hold of any.

use std::str::FromStr;

use policy::path::{
    EmptySegments, EncodedSeparators, NotAChoice, Parameters, PathError, PathRules, canonicalise,
};
use policy::percent::is_unreserved;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    path: String,
    result: String,
    #[serde(default)]
    empty_segments: String,
    #[serde(default)]
    parameters: String,
    #[serde(default)]
    encoded_separators: String,
}

impl Case {
    fn rules(&self) -> PathRules {
        PathRules {
            empty_segments: choice(&self.empty_segments),
            parameters: choice(&self.parameters),
            encoded_separators: choice(&self.encoded_separators),
        }
    }
}

fn choice<T: FromStr<Err = NotAChoice> + Default>(word: &str) -> T {
    match word {
        "" => T::default(),
        word => word.parse().expect("a choice"),
    }
}

fn canonical(raw: &[u8], rules: PathRules) -> Result<Vec<u8>, PathError> {
    let mut out = b"left over".to_vec();
    canonicalise(raw, rules, &mut out).map(|()| out)
}

#[test]
fn vectors_hold() {
    let vectors: Vectors =
        toml::from_str(include_str!("../../testdata/path.toml")).expect("the vectors are TOML");
    for case in vectors.case {
        let actual = match canonical(case.path.as_bytes(), case.rules()) {
            Ok(path) => String::from_utf8(path).unwrap(),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(actual, case.result, "{}", case.path);
    }
}

#[test]
fn bytes_outside_ascii_are_refused() {
    for byte in 0x80..=0xff {
        assert_eq!(
            canonical(&[b'/', byte], PathRules::default()),
            Err(PathError::Byte),
            "{byte}"
        );
    }
}

#[test]
fn what_is_no_choice_is_told_the_choices() {
    assert_eq!(
        "drop".parse::<Parameters>().map_err(|error| error.to_string()),
        Err("expected one of: reject, strip".to_owned())
    );
}

fn any_rules() -> impl Strategy<Value = PathRules> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(merge, reject, keep)| PathRules {
        empty_segments: if merge {
            EmptySegments::Merge
        } else {
            EmptySegments::Reject
        },
        parameters: if reject {
            Parameters::Reject
        } else {
            Parameters::Strip
        },
        encoded_separators: if keep {
            EncodedSeparators::Keep
        } else {
            EncodedSeparators::Reject
        },
    })
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just("/"), 3 => Just(".."), 2 => Just("."), 2 => Just("a"), 2 => Just("%2e"), 1 => Just("%2F"),
        1 => Just(";"), 1 => Just("%25"), 1 => Just("%c3%a9"), 1 => Just("%7e"), 1 => Just("{"), 1 => Just("%61"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn canonical_paths_are_canonical(raw in any_path(), rules in any_rules()) {
        if let Ok(path) = canonical(&raw, rules) {
            prop_assert_eq!(canonical(&path, rules), Ok(path.clone()), "idempotent");
            let text = str::from_utf8(&path).unwrap();
            prop_assert!(text.is_ascii() && text.starts_with('/') && !text.contains("//") && !text.contains(';'));
            prop_assert!(text.split('/').all(|segment| segment != "." && segment != ".."));
            for (at, _) in text.match_indices('%') {
                let digits = &text[at + 1..at + 3];
                let byte = u8::from_str_radix(digits, 16).unwrap();
                prop_assert_eq!(digits, digits.to_uppercase());
                prop_assert!(!is_unreserved(byte));
            }
        }
    }

    #[test]
    fn no_path_panics(raw in proptest::collection::vec(any::<u8>(), 0..40), rules in any_rules()) {
        let _ = canonical(&raw, rules);
    }
}
