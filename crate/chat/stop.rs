//! Stop strings in streamed text.

/// Watches text as it comes for any of some strings, and holds back what may become one: nothing of a stop string is
/// ever shown.
#[derive(Debug, Clone, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// Empty strings are left out: they would stop everything.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        let stops = stops.into_iter().filter(|s| !s.is_empty()).collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes the next piece of text. Gives what can be shown, and whether a stop string was met (what follows it is
    /// dropped, now and in later calls).
    pub fn push(&mut self, text: &str) -> (String, bool) {
        if self.stopped {
            return (String::new(), true);
        }
        self.held.push_str(text);
        // The earliest stop ends the text, whichever of two at the same place it is.
        if let Some(at) = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let safe = self.held.len() - self.stops.iter().map(|s| overlap(&self.held, s)).max().unwrap_or(0);
        let rest = self.held.split_off(safe);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, at the end of the text.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that `stop` begins with.
pub(super) fn overlap(text: &str, stop: &str) -> usize {
    let (text, stop) = (text.as_bytes(), stop.as_bytes());
    // Shorter than the whole: that would have been found. A match starts at a character of `stop`, so of `text` too.
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|&n| text.ends_with(&stop[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|s| s.to_string()));
        let mut stopped = false;
        let shown = pieces
            .iter()
            .map(|p| {
                let (text, stop) = matcher.push(p);
                stopped = stop;
                text
            })
            .collect();
        (shown, matcher.flush(), stopped)
    }

    #[test]
    fn a_stop_string_may_come_in_pieces() {
        let (shown, tail, stopped) = run(&["\n\nUser:"], &["Hi", "\n", "\nUs", "er: x", "more"]);
        assert_eq!((shown.concat().as_str(), tail.as_str(), stopped), ("Hi", "", true));
        assert_eq!(shown, ["Hi", "", "", "", ""]);
    }

    #[test]
    fn what_turns_out_harmless_is_shown() {
        let (shown, tail, stopped) = run(&["\n\nUser:"], &["a\n", "\nUse", "ful", " \n"]);
        assert_eq!(shown, ["a", "", "\n\nUseful", " "]);
        assert_eq!((tail.as_str(), stopped), ("\n", false));
    }

    #[test]
    fn the_earliest_of_several_wins() {
        let (shown, _, stopped) = run(&["c", "bcd", "zz"], &["ab", "cd"]);
        assert_eq!((shown.concat().as_str(), stopped), ("a", true));
    }

    #[test]
    fn characters_stay_whole() {
        // é and è share their first byte.
        let (shown, tail, stopped) = run(&["è!"], &["é", "è", "è", "!"]);
        assert_eq!((shown.concat().as_str(), tail.as_str(), stopped), ("éè", "", true));
        let (shown, ..) = run(&[""], &["é"]);
        assert_eq!(shown, ["é"]);
    }

    #[test]
    fn pieces_make_no_difference() {
        let text = "aabaabaaab aab";
        for stop in ["aaab", "aab ", "b a", "x"] {
            let whole = run(&[stop], &[text]);
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters = run(&[stop], &letters.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(whole.0.concat() + &whole.1, letters.0.concat() + &letters.1, "{stop:?}");
            assert_eq!(whole.2, letters.2);
        }
    }
}
