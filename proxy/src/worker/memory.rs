//! Asks the system for larger pages under memory that is read at random, and gives memory back to it that is not used.

#![allow(unsafe_code, reason = "two calls, each with its line")]

/// A huge page of x86-64 and of AArch64 with pages of 4 KiB.
const HUGE: usize = 2 * 1024 * 1024;

/// Moves what of these lies in whole huge pages onto such pages, where the system has them: a large policy otherwise
/// spends a third of a decision on looking up addresses. Takes a moment for each; without effect where it is refused.
pub fn prefer_huge_pages<'m>(memory: impl IntoIterator<Item = &'m [u8]>) {
    for piece in memory {
        let start = piece.as_ptr().align_offset(HUGE);
        let length = piece.len().saturating_sub(start) / HUGE * HUGE;
        if length == 0 {
            continue;
        }
        let inside = &piece[start..start + length];
        for advice in [libc::MADV_HUGEPAGE, libc::MADV_COLLAPSE] {
            // SAFETY: the range is borrowed memory; neither advice changes what it holds.
            unsafe { libc::madvise(inside.as_ptr().cast_mut().cast(), length, advice) };
        }
    }
}

/// Gives the system what this thread has freed and the allocator keeps for it. Takes up to some milliseconds: for when memory
/// is short.
pub fn give_back_freed() {
    // SAFETY: it only touches what is free of the calling thread's heap. Where another allocator is in use there is nothing.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_holds_what_it_held() {
        let pattern = || (0..251_u8).cycle().take(5 * HUGE);
        let large: Vec<u8> = pattern().collect();
        prefer_huge_pages([&large[..], &large[1..], &large[..10], &[]]);
        assert!(pattern().eq(large.iter().copied()));
    }
}
