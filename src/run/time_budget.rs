//! The time of one invocation.

use std::time::Duration;

use tokio::time::Instant;

/// How the time until Lambda's deadline is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBudget {
    /// No further image is begun after this.
    pub last_start: Instant,
    /// No call goes on after this.
    pub end: Instant,
}

impl TimeBudget {
    /// Divides the time that is left: a tenth, at most a second, to answer in, and before that a
    /// fifth, at most five seconds, to finish the images that were begun.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let end = deadline - (left / 10).min(Duration::from_secs(1));
        Self {
            last_start: end - (left / 5).min(Duration::from_secs(5)),
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn short_and_long_invocations_keep_time_to_finish_and_to_answer() {
        for (seconds, last_start, end) in [(10, 7, 9), (300, 294, 299), (900, 894, 899)] {
            let now = Instant::now();
            let budget = TimeBudget::until(now + Duration::from_secs(seconds));
            assert_eq!(budget.last_start - now, Duration::from_secs(last_start));
            assert_eq!(budget.end - now, Duration::from_secs(end));
        }
    }
}
