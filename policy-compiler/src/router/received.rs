//! Paths as they are received: the canonical form that a listener with the gateway's default rules gives them, or why
//! it answers 400 before any route is looked for.

use std::fmt;

use super::canonical::{canonical, escape, escape_literal, is_path_char};

/// Why a received path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not start with `/`.
    NotAbsolute,
    /// A control character, space, backslash or a byte outside ASCII.
    Byte,
    /// `%` without two hexadecimal digits.
    Escape,
    /// `%00`.
    Nul,
    /// Escapes that are no UTF-8, overlong forms included.
    NotUtf8,
    /// `%2F` or `%5C`.
    EncodedSeparator,
    /// `..` would leave the root.
    AboveRoot,
    /// `;`.
    Parameter,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not start with `/`",
            Self::Byte => "the path has a character that must be escaped",
            Self::Escape => "the path has a `%` without two hexadecimal digits",
            Self::Nul => "the path has `%00`",
            Self::NotUtf8 => "the path has escapes that are no UTF-8",
            Self::EncodedSeparator => "the path has `%2F` or `%5C`",
            Self::AboveRoot => "the path leaves the root with `..`",
            Self::Parameter => "the path has a `;`",
        })
    }
}

/// The canonical form of a path as it was received; empty is `/`.
///
/// # Errors
/// [`PathError`]: the gateway refuses the path.
pub fn received(raw: &str) -> Result<String, PathError> {
    let Some(path) = raw.strip_prefix('/') else {
        return match raw {
            "" => Ok("/".to_owned()),
            _ => Err(PathError::NotAbsolute),
        };
    };
    let mut depth = 0_usize;
    for segment in path.split('/') {
        check(segment.as_bytes())?;
        match escape_literal(segment.as_bytes()).as_str() {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or(PathError::AboveRoot)?,
            _ => depth += 1,
        }
    }
    Ok(canonical(raw))
}

fn check(mut rest: &[u8]) -> Result<(), PathError> {
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => check_escape(rest)?,
            b';' => return Err(PathError::Parameter),
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => after,
            byte if is_path_char(byte) => after,
            _ => return Err(PathError::Byte),
        };
    }
    Ok(())
}

/// What follows the escapes of the character that `text` starts with.
fn check_escape(text: &[u8]) -> Result<&[u8], PathError> {
    let (first, mut rest) = decode(text)?;
    let len = match first {
        b'/' | b'\\' => return Err(PathError::EncodedSeparator),
        ..0x80 => return Ok(rest),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Err(PathError::NotUtf8),
    };
    let mut character = vec![first];
    while character.len() < len {
        if rest.first() != Some(&b'%') {
            return Err(PathError::NotUtf8);
        }
        let (byte, after) = decode(rest)?;
        character.push(byte);
        rest = after;
    }
    match str::from_utf8(&character) {
        Ok(_) => Ok(rest),
        Err(_) => Err(PathError::NotUtf8),
    }
}

/// The byte of the escape that `text` starts with, and what follows it.
fn decode(text: &[u8]) -> Result<(u8, &[u8]), PathError> {
    match escape(&text[1..]) {
        Some(0) => Err(PathError::Nul),
        Some(byte) => Ok((byte, &text[3..])),
        None => Err(PathError::Escape),
    }
}
