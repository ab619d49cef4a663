//! The two tables that indices of a block point into.

use std::collections::VecDeque;

/// RFC 7541 Appendix A; the first entry has index 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What an entry costs beside its text (§4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The entries that a peer has put into its connection's table, newest first (§2.3.2).
#[derive(Debug)]
pub(super) struct Table {
    /// Names and values of the entries, oldest first, behind `gone` bytes of entries that are no more.
    text: Vec<u8>,
    gone: usize,
    entries: VecDeque<Entry>,
    size: usize,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: usize,
    value: usize,
}

impl Entry {
    const fn size(self) -> usize {
        self.name + self.value + ENTRY_OVERHEAD
    }
}

impl Table {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            text: Vec::new(),
            gone: 0,
            entries: VecDeque::new(),
            size: 0,
            capacity,
        }
    }

    /// Name and value at an index of either table.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let newer = index - STATIC.len();
        let entry = *self.entries.get(newer)?;
        let behind: usize = self.entries.iter().take(newer).map(|it| it.name + it.value).sum();
        let end = self.text.len() - behind;
        Some(self.text[end - entry.name - entry.value..end].split_at(entry.name))
    }

    /// Adds an entry; older ones make room. One that is larger than the table empties it (§4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let entry = Entry {
            name: name.len(),
            value: value.len(),
        };
        self.shrink_to(self.capacity.saturating_sub(entry.size()));
        if entry.size() > self.capacity {
            return;
        }
        if self.gone > self.capacity {
            self.text.drain(..self.gone);
            self.gone = 0;
        }
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.size += entry.size();
        self.entries.push_front(entry);
    }

    /// Changes how large the table may be (§4.3).
    pub(super) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.shrink_to(capacity);
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else {
                return;
            };
            self.size -= oldest.size();
            self.gone += oldest.name + oldest.value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_queue_of_bounded_size(
            capacity in 0..300_usize,
            texts in proptest::collection::vec(("[a-c]{0,60}", "[d-f]{0,60}"), 0..60),
        ) {
            let mut table = Table::new(capacity);
            let mut model: VecDeque<(String, String)> = VecDeque::new();
            let size = |model: &VecDeque<(String, String)>| {
                model.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
            };
            for (name, value) in texts {
                table.insert(name.as_bytes(), value.as_bytes());
                model.push_front((name, value));
                while size(&model) > capacity {
                    model.pop_back();
                }
                for (at, (name, value)) in model.iter().enumerate() {
                    prop_assert_eq!(table.get(62 + at), Some((name.as_bytes(), value.as_bytes())));
                }
                prop_assert_eq!(table.get(62 + model.len()), None);
                prop_assert!(table.text.len() <= 2 * capacity + 120);
            }
            table.resize(0);
            prop_assert_eq!(table.get(62), None);
        }
    }

    #[test]
    fn the_static_table_begins_at_one() {
        let table = Table::new(0);
        assert_eq!(table.get(0), None);
        assert_eq!(table.get(2), Some((&b":method"[..], &b"GET"[..])));
        assert_eq!(table.get(61), Some((&b"www-authenticate"[..], &b""[..])));
    }
}
