//! The time of day, for templates that print a date.

use std::fmt::Write as _;

use chrono::DateTime;
use chrono::format::{Item, StrftimeItems};

/// A moment as the user's clock shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallTime {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix_seconds: i64,
    /// What local time is ahead of UTC.
    pub utc_offset_seconds: i32,
}

/// Tells the time. A plain function, so that tests can stop it.
pub type Clock = fn() -> WallTime;

/// The host's clock: the browser's local time; natively UTC, as the standard library knows no time zones.
pub fn system_clock() -> WallTime {
    #[cfg(target_arch = "wasm32")]
    {
        let now = js_sys::Date::new_0();
        WallTime {
            unix_seconds: (now.get_time() / 1000.0).floor() as i64,
            utc_offset_seconds: (-60.0 * now.get_timezone_offset()) as i32,
        }
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallTime { unix_seconds: i64::try_from(since.as_secs()).unwrap_or(0), utc_offset_seconds: 0 }
    }
}

/// Local time by a `strftime` format; `None` where the format is not one.
pub(super) fn strftime(time: WallTime, format: &str) -> Option<String> {
    let local = time.unix_seconds.checked_add(i64::from(time.utc_offset_seconds))?;
    let local = DateTime::from_timestamp(local, 0)?.naive_utc();
    let items: Vec<Item<'_>> = StrftimeItems::new(format).parse().ok()?;
    let mut text = String::new();
    write!(text, "{}", local.format_with_items(items.iter())).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_local_time() {
        // 2026-03-02 23:30 UTC, two hours ahead.
        let time = WallTime { unix_seconds: 1_772_494_200, utc_offset_seconds: 7200 };
        assert_eq!(strftime(time, "%Y-%m-%d %H:%M").as_deref(), Some("2026-03-03 01:30"));
        assert_eq!(strftime(time, "%d %B %Y, %A %-d").as_deref(), Some("03 March 2026, Tuesday 3"));
        assert_eq!(strftime(time, "%Q"), None);
    }

    #[test]
    fn times_out_of_range_are_refused() {
        assert_eq!(strftime(WallTime { unix_seconds: i64::MAX, utc_offset_seconds: 1 }, "%Y"), None);
    }
}
