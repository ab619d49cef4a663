//! Memory that is read at random, larger pages under it, words that take none until they are touched; and giving back to
//! the system what is not used.

#![allow(unsafe_code, reason = "three calls, each with its lines")]

use std::alloc::Layout;

use portable_atomic::AtomicU128;

/// A huge page of x86-64 and of AArch64 with pages of 4 KiB.
const HUGE: usize = 2 * 1024 * 1024;

/// Moves what of this lies in whole huge pages onto such pages, where the system has them: a large policy otherwise
/// spends a third of a decision on looking up addresses. Takes a moment for each; without effect where it is refused.
pub fn prefer_huge_pages<T>(memory: &[T]) {
    let (start, length) = (memory.as_ptr().cast::<u8>(), size_of_val(memory));
    let skipped = start.align_offset(HUGE);
    let length = length.saturating_sub(skipped) / HUGE * HUGE;
    if length == 0 {
        return;
    }
    let first = start.wrapping_add(skipped).cast_mut().cast();
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_COLLAPSE] {
        // SAFETY: the range is inside borrowed memory; neither advice changes what it holds.
        unsafe { libc::madvise(first, length, advice) };
    }
}

/// Words that begin at a cache line. Padded to whole lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Aligned<const WORDS: usize>(pub [AtomicU128; WORDS]);

/// `count` times so many words, all zero. The system finds memory for them page by page, as they are written.
pub fn zeroed<const WORDS: usize>(count: usize) -> Box<[Aligned<WORDS>]> {
    const { assert!(WORDS > 0, "an allocation has a size") };
    if count == 0 {
        return Box::default();
    }
    let layout = Layout::array::<Aligned<WORDS>>(count).expect("fewer bytes than there are addresses");
    // SAFETY: neither the words nor their count are zero, so the layout has a size.
    let start = unsafe { std::alloc::alloc_zeroed(layout) };
    if start.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    let words = std::ptr::slice_from_raw_parts_mut(start.cast::<Aligned<WORDS>>(), count);
    // SAFETY: this memory was allocated for such a slice, by whom the box gives it back to, and nobody else has it.
    // It is initialised: an `AtomicU128` is laid out as a `u128`, whose bits may all be zero.
    unsafe { Box::from_raw(words) }
}

/// Gives the system what this thread has freed and the allocator keeps for it. Takes up to some milliseconds: for when memory
/// is short.
pub fn give_back_freed() {
    // SAFETY: it only touches what is free of the calling thread's heap. Where another allocator is in use there is nothing.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_are_zero_in_lines_of_their_own_and_keep_what_they_are_given() {
        assert!(zeroed::<16>(0).is_empty());
        let words = zeroed::<5>(3000);
        assert!(words.iter().all(|five| std::ptr::from_ref(five).addr() % 64 == 0));
        let all = || words.iter().flat_map(|five| &five.0);
        assert_eq!(all().count(), 15_000);
        assert!(all().all(|word| word.load(Ordering::Relaxed) == 0));
        all()
            .zip(1..)
            .for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        assert!(
            all()
                .zip(1..)
                .all(|(word, value)| word.load(Ordering::Relaxed) == value)
        );
    }

    #[test]
    fn memory_holds_what_it_held() {
        let pattern = || (0..251_u8).cycle().take(5 * HUGE);
        let large: Vec<u8> = pattern().collect();
        for part in [&large[..], &large[1..], &large[..10], &[]] {
            prefer_huge_pages(part);
        }
        assert!(pattern().eq(large.iter().copied()));
    }
}
