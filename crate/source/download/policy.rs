//! When to try again, and when to give up.

use serde::Deserialize;

/// How patient a download is. `TransferOptions` of `pkg/src/types.ts`, times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    /// Failures without a byte of progress between them before it is over.
    pub(crate) attempts: u32,
    /// Before the second attempt.
    pub(crate) retry_delay: f64,
    /// Without a byte, until the connection is taken for dead.
    pub(crate) stall_timeout: f64,
    /// Bytes of a stored piece.
    pub(crate) chunk_bytes: u32,
}

/// The longest delay between two attempts, in seconds.
const MAX_DELAY: f64 = 30.0;
/// The longest that a server may ask to wait.
const MAX_RETRY_AFTER: f64 = 180.0;
/// Attempts where a host has never answered: what is wrong then is rarely mended by waiting.
const FIRST_ATTEMPTS: u32 = 2;
/// Attempts where a host refuses what it gave before: the address that it redirects to may have expired.
const REFUSED_ATTEMPTS: u32 = 4;

/// What went wrong with an attempt, as far as trying again goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failure {
    /// No answer.
    Unreachable,
    /// The connection broke or stalled, or the answer makes no sense.
    Broken,
    /// The server is busy or has a problem; it may say for how many seconds.
    Busy { retry_after: Option<f64> },
    /// Access is refused, or the file is not there.
    Refused,
    /// Nothing that time would mend.
    Fatal,
}

impl Policy {
    /// Milliseconds until the next attempt after `failures` of them in a row; `None`: give up. `answered`: this download has
    /// had a good answer before.
    pub(crate) fn delay(&self, failure: Failure, failures: u32, answered: bool, random: f64) -> Option<f64> {
        let attempts = match failure {
            Failure::Fatal => return None,
            Failure::Unreachable if !answered => self.attempts.min(FIRST_ATTEMPTS),
            Failure::Refused if !answered => return None,
            Failure::Refused => self.attempts.min(REFUSED_ATTEMPTS),
            _ => self.attempts,
        };
        if failures >= attempts {
            return None;
        }
        let backoff = (self.retry_delay * f64::from(failures.saturating_sub(1)).exp2()).min(MAX_DELAY);
        // Half of it by chance, so that many clients of a server that comes back do not come all at once.
        let backoff = backoff * (0.5 + 0.5 * random);
        match failure {
            Failure::Busy { retry_after: Some(s) } if s > MAX_RETRY_AFTER => None,
            Failure::Busy { retry_after: Some(s) } => Some(1000.0 * s.max(backoff)),
            _ => Some(1000.0 * backoff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { attempts: 6, retry_delay: 0.5, stall_timeout: 20.0, chunk_bytes: 64 };

    #[test]
    fn delays_double_up_to_a_limit_and_end() {
        let delays: Vec<Option<f64>> = (1..=6).map(|n| POLICY.delay(Failure::Broken, n, true, 1.0)).collect();
        assert_eq!(delays, [Some(500.0), Some(1000.0), Some(2000.0), Some(4000.0), Some(8000.0), None]);
        let patient = Policy { attempts: 100, ..POLICY };
        assert_eq!(patient.delay(Failure::Broken, 50, true, 1.0), Some(30_000.0));
        assert_eq!(patient.delay(Failure::Broken, 50, true, 0.0), Some(15_000.0));
    }

    #[test]
    fn what_is_rarely_mended_is_not_tried_long() {
        let last = |failure, answered| {
            (1..=100).find(|&n| POLICY.delay(failure, n, answered, 0.5).is_none()).unwrap()
        };
        assert_eq!(last(Failure::Fatal, true), 1);
        assert_eq!(last(Failure::Refused, false), 1);
        assert_eq!(last(Failure::Refused, true), 4);
        assert_eq!(last(Failure::Unreachable, false), 2);
        assert_eq!(last(Failure::Unreachable, true), 6);
    }

    #[test]
    fn a_server_says_how_long() {
        let busy = |s| POLICY.delay(Failure::Busy { retry_after: s }, 1, true, 1.0);
        assert_eq!(busy(None), Some(500.0));
        assert_eq!(busy(Some(0.0)), Some(500.0));
        assert_eq!(busy(Some(7.0)), Some(7000.0));
        assert_eq!(busy(Some(3600.0)), None);
    }
}
