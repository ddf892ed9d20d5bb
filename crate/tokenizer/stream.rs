//! Text from tokens as they come, never half a character.

use super::Tokenizer;

/// Turns token ids into text piece by piece. Bytes that may still become a character are held back; bytes that cannot
/// become one are shown as U+FFFD, one for each maximal part, as WHATWG's decoder and Rust's `from_utf8_lossy` do.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    held: Vec<u8>,
    skip_special: bool,
}

impl StreamDecoder {
    /// `skip_special`: control tokens give no text.
    pub fn new(skip_special: bool) -> Self {
        Self { held: Vec::new(), skip_special }
    }

    /// The text that is complete once `id` has arrived.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        tokenizer.push_bytes(id, self.skip_special, &mut self.held);
        let mut text = String::new();
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(e) => {
                    let (valid, after) = rest.split_at(e.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    // No length: the end came in the middle of a character.
                    let Some(broken) = e.error_len() else { break };
                    // The start of an encoded surrogate: no character, and shown once it is whole, as Python does.
                    if let [0xed, 0xa0..=0xbf] = rest {
                        break;
                    }
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[broken..];
                }
            }
        }
        let held = rest.len();
        self.held.drain(..self.held.len() - held);
        text
    }

    /// What is held back, at the end of the tokens: U+FFFD, or nothing.
    pub fn flush(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        text
    }
}
