//! Query strings and form bodies: names and values, percent-encoded (WHATWG URL §5, `application/x-www-form-urlencoded`).
//!
//! Enters: the encoded bytes as received. Leaves: pairs, decoded values, or the same arguments changed in place; what
//! is not changed keeps its bytes. `+` is a space. An escape that is none stands for itself, as everywhere.

use policy::percent::{hex_digit, is_unreserved, push_escape};

use super::headers::{Span, Text};

/// Name and value of every argument as received, in order. `a` has no value, `a=` an empty one; `&&` holds nothing.
pub fn pairs(encoded: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    encoded
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| match memchr::memchr(b'=', piece) {
            Some(sign) => (&piece[..sign], Some(&piece[sign + 1..])),
            None => (piece, None),
        })
}

/// Appends the decoded form of a name or value.
pub fn decode(encoded: &[u8], out: &mut Vec<u8>) {
    out.extend(decoded(encoded));
}

/// True when `encoded` stands for `text`.
pub fn decodes_to(encoded: &[u8], text: &[u8]) -> bool {
    decoded(encoded).eq(text.iter().copied())
}

/// Appends `text` so that it decodes to itself: everything but unreserved characters is escaped.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if is_unreserved(*byte) {
            out.push(*byte)
        } else {
            push_escape(*byte, out)
        }
    }
}

fn decoded(encoded: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        let byte;
        (rest, byte) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match hex_digit(*high).zip(hex_digit(*low)) {
                Some((high, low)) => (after, high << 4 | low),
                None => (tail, b'%'),
            },
            (b'+', _) => (tail, b' '),
            (other, _) => (tail, *other),
        };
        Some(byte)
    })
    .fuse()
}

/// The memory of a list of arguments that is being changed. Keep one per connection.
#[derive(Debug, Default)]
pub struct Arguments {
    list: Vec<Argument>,
    written: Vec<u8>,
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Argument {
    name: Text,
    value: Option<Text>,
}

impl Arguments {
    /// Starts with the arguments of a query or form body.
    pub fn start<'a>(&'a mut self, encoded: &'a [u8]) -> ChangingArguments<'a> {
        self.list.clear();
        self.written.clear();
        self.changed = false;
        let received = |text: &[u8]| Text::Received(Span::locate(text, encoded));
        self.list.extend(pairs(encoded).map(|(name, value)| Argument {
            name: received(name),
            value: value.map(received),
        }));
        ChangingArguments {
            arguments: self,
            received: encoded,
        }
    }
}

/// [`Arguments`] together with the bytes they were received in. Names and values given here are not encoded.
#[derive(Debug)]
pub struct ChangingArguments<'a> {
    arguments: &'a mut Arguments,
    received: &'a [u8],
}

impl ChangingArguments<'_> {
    /// Removes every argument named `name`.
    pub fn remove(&mut self, name: &[u8]) {
        let (received, written) = (self.received, &self.arguments.written);
        let before = self.arguments.list.len();
        self.arguments
            .list
            .retain(|argument| !argument.is(name, received, written));
        self.arguments.changed |= self.arguments.list.len() != before;
    }

    /// Gives every argument named `from` the name `to`, and removes those that had it before. Nothing happens without
    /// a `from`.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        if from == to || !self.contains(from) {
            return;
        }
        self.remove(to);
        let name = self.write(to);
        let (received, arguments) = (self.received, &mut *self.arguments);
        for argument in &mut arguments.list {
            if argument.is(from, received, &arguments.written) {
                argument.name = name;
            }
        }
        arguments.changed = true;
    }

    /// Makes `value` the only one of that name, where there is one.
    pub fn replace(&mut self, name: &[u8], value: &[u8]) {
        let value = self.write(value);
        let (received, arguments) = (self.received, &mut *self.arguments);
        let mut placed = false;
        arguments.list.retain_mut(|argument| {
            let same = argument.is(name, received, &arguments.written);
            let keep = !same || !placed;
            if same && keep {
                argument.value = Some(value);
                placed = true;
            }
            keep
        });
        arguments.changed |= placed;
    }

    /// Adds an argument at the end, where none has that name.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        if !self.contains(name) {
            self.append(name, value);
        }
    }

    /// Adds an argument at the end.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let (name, value) = (self.write(name), self.write(value));
        self.arguments.list.push(Argument {
            name,
            value: Some(value),
        });
        self.arguments.changed = true;
    }

    /// Adds the arguments of another encoded list at the end: a form body that becomes part of the query.
    pub fn append_encoded(&mut self, encoded: &[u8]) {
        let arguments = &mut *self.arguments;
        for (name, value) in pairs(encoded) {
            let name = Text::write(name, &mut arguments.written);
            let value = value.map(|value| Text::write(value, &mut arguments.written));
            arguments.list.push(Argument { name, value });
            arguments.changed = true;
        }
    }

    /// True when an argument has that name.
    pub fn contains(&self, name: &[u8]) -> bool {
        let (received, written) = (self.received, &self.arguments.written);
        self.arguments
            .list
            .iter()
            .any(|argument| argument.is(name, received, written))
    }

    /// True when the arguments are no longer those received. If not, pass on what was received as it is.
    pub const fn is_changed(&self) -> bool {
        self.arguments.changed
    }

    /// Appends the arguments, encoded. Nothing when none are left.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let (received, written) = (self.received, &self.arguments.written[..]);
        for (nth, argument) in self.arguments.list.iter().enumerate() {
            if nth > 0 {
                out.push(b'&');
            }
            out.extend_from_slice(argument.name.of(received, written));
            if let Some(value) = argument.value {
                out.push(b'=');
                out.extend_from_slice(value.of(received, written));
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> Text {
        Text::write_with(&mut self.arguments.written, |written| encode(text, written))
    }
}

impl Argument {
    fn is(&self, name: &[u8], received: &[u8], written: &[u8]) -> bool {
        decodes_to(self.name.of(received, written), name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(query: &str, change: impl FnOnce(&mut ChangingArguments<'_>)) -> String {
        let mut arguments = Arguments::default();
        let mut changing = arguments.start(query.as_bytes());
        change(&mut changing);
        let mut out = Vec::new();
        changing.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pairs_come_as_received() {
        let found: Vec<_> = pairs(b"a=1&b&c=&&=d&e=f=g").collect();
        let value = |text: &'static [u8]| Some(text);
        let expected: [(&[u8], _); 5] = [
            (b"a", value(b"1")),
            (b"b", None),
            (b"c", value(b"")),
            (b"", value(b"d")),
            (b"e", value(b"f=g")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn escapes_are_read_and_what_is_none_is_kept() {
        let text = |encoded: &str| decoded(encoded.as_bytes()).map(char::from).collect::<String>();
        assert_eq!(text("a%20b+c%2B%41"), "a b c+A");
        assert_eq!(text("100%&%zz%4"), "100%&%zz%4");
        assert!(
            decodes_to(b"api%5Fkey", b"api_key")
                && !decodes_to(b"api", b"api_key")
                && !decodes_to(b"api_key", b"api")
        );
    }

    #[test]
    fn what_is_not_changed_keeps_its_bytes() {
        assert_eq!(changed("%61=%7e&b=1&c", |it| it.remove(b"b")), "%61=%7e&c");
        let mut arguments = Arguments::default();
        let mut changing = arguments.start(b"a=1");
        changing.remove(b"x");
        changing.replace(b"y", b"1");
        changing.add(b"a", b"2");
        changing.rename(b"z", b"a");
        assert!(!changing.is_changed());
    }

    #[test]
    fn changes_see_earlier_ones_and_encode_their_values() {
        let result = changed("a=1&b=2&%61=3", |it| {
            it.rename(b"a", b"b");
            it.replace(b"b", b"x y&z");
            it.add(b"b", b"no");
            it.add(b"d", b"\xc3\xa9");
            it.append(b"d", b"");
            it.append_encoded(b"f=%20&g");
        });
        assert_eq!(result, "b=x%20y%26z&d=%C3%A9&d=&f=%20&g");
        assert_eq!(changed("a", |it| it.replace(b"a", b"1")), "a=1");
        assert_eq!(changed("a=1", |it| it.remove(b"a")), "");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
            encode(&text, &mut encoded);
            decode(&encoded, &mut decoded);
            prop_assert_eq!(&decoded, &text);
            prop_assert!(decodes_to(&encoded, &text));
            prop_assert!(encoded.iter().all(|byte| byte.is_ascii_graphic() && !b"&=+#".contains(byte)));
        }

        #[test]
        fn an_appended_argument_is_found_again(
            query in "[a-c=&%+2]{0,12}", name in proptest::collection::vec(any::<u8>(), 1..6), value in "[ -~]{0,6}",
        ) {
            let result = changed(&query, |it| {
                it.remove(&name);
                it.append(&name, value.as_bytes());
            });
            let found: Vec<_> = pairs(result.as_bytes()).filter(|(it, _)| decodes_to(it, &name)).collect();
            prop_assert_eq!(found.len(), 1);
            prop_assert!(decodes_to(found[0].1.unwrap(), value.as_bytes()));
        }
    }
}
