//! Logits of a prompt's positions, and of every buffer on the way: for parity checks, scoring and tests.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::plan::BufferId;

use super::Engine;

impl Engine {
    /// Logits after each of `positions` (0-based, increasing) of a prompt: `[positions, n_vocab]`. The conversation
    /// state is left out of it: the prompt is computed from its first token.
    ///
    /// # Errors
    /// `invalid-argument` for an id outside the vocabulary or a position outside the prompt, `context-full`.
    pub async fn logits(&mut self, ids: &[u32], positions: &[usize]) -> Result<Vec<f32>> {
        self.texts.check_ids(ids)?;
        if let Some(p) = positions.iter().find(|&&p| p >= ids.len()) {
            return Err(Error::invalid_argument(format!(
                "position {p} is outside the prompt of {} tokens",
                ids.len()
            )));
        }
        if !positions.is_sorted_by(|a, b| a < b) {
            return Err(Error::invalid_argument("positions have to increase"));
        }
        self.session.logits(self.backend.as_mut(), ids, positions).await
    }

    /// An activation buffer of the last run, by its name in the plan; needs `keep_buffers` at load.
    ///
    /// # Errors
    /// What the backend reports.
    pub async fn read_buffer(&mut self, id: BufferId) -> Result<Vec<f32>> {
        self.backend.read_buffer(id).await
    }

    /// What runs cost since the last call.
    pub fn take_stats(&mut self) -> crate::backend::RunStats {
        Backend::take_stats(self.backend.as_mut())
    }

    /// Times of the GPU's dispatches since the last call; needs `profile` at load.
    pub fn take_times(&mut self) -> Vec<crate::backend::DispatchTime> {
        Backend::take_times(self.backend.as_mut())
    }
}
