//! Looks at how much memory the process uses, and has workers give back what they keep while it is short.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::workers::WorkerHandle;
use crate::limits;
use crate::overload::Memory;

/// The main thread's watch over memory.
pub(super) struct MemoryWatch {
    /// Kept open: a confined process may not open what it likes.
    status: Option<File>,
    memory: Arc<Memory>,
    short_for: u32,
    was_full: bool,
}

impl MemoryWatch {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        let watch = Self {
            status: File::open("/proc/self/status").ok(),
            memory,
            short_for: 0,
            was_full: false,
        };
        if let (Some(most), None) = (watch.memory.most(), watch.resident()) {
            eprintln!(
                "tollgate: the kernel does not tell how much memory is in use: {most} bytes are no bound"
            );
        }
        watch
    }

    /// Looks once.
    pub(super) fn look(&mut self, workers: &[WorkerHandle]) {
        let Some(used) = self.resident() else { return };
        if self.memory.saw(used) {
            if self.short_for.is_multiple_of(limits::MEMORY_GIVE_BACK_LOOKS) {
                workers.iter().for_each(WorkerHandle::forget_spares);
            }
            self.short_for += 1;
        } else {
            self.short_for = 0;
        }
        self.tell(used);
    }

    fn tell(&mut self, used: u64) {
        let full = self.memory.is_full();
        if full == self.was_full {
            return;
        }
        self.was_full = full;
        let (used, most) = (used >> 20, self.memory.most().unwrap_or_default() >> 20);
        if full {
            eprintln!(
                "tollgate: {used} MiB of memory are in use, and {most} MiB may be: only critical requests are served, \
                 and no connection is accepted\nhelp: see --memory-most"
            );
        } else {
            eprintln!("tollgate: {used} MiB of memory are in use: connections are accepted again");
        }
    }

    /// Resident bytes, if the kernel tells.
    fn resident(&self) -> Option<u64> {
        let mut text = [0; 4096];
        let length = self.status.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = String::from_utf8_lossy(&text[..length]);
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_in_use() {
        let mut watch = MemoryWatch::new(Arc::new(Memory::new(None)));
        let before = watch.resident().unwrap();
        assert!(before > 1 << 20, "{before}");
        let more = vec![1_u8; 64 << 20];
        assert!(watch.resident().unwrap() > before + (60 << 20));
        watch.look(&[]);
        assert!(watch.memory.used() > before + (60 << 20));
        drop(more);
    }
}
