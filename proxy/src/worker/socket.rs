//! The few system calls that the standard library does not wrap.

#![allow(unsafe_code, reason = "a few system calls, each with its line")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends both directions of a socket. Operations on it complete; the descriptor stays.
pub(super) fn shut_down(fd: RawFd) {
    // SAFETY: `shutdown` takes no memory; on a descriptor that is no socket it fails without effect.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Ends the sending direction.
pub(super) fn shut_down_write(fd: RawFd) {
    // SAFETY: as above.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Appends what has arrived at a socket to memory that has room for it, without waiting. 0 is the end of the stream.
pub(super) fn receive(fd: RawFd, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let room = bytes.spare_capacity_mut();
    // SAFETY: the memory lives through the call, and its size is given.
    let count = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    let count = usize::try_from(count).map_err(|_negative| io::Error::last_os_error())?;
    // SAFETY: the kernel has written that many bytes behind those that were there, into the vector's own memory.
    unsafe { bytes.set_len(bytes.len() + count) };
    Ok(count)
}

/// Hands bytes to a socket, as many as it takes without waiting.
pub(super) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the bytes live through the call, and their number is given.
    let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
}

/// Whether bytes wait to be read from a socket. An end of stream is none.
pub(super) fn has_bytes(fd: RawFd) -> bool {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the byte lives through the call, and its size is given.
    unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) > 0 }
}

/// The descriptor of something that the runtime holds open, for as long as that is borrowed.
pub(super) fn borrow<T: AsRawFd>(holder: &T) -> BorrowedFd<'_> {
    // SAFETY: the holder keeps the descriptor open while the result borrows it.
    unsafe { BorrowedFd::borrow_raw(holder.as_raw_fd()) }
}

/// The first descriptor that a service manager passes, as `sd_listen_fds(3)` has it.
const PASSED_FIRST: RawFd = 3;

/// Descriptors that the service manager opened for this process, if it says that there are `count`. Each is given once,
/// and closed in programs that this process starts. Must be called before anything else is opened.
pub fn passed(count: u16) -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    let is_open = |fd: &RawFd| {
        // SAFETY: takes no memory, and fails on a descriptor that is not open.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
    };
    (PASSED_FIRST..PASSED_FIRST + RawFd::from(count))
        .filter(is_open)
        // SAFETY: it is open, and nobody in this process owns it: it came with the process, and is given out once.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}

/// Cores that this process may use, in order.
pub fn cores() -> Vec<usize> {
    let mut set = empty_set();
    // SAFETY: the set lives through the call, and its size is given.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return Vec::new();
    }
    // SAFETY: every index is below the set's size.
    (0..libc::CPU_SETSIZE as usize)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect()
}

/// Keeps the calling thread on one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let mut set = empty_set();
    // SAFETY: `cores` gives only indexes below the set's size.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set lives through the call, and its size is given.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: a CPU set is an array of integers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}
