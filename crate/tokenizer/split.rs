//! Qwen's pre-tokenization: text is cut into words, single digits, punctuation and white space before pairs are merged.

use regex::Regex;

use crate::error::{Code, Error, Result};

/// Which of Qwen's patterns a file asks for (`tokenizer.ggml.pre`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Qwen1.5 to Qwen3.
    Qwen2,
    /// Qwen3.5 and later: combining marks belong to words.
    Qwen35,
}

impl Pattern {
    /// # Errors
    /// `tokenizer` for a name that is none of Qwen's.
    pub(super) fn from_name(name: Option<&str>) -> Result<Self> {
        match name {
            // Files made before the key existed, and distilled models that keep Qwen's tokenizer.
            None | Some("qwen2" | "deepseek-r1-qwen") => Ok(Pattern::Qwen2),
            Some("qwen35") => Ok(Pattern::Qwen35),
            Some(other) => Err(Error::new(
                Code::Tokenizer,
                format!("tokenizer.ggml.pre is {other:?}; this build knows qwen2 and qwen35"),
            )),
        }
    }

    /// The published pattern without its `\s+(?!\S)`, which [`Splitter::next`] does by hand: the regex engine has no
    /// look-ahead, and needs none to be fast.
    fn regex(self) -> String {
        let (letters, others) = match self {
            Pattern::Qwen2 => (r"\p{L}", r"\p{L}\p{N}"),
            Pattern::Qwen35 => (r"[\p{L}\p{M}]", r"\p{L}\p{M}\p{N}"),
        };
        format!(
            r"^(?:(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letters}+|\p{{N}}| ?[^\s{others}]+[\r\n]*|\s*[\r\n]+|\s+)"
        )
    }
}

/// Cuts text by a pattern.
#[derive(Debug)]
pub(super) struct Splitter {
    regex: Regex,
}

impl Splitter {
    pub(super) fn new(pattern: Pattern) -> Result<Self> {
        let regex = Regex::new(&pattern.regex())
            .map_err(|e| Error::internal("the pre-tokenization pattern does not compile").with_cause(e))?;
        Ok(Self { regex })
    }

    /// The pieces of `text`, end to end.
    pub(super) fn pieces<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (piece, after) = rest.split_at(self.next(rest));
            rest = after;
            Some(piece)
        })
    }

    /// Bytes of the first piece of a text that is not empty.
    fn next(&self, text: &str) -> usize {
        // The pattern's alternatives cover every character; one character is a safe answer all the same.
        let first = || text.chars().next().map_or(0, char::len_utf8);
        let end = self.regex.find(text).map_or(0, |m| m.end());
        if end == 0 {
            return first();
        }
        let piece = &text[..end];
        // `\s+(?!\S)|\s+`: white space before a word leaves its last character to the word.
        if end < text.len()
            && let Some(last) = piece.chars().next_back()
            && last.len_utf8() < end
            && !matches!(last, '\r' | '\n')
            && piece.chars().all(char::is_whitespace)
        {
            return end - last.len_utf8();
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pattern: Pattern, text: &str) -> Vec<String> {
        Splitter::new(pattern).unwrap().pieces(text).map(str::to_owned).collect()
    }

    #[test]
    fn words_digits_punctuation_and_space() {
        let cases: &[(&str, &[&str])] = &[
            ("Hello world", &["Hello", " world"]),
            ("a   b", &["a", "  ", " b"]),
            ("a   ", &["a", "   "]),
            ("   ", &["   "]),
            ("a \n  b", &["a", " \n", " ", " b"]),
            ("x\r\n\r\ny", &["x", "\r\n\r\n", "y"]),
            ("I'LL 'it's", &["I", "'LL", " '", "it", "'s"]),
            ("2024", &["2", "0", "2", "4"]),
            ("f(x) != \"y\"\n\n", &["f", "(x", ")", " !=", " \"", "y", "\"\n\n"]),
            ("\tif\u{3000}\u{3000}語", &["\tif", "\u{3000}", "\u{3000}語"]),
            ("a\u{a0}\u{a0}1", &["a", "\u{a0}", "\u{a0}", "1"]),
        ];
        for (text, expected) in cases {
            assert_eq!(&pieces(Pattern::Qwen2, text), expected, "{text:?}");
        }
    }

    /// The published patterns, look-ahead and all, by the regex engine that the `tokenizers` crate uses for them.
    #[test]
    fn pieces_are_those_of_the_published_pattern() {
        const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
        let published = [
            (
                Pattern::Qwen2,
                format!(
                    r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
            ),
            (
                Pattern::Qwen35,
                format!(
                    r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
            ),
        ];
        const ALPHABET: [&str; 24] = [
            " ", " ", "  ", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}", "\u{2028}", "a", "Zé", "語", "\u{301}",
            "ि", "7", "Ⅷ", "!", "_", "'s", "'LL", "'", "😀", "\u{200d}", "ſ",
        ];
        for (pattern, source) in published {
            let oracle = tokenizers::utils::SysRegex::new(&source).unwrap();
            let splitter = Splitter::new(pattern).unwrap();
            arbtest::arbtest(|u| {
                let n = u.int_in_range(0..=24)?;
                let text = (0..n).map(|_| u.choose(&ALPHABET).copied()).collect::<Result<String, _>>()?;
                let expected: Vec<&str> = oracle.find_iter(&text).map(|(a, b)| &text[a..b]).collect();
                assert_eq!(splitter.pieces(&text).collect::<Vec<_>>(), expected, "{text:?}");
                Ok(())
            });
        }
    }

    #[test]
    fn combining_marks_belong_to_words_since_qwen35() {
        let text = "कि";
        assert_eq!(pieces(Pattern::Qwen2, text), ["क", "ि"]);
        assert_eq!(pieces(Pattern::Qwen35, text), [text]);
    }

    #[test]
    fn other_patterns_are_refused_by_name() {
        assert_eq!(Pattern::from_name(None).unwrap(), Pattern::Qwen2);
        let error = Pattern::from_name(Some("llama-bpe")).unwrap_err();
        assert_eq!(error.code(), Code::Tokenizer);
        assert!(error.message().contains("llama-bpe"));
    }
}
