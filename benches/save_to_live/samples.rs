//! Many measurements of one thing, and what is said of them.

use std::time::Duration;

/// Durations of one thing that was done many times.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one measurement.
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Returns the value below which a share of the samples lies, by the nearest rank.
    ///
    /// # Panics
    ///
    /// Without samples.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted[rank - 1]
    }

    /// Returns p50, p95 and the maximum in milliseconds, as a cell of a table.
    pub(crate) fn cell(&self) -> String {
        let ms = |percent| milliseconds(self.percentile(percent));
        format!("{} / {} / {}", ms(50), ms(95), ms(100))
    }
}

/// Returns a duration in milliseconds, as people read it.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1_000.0)
}
