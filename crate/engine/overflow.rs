//! Which turns of a conversation to leave out so that the rest fits.

use std::ops::Range;

use serde_json::Value;

use crate::error::Result;

/// The oldest turns of a conversation: after any system messages, each a message of the user and what follows it up to the
/// next one, so that calls stay with their results. The last turn is not among them: it stays.
pub(super) struct OldTurns {
    first: usize,
    /// Where each ends, as an index of the messages.
    ends: Vec<usize>,
}

impl OldTurns {
    pub(super) fn of(messages: &[Value]) -> Self {
        let system = messages.iter().take_while(|m| matches!(role(m), "system" | "developer"));
        let first = system.count();
        let ends = (first + 1..messages.len()).filter(|&i| role(&messages[i]) == "user").collect();
        Self { first, ends }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The messages without the `n` oldest turns, of which there must be as many.
    pub(super) fn without(&self, n: usize, messages: &[Value]) -> Vec<Value> {
        let rest = n.checked_sub(1).map_or(self.first, |last| self.ends[last]);
        [&messages[..self.first], &messages[rest..]].concat()
    }
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

/// How many of the `most` oldest turns to leave out so that at most `limit` tokens are left, of `whole`; `None` where all
/// of them are too few. `left` is how many tokens are left without so many turns: the fewer, the more turns.
///
/// The tokens left out are rounded up to a multiple of `step` where there are as many. They depend on the oldest turns
/// alone, so requests that each repeat the conversation with a turn more begin alike until another `step` has come, and
/// the state of their common beginning is used again.
pub(super) fn turns_to_leave_out(
    most: usize,
    whole: usize,
    limit: usize,
    step: usize,
    left: impl Fn(usize) -> Result<usize>,
) -> Result<Option<usize>> {
    let Some((least, tokens)) = fewest(1..most + 1, limit, &left)? else { return Ok(None) };
    let rounded = whole.checked_sub(whole.saturating_sub(tokens).next_multiple_of(step));
    let more = match rounded {
        Some(limit) => fewest(least..most + 1, limit, &left)?,
        None => None,
    };
    Ok(Some(more.map_or(least, |(turns, _)| turns)))
}

/// The fewest turns of a range without which at most `limit` tokens are left, and how many are. To tokenize a long
/// conversation takes a while: it is done for few numbers of turns.
fn fewest(
    mut turns: Range<usize>,
    limit: usize,
    left: &impl Fn(usize) -> Result<usize>,
) -> Result<Option<(usize, usize)>> {
    let mut found = None;
    while !turns.is_empty() {
        let middle = turns.start + turns.len() / 2;
        let tokens = left(middle)?;
        if tokens <= limit {
            found = Some((middle, tokens));
            turns.end = middle;
        } else {
            turns.start = middle + 1;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_turns_go_and_the_system_message_and_last_turn_stay() {
        let m = |role: &str, text: &str| json!({"role": role, "content": text});
        let messages = [
            m("system", "s"),
            m("user", "1"),
            m("assistant", "call"),
            m("tool", "result"),
            m("assistant", "1"),
            m("user", "2"),
            m("assistant", "2"),
            m("user", "3"),
        ];
        let turns = OldTurns::of(&messages);
        assert_eq!(turns.len(), 2);
        assert_eq!(turns.without(0, &messages), messages);
        let first = [m("system", "s"), m("user", "2"), m("assistant", "2"), m("user", "3")];
        assert_eq!(turns.without(1, &messages), first);
        assert_eq!(turns.without(2, &messages), [m("system", "s"), m("user", "3")]);
        for none in [&messages[..1], &messages[..5], &[]] {
            assert_eq!(OldTurns::of(none).len(), 0);
            assert_eq!(OldTurns::of(none).without(0, none), none);
        }
        let greeted = [m("assistant", "hello"), m("user", "1")];
        assert_eq!(OldTurns::of(&greeted).without(1, &greeted), [m("user", "1")]);
    }

    /// Turns to leave out of turns of these lengths, behind 10 tokens that stay.
    fn chosen(turns: &[usize], limit: usize, step: usize) -> Option<usize> {
        let left = |n: usize| Ok(10 + turns[n..].iter().sum::<usize>());
        turns_to_leave_out(turns.len() - 1, left(0).unwrap(), limit, step, left).unwrap()
    }

    #[test]
    fn what_is_left_out_is_rounded_up_where_there_is_as_much() {
        assert_eq!(chosen(&[20; 10], 190, 1), Some(1));
        assert_eq!(chosen(&[20; 10], 190, 20), Some(1));
        assert_eq!(chosen(&[20; 10], 190, 50), Some(3));
        assert_eq!(chosen(&[20; 10], 149, 50), Some(5));
        // Not as much: no more than must be.
        assert_eq!(chosen(&[20, 20, 100], 125, 50), Some(2));
        assert_eq!(chosen(&[20, 20, 100], 140, 200), Some(1));
        assert_eq!(chosen(&[20, 20, 100], 100, 50), None);
        assert_eq!(chosen(&[200], 100, 50), None);
    }

    #[test]
    fn a_conversation_that_grows_seldom_loses_its_beginning() {
        let mut seen: Vec<usize> = (10..200).filter_map(|n| chosen(&vec![20; n], 200, 50)).collect();
        assert_eq!(seen.len(), 190);
        assert!(seen.is_sorted());
        seen.dedup();
        assert!(seen.len() < 190 / 2, "{seen:?}");
    }

    #[test]
    fn a_long_conversation_is_tokenized_a_few_times() {
        let calls = Cell::new(0);
        let left = |n: usize| {
            calls.set(calls.get() + 1);
            Ok(20_000 - 20 * n)
        };
        assert_eq!(turns_to_leave_out(999, 20_000, 3_000, 1_000, left).unwrap(), Some(850));
        assert!(calls.get() <= 20, "{} times", calls.get());
    }
}
