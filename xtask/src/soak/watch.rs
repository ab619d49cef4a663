//! What a process uses, over time.

use std::time::{Duration, Instant};

use ::tests::Gateway;
use anyhow::{Context as _, Result};

/// Growth that is no leak, in KiB a minute: allocators settle for hours.
pub(super) const GROWTH_KIB_PER_MIN: f64 = 1024.0;
/// Descriptors that may be open at the end beyond those of a gateway that was just started and used: idle connections to
/// upstreams.
pub(super) const DESCRIPTORS_MORE: usize = 32;
/// How long a quiet gateway may take to close what its clients left.
const QUIET: Duration = Duration::from_secs(20);

/// What was seen.
#[derive(Default)]
pub(super) struct Watch {
    /// The most memory of any process, in KiB.
    pub(super) peak_kib: u64,
    /// Seconds and KiB of the process that is watched for growth.
    pub(super) samples: Vec<(f64, f64)>,
    watched_since: Option<Instant>,
    /// Descriptors of the first process once all clients had come, ...
    pub(super) descriptors_before: usize,
    /// ... and of the last one when they had gone.
    pub(super) descriptors_after: usize,
    /// Tasks that panicked, and requests that were turned away, in the last process.
    pub(super) panics: f64,
    pub(super) shed: f64,
}

impl Watch {
    /// Looks at a process.
    pub(super) fn look(&mut self, gateway: &mut Gateway) -> Result<u64> {
        let kib = (gateway.process().resident()? / 1024) as u64;
        self.peak_kib = self.peak_kib.max(kib);
        if self.descriptors_before == 0 {
            self.descriptors_before = descriptors(gateway)?;
        }
        Ok(kib)
    }

    /// Looks at the process that must not grow.
    pub(super) fn growth(&mut self, gateway: &mut Gateway) -> Result<()> {
        let kib = self.look(gateway)?;
        let since = *self.watched_since.get_or_insert_with(Instant::now);
        self.samples.push((since.elapsed().as_secs_f64(), kib as f64));
        Ok(())
    }

    /// Waits until nobody is connected any more, and looks for the last time.
    pub(super) fn quiet(&mut self, gateway: &mut Gateway) -> Result<()> {
        let latest = Instant::now() + QUIET;
        loop {
            self.descriptors_after = descriptors(gateway)?;
            if self.descriptors_after <= self.descriptors_before || Instant::now() > latest {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        self.panics = gateway.admin().metric("tollgate_panics_total", &[])?;
        self.shed = gateway.admin().metric("tollgate_requests_shed_total", &[])?;
        Ok(())
    }

    /// KiB a minute, by least squares.
    pub(super) fn slope(&self) -> f64 {
        let count = self.samples.len() as f64;
        if count < 2.0 {
            return 0.0;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| self.samples.iter().map(of).sum::<f64>() / count;
        let (time, size) = (mean(|it| it.0), mean(|it| it.1));
        let (mut both, mut times) = (0.0, 0.0);
        for (at, kib) in &self.samples {
            both += (at - time) * (kib - size);
            times += (at - time) * (at - time);
        }
        if times > 0.0 { both / times * 60.0 } else { 0.0 }
    }
}

fn descriptors(gateway: &mut Gateway) -> Result<usize> {
    let folder = format!("/proc/{}/fd", gateway.process().id());
    Ok(std::fs::read_dir(folder).context("its descriptors")?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_noise() {
        let samples = (0..60).map(|at| {
            let noise = if at % 2 == 0 { 300.0 } else { -300.0 };
            (f64::from(at), 50_000.0 + f64::from(at) * 10.0 + noise)
        });
        let watch = Watch {
            samples: samples.collect(),
            ..Watch::default()
        };
        assert!((watch.slope() - 600.0).abs() < 40.0, "{}", watch.slope());
        assert!(Watch::default().slope().abs() < f64::EPSILON);
    }
}
