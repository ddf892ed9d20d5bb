//! Words and names to make dialogues of.

use std::sync::LazyLock;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::Rng;

/// Common words, for everything that is done with a word; sorted (a test says so).
pub(super) static WORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("words.txt").split_whitespace().collect());

/// Things with a price or a number.
pub(super) const THINGS: &[&str] = &[
    "lamp", "chair", "table", "book", "pen", "cup", "plate", "bag", "coat", "hat", "phone", "clock",
    "bottle", "ring", "knife", "spoon", "shirt", "shoe", "box", "key", "card", "ball", "ticket", "basket",
    "blanket", "candle", "mirror", "pillow", "radio", "guitar", "camera", "bicycle", "umbrella", "hammer",
    "ladder", "kettle", "towel", "brush", "notebook", "pencil",
];

pub(super) const COLOURS: &[&str] = &[
    "red",
    "blue",
    "green",
    "yellow",
    "orange",
    "purple",
    "white",
    "black",
    "brown",
    "pink",
    "grey",
    "silver",
    "gold",
    "turquoise",
];

pub(super) const NAMES: &[&str] = &[
    "Ada", "Adam", "Aiko", "Alan", "Alice", "Amir", "Ana", "Anna", "Anton", "Ben", "Bella", "Boris", "Carla",
    "Carlos", "Chen", "Clara", "Daniel", "David", "Diana", "Elena", "Elias", "Ella", "Emil", "Emma", "Eva",
    "Felix", "Finn", "Fatima", "Frida", "George", "Grace", "Hana", "Hannah", "Hassan", "Henry", "Hugo",
    "Ida", "Ivan", "Jack", "James", "Jana", "Jonas", "Julia", "Karim", "Kate", "Kenji", "Lara", "Laura",
    "Leo", "Lina", "Lucas", "Lucy", "Maria", "Marie", "Mark", "Martin", "Max", "Mei", "Mia", "Mila", "Milo",
    "Nadia", "Nina", "Noah", "Nora", "Olga", "Oliver", "Omar", "Oscar", "Paul", "Peter", "Priya", "Rosa",
    "Ruth", "Sam", "Sara", "Sofia", "Stella", "Sven", "Tara", "Theo", "Thomas", "Tim", "Tom", "Vera",
    "Victor", "Walter", "Wei", "Yara", "Yuki", "Zoe",
];

pub(super) const CITIES: &[&str] = &[
    "Amsterdam",
    "Athens",
    "Bangkok",
    "Barcelona",
    "Beijing",
    "Berlin",
    "Bern",
    "Bogota",
    "Boston",
    "Brussels",
    "Budapest",
    "Cairo",
    "Cape Town",
    "Chicago",
    "Copenhagen",
    "Dakar",
    "Delhi",
    "Dublin",
    "Geneva",
    "Hamburg",
    "Hanoi",
    "Helsinki",
    "Istanbul",
    "Jakarta",
    "Kyiv",
    "Kyoto",
    "Lagos",
    "Lima",
    "Lisbon",
    "London",
    "Lyon",
    "Madrid",
    "Manila",
    "Mexico City",
    "Milan",
    "Montreal",
    "Moscow",
    "Mumbai",
    "Munich",
    "Nairobi",
    "Naples",
    "New York",
    "Osaka",
    "Oslo",
    "Paris",
    "Porto",
    "Prague",
    "Quito",
    "Riga",
    "Rome",
    "San Francisco",
    "Santiago",
    "Seoul",
    "Seville",
    "Shanghai",
    "Singapore",
    "Sofia",
    "Stockholm",
    "Sydney",
    "Taipei",
    "Tallinn",
    "Tokyo",
    "Toronto",
    "Tunis",
    "Turin",
    "Vancouver",
    "Vienna",
    "Vilnius",
    "Warsaw",
    "Zagreb",
    "Zurich",
];

const STARTS: &[&str] = &[
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "bl", "br",
    "ch", "cl", "dr", "fl", "fr", "gl", "gr", "pl", "pr", "qu", "sh", "sl", "sm", "sn", "sp", "st", "str",
    "th", "tr", "tw", "wh", "",
];
const MIDDLES: &[&str] =
    &["a", "e", "i", "o", "u", "a", "e", "i", "o", "y", "ai", "ea", "ee", "ie", "oa", "oo", "ou", "au"];
const ENDS: &[&str] = &[
    "", "", "", "n", "r", "l", "s", "t", "m", "d", "k", "ck", "ll", "nd", "ng", "nt", "rd", "rn", "rt", "ss",
    "st", "x", "ble", "ter", "per", "tion", "ness", "ing", "er", "et", "ow",
];

/// A word that nobody knows: letters have to be looked at, not remembered.
pub(super) fn invented(rng: &mut Rng) -> String {
    if rng.random_bool(0.15) {
        let n = rng.random_range(3..=6);
        return (0..n).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
    }
    let mut word = String::new();
    for _ in 0..rng.random_range(1..=3) {
        for parts in [STARTS, MIDDLES, ENDS] {
            word += parts.choose(rng).expect("some");
        }
    }
    word.truncate(9);
    let letters = word.as_bytes();
    let stutters = letters.windows(3).any(|w| w[0] == w[1] && w[1] == w[2]);
    if letters.len() < 3 || stutters { invented(rng) } else { word }
}

/// A name that nobody has.
pub(super) fn invented_name(rng: &mut Rng) -> String {
    let word = invented(rng);
    let (first, rest) = word.split_at(1);
    let mut rest = rest.to_owned();
    rest.truncate(7);
    first.to_uppercase() + &rest
}

#[cfg(test)]
mod tests {
    use super::WORDS;

    #[test]
    fn words_are_sorted_and_none_is_there_twice() {
        assert!(WORDS.is_sorted_by(|a, b| a < b));
    }
}
