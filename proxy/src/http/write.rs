//! Small pieces of text that several encoders write, without formatting machinery.

/// Appends `number` in decimal.
pub fn push_decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `%` and two upper-case hexadecimal digits.
pub fn push_escape(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&escape(byte));
}

/// `%` and two upper-case hexadecimal digits.
pub const fn escape(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'%', DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

/// The value of one hexadecimal digit in either case.
pub const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        for number in [0, 7, 9, 10, 99, 100, 101, 999, 1000, 1234567890, u64::MAX] {
            let mut out = b"x".to_vec();
            push_decimal(number, &mut out);
            assert_eq!(out, format!("x{number}").into_bytes());
        }
    }
}
