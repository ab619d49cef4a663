//! The end of an exchange: settles what was reserved, counts, writes the log.

use policy::isa::Entry;

use super::Exchange;

impl Exchange<'_> {
    /// Ends the exchange. `complete` is whether the client got everything.
    pub(super) fn finish(&mut self, _complete: bool) {
        self.run(Entry::End);
    }
}
