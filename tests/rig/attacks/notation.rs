//! How cases write bytes: `\r \n \t \0 \\ \xNN`, `\{x*N}` for `x` repeated, `\[x*N]` for the same within it, `$H` for a
//! Host line.

/// The bytes that `text` stands for.
///
/// # Panics
/// When it is badly written: the cases are part of the program.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("$H", "Host: a\\r\\n");
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first().expect("a case ends in a backslash");
        rest = after;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let (digits, after) = rest.split_at(2);
                out.push(
                    u8::from_str_radix(&String::from_utf8_lossy(digits), 16).expect("two digits after \\x"),
                );
                rest = after;
            }
            b'{' | b'[' => {
                let close = if *kind == b'{' { b'}' } else { b']' };
                let end = rest
                    .iter()
                    .position(|byte| *byte == close)
                    .expect("a repetition is closed");
                let inner = String::from_utf8_lossy(&rest[..end]);
                let (what, times) = inner.rsplit_once('*').expect("\\{what*times}");
                out.extend(bytes(what).repeat(times.parse().expect("a number of times")));
                rest = &rest[end + 1..];
            }
            other => panic!("unknown escape \\{}", char::from(*other)),
        }
    }
    out
}

#[test]
fn escapes_stand_for_bytes() {
    assert_eq!(
        bytes(r"a\r\n\t\0\\\xff\{ab*2}\{c\[d*2]*2}$H"),
        b"a\r\n\t\0\\\xffababcddcddHost: a\r\n"
    );
}
