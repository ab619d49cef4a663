//! Signals: SIGTERM and SIGINT drain, SIGHUP reloads and opens the logs anew.

use std::io;

use crossbeam::channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Event;

/// Turns signals into events, on a thread of their own.
pub(super) fn listen(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let sent = if signal == SIGHUP {
                    events
                        .send(Event::ReopenLogs)
                        .and_then(|()| events.send(Event::Reload(None)))
                } else {
                    events.send(Event::Drain)
                };
                if sent.is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}
