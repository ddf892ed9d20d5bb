//! `out[r] = table[token(r)]`.

use super::{LinesMut, check};
use crate::error::Result;
use crate::quant::{self, GgmlType};

/// `table` holds rows of `out.width()` elements of type `ty`, as in the file.
///
/// # Errors
/// `internal` where shapes do not fit or a token is beyond the table.
pub fn reference(ty: GgmlType, table: &[u8], tokens: &[u32], mut out: LinesMut<'_>) -> Result<()> {
    check(tokens.len() == out.n(), "embed", || format!("{} tokens into {} lines", tokens.len(), out.n()))?;
    for (i, &token) in tokens.iter().enumerate() {
        let row = super::matmul::row(ty, table, token as usize, out.width())?;
        quant::decode(ty, row, out.line(i))?;
    }
    Ok(())
}
