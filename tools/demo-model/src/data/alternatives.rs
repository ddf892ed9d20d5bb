//! Wordings with alternatives: `(What is|What's) qwenlet(?|)` stands for four sentences.

/// Every sentence that a pattern stands for. Alternatives do not nest.
pub(super) fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('(') else {
        return vec![pattern.to_owned()];
    };
    let (inside, after) = rest.split_once(')').expect("a closing parenthesis");
    let ends = expand(after);
    inside
        .split('|')
        .flat_map(|choice| ends.iter().map(move |end| format!("{before}{choice}{end}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn every_combination_once() {
        assert_eq!(expand("plain"), ["plain"]);
        assert_eq!(expand("(a|b) c(?|)"), ["a c?", "a c", "b c?", "b c"]);
    }
}
