//! Buffers of one worker: taken when bytes are about to come, given back when a connection goes idle.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::limits;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A growable buffer from the worker's pool. Dropping it gives the memory back, unless it grew large.
#[derive(Debug, Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer with room for [`limits::BUFFER_BYTES`].
    pub fn take() -> Self {
        let spare = SPARE.with(|spare| spare.borrow_mut().pop());
        Self(spare.unwrap_or_else(|| Vec::with_capacity(limits::BUFFER_BYTES)))
    }

    /// A buffer without memory, to stand in while the real one is with the kernel.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Takes memory from the pool if the buffer has none, so that what is appended next does not allocate.
    pub fn furnish(&mut self) {
        if self.0.capacity() == 0 {
            *self = Self::take();
        }
    }

    /// Gives the memory of this worker's unused buffers back to the allocator.
    pub fn give_back() {
        SPARE.take();
    }

    /// Forgets the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        if count >= self.0.len() {
            self.0.clear();
        } else {
            self.0.drain(..count);
        }
    }

    /// Unused buffers of this worker's pool.
    #[cfg(test)]
    pub(crate) fn spare() -> usize {
        SPARE.with_borrow(Vec::len)
    }

    pub(super) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    pub(super) const fn from_vec(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() < limits::BUFFER_BYTES || self.0.capacity() > limits::BUFFER_KEPT_BYTES {
            return;
        }
        let mut bytes = std::mem::take(&mut self.0);
        bytes.clear();
        // A thread that is ending has no pool any more.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < limits::BUFFERS_SPARE {
                spare.push(bytes);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_memory_is_taken_again() {
        let mut buffer = Buffer::take();
        buffer.extend_from_slice(b"secret");
        let memory = buffer.as_ptr();
        drop(buffer);
        let mut next = Buffer::empty();
        next.furnish();
        assert_eq!(next.as_ptr(), memory);
        assert!(next.is_empty(), "what another connection sent is not seen");
        assert!(next.capacity() >= limits::BUFFER_BYTES);
    }

    #[test]
    fn furnishing_keeps_what_is_there() {
        let mut buffer = Buffer::empty();
        buffer.extend_from_slice(b"abc");
        buffer.furnish();
        assert_eq!(&buffer[..], b"abc");
    }

    #[test]
    fn the_pool_keeps_neither_large_nor_small_nor_many_buffers() {
        SPARE.with_borrow_mut(Vec::clear);
        drop(Buffer::from_vec(Vec::with_capacity(
            limits::BUFFER_KEPT_BYTES + 1,
        )));
        drop(Buffer::from_vec(Vec::with_capacity(limits::BUFFER_BYTES - 1)));
        drop(Buffer::empty());
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
        let many: Vec<_> = (0..limits::BUFFERS_SPARE + 3).map(|_| Buffer::take()).collect();
        drop(many);
        assert_eq!(SPARE.with_borrow(Vec::len), limits::BUFFERS_SPARE);
    }

    #[test]
    fn consuming_leaves_the_rest() {
        let mut buffer = Buffer::take();
        buffer.extend_from_slice(b"one two");
        buffer.consume(4);
        assert_eq!(&buffer[..], b"two");
        buffer.consume(9);
        assert!(buffer.is_empty());
    }
}
