//! Did you mean …?

/// The known name closest to `wrong`, if it is close enough to be a slip: at most a third of its letters differ, or
/// the two differ only in case, dashes and underscores.
pub fn nearest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let folded = fold(wrong);
    let slips_max = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|name| *name != wrong)
        .map(|name| {
            let known = fold(name);
            let distance = if known == folded {
                0
            } else {
                strsim::damerau_levenshtein(&folded, &known)
            };
            (distance, name)
        })
        .filter(|(distance, _)| *distance <= slips_max)
        .min()
        .map(|(_, name)| name)
}

fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}
