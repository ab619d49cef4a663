//! System calls: those that a running gateway makes, and no others (seccomp).
//!
//! A call that is not listed gets ENOSYS, as if the kernel did not have it. A C library that is newer than this list then
//! falls back on an older call; killing the process, or EPERM, would turn its next version into an outage. What an attacker
//! would want first is not listed in any form: other programs, tracing, mounts, modules, BPF, user namespaces.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use crate::worker::Driver;

/// Memory, threads and time.
const PROCESS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Files: the policy, certificates, logs, the admin socket, the resolver's.
const FILES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
];

/// Sockets, and waiting for them.
const SOCKETS: &[i64] = &[
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_ppoll,
    libc::SYS_pipe2,
    libc::SYS_splice,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];

/// The ring of a worker, where it has one.
const RING: &[i64] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// What newer architectures do without.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
const OLD: &[i64] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLD: &[i64] = &[];

/// Families of sockets: the resolver asks the kernel for its addresses.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Lets this thread, and those that it starts, make the listed calls only. Gives their number.
///
/// # Errors
/// When the architecture is not supported, or the kernel refuses.
pub(super) fn allow_only_listed(driver: Driver) -> Result<usize, seccompiler::Error> {
    let rules = rules(driver)?;
    let count = rules.len();
    let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(
        rules,
        enosys,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter(&program)?;
    Ok(count)
}

fn rules(driver: Driver) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let ring: &[i64] = match driver {
        Driver::Uring => RING,
        Driver::Epoll => &[],
    };
    let lists = [PROCESS, FILES, SOCKETS, OLD, ring];
    let mut rules: BTreeMap<_, _> = lists
        .into_iter()
        .flatten()
        .map(|&call| (call, Vec::new()))
        .collect();
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    // A thread, never a process. clone3 hides its flags from filters: without it the C library uses clone.
    rules.insert(
        libc::SYS_clone,
        vec![only(0, SeccompCmpOp::MaskedEq(thread), thread)?],
    );
    let families = FAMILIES.map(|family| only(0, SeccompCmpOp::Eq, u64::from(family.unsigned_abs())));
    rules.insert(libc::SYS_socket, families.into_iter().collect::<Result<_, _>>()?);
    let names = [libc::PR_SET_NAME, libc::PR_SET_VMA]
        .map(|option| only(0, SeccompCmpOp::Eq, u64::from(option.unsigned_abs())));
    rules.insert(libc::SYS_prctl, names.into_iter().collect::<Result<_, _>>()?);
    Ok(rules)
}

/// The call, if that argument is as it should be.
fn only(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)?;
    SeccompRule::new(vec![condition])
}
