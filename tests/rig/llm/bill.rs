//! What the provider would charge: the truth that the gateway's ledger is held against.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Every call so far.
#[derive(Debug, Default)]
pub struct Bill {
    meters: Mutex<Vec<Arc<Meter>>>,
}

/// One call as billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The model asked for.
    pub model: String,
    /// Whether it was streamed.
    pub streamed: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated before the caller's disappearance was seen.
    pub completion_tokens: u64,
    /// Whether the whole answer was sent.
    pub finished: bool,
}

impl Call {
    /// Prompt and completion.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }
}

impl Bill {
    /// The calls in the order they came.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.iter().map(|meter| meter.read()).collect()
    }

    /// All tokens of all calls.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.calls().iter().map(Call::total_tokens).sum()
    }

    pub(super) fn open(&self, model: &str, streamed: bool, prompt_tokens: u64) -> Arc<Meter> {
        let meter = Arc::new(Meter {
            model: model.to_owned(),
            streamed,
            prompt_tokens,
            completion_tokens: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        });
        self.meters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&meter));
        meter
    }
}

/// The running count of one call.
#[derive(Debug)]
pub(super) struct Meter {
    model: String,
    streamed: bool,
    prompt_tokens: u64,
    completion_tokens: AtomicU64,
    finished: AtomicBool,
}

impl Meter {
    pub(super) fn generate(&self, tokens: u64) {
        self.completion_tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    fn read(&self) -> Call {
        Call {
            model: self.model.clone(),
            streamed: self.streamed,
            prompt_tokens: self.prompt_tokens,
            finished: self.finished.load(Ordering::Acquire),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
        }
    }
}
