//! The access log: Kong's log object, one line of JSON for each exchange, appended to files.
//!
//! A worker writes its line into a reused buffer and hands it over through a queue of its own; one thread writes
//! for all. A worker never waits: a full queue drops the line and counts it, and the writer is woken at most once
//! every few milliseconds. Absent: which exchange is logged where, which the policy says.

mod entry;
mod fields;
mod json;
mod redaction;
mod session;
mod tls;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

use crate::limits;
use crate::settable::{self, Limit};

pub use entry::{
    Latencies, LogCall, LogCertificate, LogEntry, LogRequest, LogResponse, LogTls, LogTry, LostTry,
};
pub use fields::Fields;
pub use redaction::Redaction;
pub use session::LogSession;

/// A file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFile(u32);

/// What became of the lines, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Written to their file.
    pub written: u64,
    /// Dropped because the writer was behind.
    pub dropped: u64,
    /// Lost because their file could not be written.
    pub lost: u64,
}

/// The log of the process. Dropping it writes what was handed over and ends the thread.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: OnceLock<JoinHandle<()>>,
}

/// One worker's end of the log.
#[derive(Debug)]
pub struct LogSender {
    shared: Arc<Shared>,
    writer: Thread,
    number: usize,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Line {
    target: LogFile,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Queue {
    full: ArrayQueue<Line>,
    spare: ArrayQueue<Vec<u8>>,
    dropped: AtomicU64,
    taken: AtomicBool,
}

#[derive(Debug)]
#[expect(
    clippy::disallowed_types,
    reason = "the files' names: written once per snapshot, read by the writer alone"
)]
struct Shared {
    queues: Box<[CachePadded<Queue>]>,
    files: std::sync::Mutex<Vec<(Arc<Path>, bool)>>,
    asleep: AtomicBool,
    closing: AtomicBool,
    generation: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
}

impl AccessLog {
    /// Starts the writer, for so many workers.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(workers: usize) -> std::io::Result<Self> {
        let log = Self::new(workers);
        log.begin()?;
        Ok(log)
    }

    /// A log whose writer does not run yet.
    pub fn new(workers: usize) -> Self {
        Self {
            shared: Arc::new(Shared::new(workers)),
            writer: OnceLock::new(),
        }
    }

    /// Starts the writer, once; before that nobody can write lines.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn begin(&self) -> std::io::Result<()> {
        let own = Arc::clone(&self.shared);
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer::run(&own))?;
        self.writer
            .set(writer)
            .map_err(|_second| std::io::Error::other("the log's writer runs already"))
    }

    /// The files that were numbered since start.
    pub fn paths(&self) -> Vec<Arc<Path>> {
        self.shared
            .files()
            .iter()
            .map(|(path, _)| Arc::clone(path))
            .collect()
    }

    /// The number of a file; the same path and `reopen` have the same number for good. With `reopen` the file is
    /// opened anew each time lines are written, as log rotation without a signal needs. `None` beyond
    /// [`limits::LOG_FILES`]. Cold: takes a lock.
    pub fn file(&self, path: &Path, reopen: bool) -> Option<LogFile> {
        let mut files = self.shared.files();
        let known = files
            .iter()
            .position(|(known, again)| **known == *path && *again == reopen);
        let number = known.unwrap_or(files.len());
        if number == limits::LOG_FILES {
            return None;
        }
        if known.is_none() {
            files.push((path.into(), reopen));
        }
        u32::try_from(number).ok().map(LogFile)
    }

    /// The end for worker `number`; `None` when it is taken.
    pub fn sender(&self, number: usize) -> Option<LogSender> {
        let writer = self.writer.get()?.thread().clone();
        let free = !self.shared.queues.get(number)?.taken.swap(true, Ordering::AcqRel);
        free.then(|| LogSender {
            shared: Arc::clone(&self.shared),
            writer,
            number,
            scratch: Vec::new(),
        })
    }

    /// Closes every file, to be opened again by its next line: what `SIGHUP` asks for after a rotation.
    pub fn reopen(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What became of the lines.
    pub fn counts(&self) -> LogCounts {
        let dropped = self
            .shared
            .queues
            .iter()
            .map(|queue| queue.dropped.load(Ordering::Relaxed));
        LogCounts {
            written: self.shared.written.load(Ordering::Relaxed),
            dropped: dropped.sum(),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // A writer that panicked has said so.
            let _panicked = writer.join();
        }
    }
}

impl LogSender {
    /// Hands over the line of an exchange. Never waits.
    pub fn write(&mut self, file: LogFile, entry: &LogEntry<'_>, redaction: &Redaction) {
        self.hand_over(file, |scratch, text| entry.write(redaction, scratch, text));
    }

    /// The same for a session.
    pub fn write_session(&mut self, file: LogFile, entry: &LogSession<'_>) {
        self.hand_over(file, |_scratch, text| entry.write(text));
    }

    fn hand_over(&mut self, file: LogFile, write: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
        let queue = &self.shared.queues[self.number];
        // Only the writer takes out, so there is still room after the line is written.
        if queue.full.is_full() {
            return queue.drop_line();
        }
        let mut text = queue.spare.pop().unwrap_or_default();
        write(&mut self.scratch, &mut text);
        if queue.full.push(Line { target: file, text }).is_err() {
            queue.drop_line();
        }
        let asleep = &self.shared.asleep;
        if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
            self.writer.unpark();
        }
    }
}

impl Drop for LogSender {
    fn drop(&mut self) {
        self.shared.queues[self.number]
            .taken
            .store(false, Ordering::Release);
    }
}

impl Queue {
    fn new() -> Self {
        Self {
            full: ArrayQueue::new(settable::log_lines()),
            spare: ArrayQueue::new(settable::log_lines()),
            dropped: AtomicU64::new(0),
            taken: AtomicBool::new(false),
        }
    }

    fn drop_line(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        settable::reached(Limit::LogLines);
    }

    fn give_back(&self, mut text: Vec<u8>) {
        text.clear();
        if text.capacity() <= limits::LOG_LINE_KEPT_BYTES {
            // Full only when more buffers exist than lines fit; this one is freed then.
            let _freed = self.spare.push(text);
        }
    }
}

impl Shared {
    fn new(workers: usize) -> Self {
        Self {
            queues: (0..workers).map(|_| CachePadded::new(Queue::new())).collect(),
            files: Vec::new().into(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.full.is_empty())
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Path>, bool)>> {
        self.files
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
