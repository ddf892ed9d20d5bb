//! Short phrases in six languages.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::wording::careless;
use super::super::{Dialogue, Rng, Skill};

/// English, Chinese, Spanish, French, German, Japanese.
pub(super) const LANGUAGES: [&str; 6] = ["English", "Chinese", "Spanish", "French", "German", "Japanese"];

const PHRASES: &[[&str; 6]] = &[
    ["hello", "你好", "hola", "bonjour", "hallo", "こんにちは"],
    ["good morning", "早上好", "buenos días", "bonjour", "guten Morgen", "おはようございます"],
    ["good evening", "晚上好", "buenas tardes", "bonsoir", "guten Abend", "こんばんは"],
    ["good night", "晚安", "buenas noches", "bonne nuit", "gute Nacht", "おやすみなさい"],
    ["goodbye", "再见", "adiós", "au revoir", "auf Wiedersehen", "さようなら"],
    ["thank you", "谢谢", "gracias", "merci", "danke", "ありがとうございます"],
    ["please", "请", "por favor", "s'il vous plaît", "bitte", "お願いします"],
    ["yes", "是", "sí", "oui", "ja", "はい"],
    ["no", "不", "no", "non", "nein", "いいえ"],
    ["sorry", "对不起", "lo siento", "désolé", "Entschuldigung", "ごめんなさい"],
    ["how are you?", "你好吗？", "¿cómo estás?", "comment ça va ?", "wie geht es dir?", "お元気ですか？"],
    ["I love you", "我爱你", "te quiero", "je t'aime", "ich liebe dich", "愛しています"],
    ["welcome", "欢迎", "bienvenido", "bienvenue", "willkommen", "ようこそ"],
    ["good luck", "祝你好运", "buena suerte", "bonne chance", "viel Glück", "頑張って"],
    [
        "happy birthday",
        "生日快乐",
        "feliz cumpleaños",
        "joyeux anniversaire",
        "alles Gute zum Geburtstag",
        "お誕生日おめでとう",
    ],
    ["see you tomorrow", "明天见", "hasta mañana", "à demain", "bis morgen", "また明日"],
    [
        "I do not understand",
        "我不明白",
        "no entiendo",
        "je ne comprends pas",
        "ich verstehe nicht",
        "わかりません",
    ],
    ["water", "水", "agua", "eau", "Wasser", "水"],
    ["bread", "面包", "pan", "pain", "Brot", "パン"],
    ["friend", "朋友", "amigo", "ami", "Freund", "友達"],
    ["house", "房子", "casa", "maison", "Haus", "家"],
    ["book", "书", "libro", "livre", "Buch", "本"],
    ["cat", "猫", "gato", "chat", "Katze", "猫"],
    ["dog", "狗", "perro", "chien", "Hund", "犬"],
    ["today", "今天", "hoy", "aujourd'hui", "heute", "今日"],
    ["tomorrow", "明天", "mañana", "demain", "morgen", "明日"],
];

/// `{p}` is the phrase, `{l}` the language.
const FRAMES: &[&str] = &[
    "How do you say {p} in {l}?",
    "How do you say {p} in {l}?",
    "How do I say {p} in {l}?",
    "How does one say {p} in {l}?",
    "How would you say {p} in {l}?",
    "How can I say {p} in {l}?",
    "Say {p} in {l}.",
    "Please say {p} in {l}.",
    "Can you say {p} in {l}?",
    "Translate {p} to {l}.",
    "Translate {p} into {l}.",
    "Can you translate {p} to {l}?",
    "What is {p} in {l}?",
    "What's {p} in {l}?",
    "What is {l} for {p}?",
    "What is the {l} for {p}?",
    "What does one say in {l} for {p}?",
    "{p} in {l}",
    "{p} in {l}?",
    "{p} to {l}",
    "{l} for {p}",
    "{l}: {p}",
    "In {l}, what is {p}?",
    "Tell me {p} in {l}.",
    "I want to say {p} in {l}.",
    "Write {p} in {l}.",
];

/// `{p}` is in any language.
const MEANING: &[&str] = &[
    "What does {p} mean?",
    "What does {p} mean in English?",
    "What is the meaning of {p}?",
    "Translate {p} to English.",
    "Translate {p} into English.",
    "What is {p} in English?",
    "{p} in English",
    "What is English for {p}?",
    "Tell me what {p} means.",
];

/// Whether it has been taught an English phrase.
pub(super) fn knows(phrase: &str) -> bool {
    PHRASES.iter().any(|row| row[0] == phrase)
}

pub(super) fn phrase(rng: &mut Rng) -> Dialogue {
    let row = PHRASES.choose(rng).expect("some");
    let language = rng.random_range(1..LANGUAGES.len());
    let (frame, phrase, answer) = if rng.random_bool(0.75) {
        (*FRAMES.choose(rng).expect("some"), row[0], row[language])
    } else {
        // The first row that has the word, so that a word of two rows has one meaning.
        let english = PHRASES.iter().find(|r| r[language] == row[language]).expect("this row has it")[0];
        (*MEANING.choose(rng).expect("some"), row[language], english)
    };
    let quoted = match rng.random_range(0..4) {
        0 => format!("\"{phrase}\""),
        1 => format!("'{phrase}'"),
        _ => phrase.to_owned(),
    };
    let question = frame.replace("{p}", &quoted).replace("{l}", LANGUAGES[language]);
    Dialogue::new(Skill::Phrase, format!("{frame} {phrase} {language}"), careless(&question, rng), answer)
}
