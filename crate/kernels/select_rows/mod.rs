//! Lines of the rows that ask for logits, in order.

use super::{Lines, LinesMut, check};
use crate::error::Result;
use crate::plan::Row;

/// # Errors
/// `internal` where shapes do not fit.
pub fn reference(rows: &[Row], x: Lines<'_>, mut out: LinesMut<'_>) -> Result<()> {
    let outputs = rows.iter().filter(|r| r.output).count();
    check(rows.len() == x.n() && outputs == out.n() && x.width() == out.width(), "select_rows", || {
        format!(
            "{outputs} of {} rows from [{}, {}] into [{}, {}]",
            rows.len(),
            x.n(),
            x.width(),
            out.n(),
            out.width()
        )
    })?;
    let chosen = rows.iter().zip(x.iter()).filter(|(row, _)| row.output);
    for (i, (_, line)) in chosen.enumerate() {
        out.line(i).copy_from_slice(line);
    }
    Ok(())
}
