//! The one thread that writes: gathers what the workers handed over and appends it to the files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Line, Shared};
use crate::limits;

/// Runs until the log is closed and all that was handed over is written.
pub(super) fn run(shared: &Shared) {
    let mut writer = Writer {
        shared,
        targets: Vec::new(),
        generation: 0,
    };
    loop {
        // Read before the round, so that the last round comes after the last line.
        let closing = shared.closing.load(Ordering::Acquire);
        let idle = !writer.round();
        if closing && idle {
            return;
        }
        if closing {
            continue;
        }
        if idle {
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.is_empty() && !shared.closing.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
        }
        // A line seldom comes alone: a few milliseconds make one write of many.
        std::thread::park_timeout(Duration::from_millis(limits::LOG_GATHER_MS));
    }
}

struct Writer<'w> {
    shared: &'w Shared,
    targets: Vec<Target>,
    generation: u64,
}

impl Writer<'_> {
    /// Writes what is there now; false when there was nothing.
    fn round(&mut self) -> bool {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.targets.iter_mut().for_each(|target| target.file = None);
        }
        let mut any = false;
        for queue in &self.shared.queues {
            // No more than was there at first, so that a busy worker does not keep the others waiting.
            for _ in 0..queue.full.len() {
                let Some(line) = queue.full.pop() else { break };
                any = true;
                self.gather(&line);
                queue.give_back(line.text);
            }
        }
        for target in &mut self.targets {
            target.flush(self.shared);
            if target.reopen {
                target.file = None;
            }
        }
        any
    }

    fn gather(&mut self, line: &Line) {
        let number = line.target.0 as usize;
        if number >= self.targets.len() {
            let known = self.targets.len();
            let new = self
                .shared
                .files()
                .iter()
                .skip(known)
                .map(Target::new)
                .collect::<Vec<_>>();
            self.targets.extend(new);
        }
        let Some(target) = self.targets.get_mut(number) else {
            return;
        };
        target.pending.extend_from_slice(&line.text);
        if target.pending.len() >= limits::LOG_WRITE_BYTES {
            target.flush(self.shared);
        }
    }
}

struct Target {
    path: PathBuf,
    reopen: bool,
    file: Option<File>,
    pending: Vec<u8>,
    /// Whether the file ends in the middle of a line that could not be finished.
    torn: bool,
    failing: bool,
}

impl Target {
    fn new(file: &(Arc<Path>, bool)) -> Self {
        let (path, reopen) = file;
        let path = path.to_path_buf();
        Self {
            path,
            reopen: *reopen,
            file: None,
            pending: Vec::new(),
            torn: false,
            failing: false,
        }
    }

    /// Writes what is pending. What cannot be written is lost and counted: a full disk must not fill the memory.
    fn flush(&mut self, shared: &Shared) {
        if self.pending.is_empty() {
            return;
        }
        let lines = count_lines(&self.pending);
        let mut written = 0;
        let result = self.write(&mut written);
        let lost = if result.is_ok() {
            0
        } else {
            lines - count_lines(&self.pending[..written])
        };
        shared.lost.fetch_add(lost, Ordering::Relaxed);
        shared.written.fetch_add(lines - lost, Ordering::Relaxed);
        if let Err(error) = &result {
            self.torn |= written > 0 && self.pending[written - 1] != b'\n';
            self.file = None;
            if !self.failing {
                eprintln!(
                    "tollgate: {}: {error}; log lines are lost until it can be written",
                    self.path.display()
                );
            }
        } else if self.failing {
            eprintln!("tollgate: {} can be written again", self.path.display());
        }
        self.failing = result.is_err();
        self.pending.clear();
        self.pending.shrink_to(2 * limits::LOG_WRITE_BYTES);
    }

    fn write(&mut self, written: &mut usize) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(OpenOptions::new().append(true).create(true).open(&self.path)?),
        };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        while *written < self.pending.len() {
            match file.write(&self.pending[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => *written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn count_lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_after_a_torn_one_begins_on_its_own() {
        let shared = Shared::new(0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "{\"half").unwrap();
        let mut target = Target {
            torn: true,
            ..Target::new(&(path.as_path().into(), false))
        };
        target.pending.extend_from_slice(b"{}\n");
        target.flush(&shared);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"half\n{}\n");
        assert_eq!(shared.written.load(Ordering::Relaxed), 1);
    }
}
