//! Hides secrets in source lines before they are shown.
//!
//! Two nets: the exact spans that the schema named, and, because a file can be broken before any schema was asked, the
//! text after a key that usually names a secret, and long base64 lines. Masking keeps every byte offset.

use crate::source::Span;

/// Keys whose value is hidden even when nothing was understood.
const SECRET_KEYS: &[&str] = &[
    "key",
    "password",
    "secret",
    "client_secret",
    "header_value",
    "param_value",
    "private_key",
    "key_alt",
    "jwk",
    "pem",
    "payload",
    "redis_password",
    "sentinel_password",
    "token",
    "aws_secret_access_key",
    "azure_client_secret",
    "gcp_service_account_json",
    "openai_key",
];

/// Shortest all-base64 line that counts as key material.
const KEY_MATERIAL_LEN_MIN: usize = 40;

/// `text`, which starts at byte `start` of its file, with everything secret replaced by `*`.
pub(super) fn mask(text: &str, start: u32, secrets: &[Span], file: crate::source::FileId) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let end = start.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    for secret in secrets
        .iter()
        .filter(|s| s.file == file && s.start < end && s.end > start)
    {
        let from = secret.start.saturating_sub(start) as usize;
        let to = (secret.end - start) as usize;
        blank(&mut bytes, from, to);
    }
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        for (from, to) in suspicious(line) {
            blank(&mut bytes, line_start + from, line_start + to);
        }
        line_start += line.len();
    }
    // Blanking replaces whole characters by as many stars as they had bytes, so this cannot fail; if it ever did,
    // showing nothing is right.
    String::from_utf8(bytes).unwrap_or_default()
}

fn blank(bytes: &mut [u8], from: usize, to: usize) {
    let to = to.min(bytes.len());
    if let Some(range) = bytes.get_mut(from..to) {
        range.iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b'*');
    }
}

/// Byte ranges of `line` that look like secrets.
fn suspicious(line: &str) -> Vec<(usize, usize)> {
    let trimmed = line.trim();
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    if trimmed.len() >= KEY_MATERIAL_LEN_MIN && trimmed.bytes().all(is_base64) {
        return vec![(0, line.len())];
    }
    let mut found = Vec::new();
    for (colon, _) in line.match_indices(':') {
        let before = line[..colon].trim_end_matches(['"', '\'', ' ']);
        let word = before
            .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or("");
        if !SECRET_KEYS.contains(&word) {
            continue;
        }
        let value = &line[colon + 1..];
        let from = colon + 1 + (value.len() - value.trim_start().len());
        let value = value.trim();
        if value.is_empty() || value.starts_with(['|', '>', '{', '[', '$']) {
            continue;
        }
        found.push((from, from + value_len(value)));
    }
    found
}

/// Length of the scalar at the start of `value`.
fn value_len(value: &str) -> usize {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    match quote {
        Some(quote) => value[1..].find(quote).map_or(value.len(), |at| at + 2),
        None => value.find([',', '}']).unwrap_or(value.len()),
    }
}
