//! Signals: SIGTERM and SIGINT drain, SIGHUP reloads.

use std::io;

use crossbeam::channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Event;

/// Turns signals into events, on a thread of their own.
pub(super) fn listen(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload(None) } else { Event::Drain };
            if events.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
