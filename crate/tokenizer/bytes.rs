//! GPT-2's names for bytes: every byte has a printable character, and a token's name is the characters of its bytes.

/// The character of each byte. Printable Latin-1 stands for itself, the other 68 bytes follow from U+0100.
const CHARS: [char; 256] = {
    let mut chars = ['\0'; 256];
    let mut next = 0x100u32;
    let mut byte = 0;
    while byte < 256 {
        let printable = matches!(byte as u8, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        chars[byte] = match char::from_u32(code) {
            Some(c) => c,
            None => panic!("below the surrogates"),
        };
        byte += 1;
    }
    chars
};

/// The byte of each character below U+0144 (one past the last of [`CHARS`]); 256 where there is none.
const BYTES: [u16; 0x144] = {
    let mut bytes = [256u16; 0x144];
    let mut byte = 0;
    while byte < 256 {
        bytes[CHARS[byte] as usize] = byte as u16;
        byte += 1;
    }
    bytes
};

/// The character that names a byte.
pub(super) fn char_of(byte: u8) -> char {
    CHARS[byte as usize]
}

/// The byte that a character names.
pub(super) fn byte_of(c: char) -> Option<u8> {
    u8::try_from(*BYTES.get(c as usize)?).ok()
}

/// Appends the name of `text`'s bytes.
pub(super) fn push_name(text: &str, name: &mut String) {
    name.extend(text.bytes().map(char_of));
}

/// Appends the bytes that a token's name stands for; a name with other characters stands for itself.
pub(super) fn push_bytes(name: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for c in name.chars() {
        let Some(byte) = byte_of(c) else {
            bytes.truncate(start);
            bytes.extend_from_slice(name.as_bytes());
            return;
        };
        bytes.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_back() {
        for byte in 0..=255u8 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        assert_eq!((char_of(b' '), char_of(b'\n'), char_of(0xad)), ('Ġ', 'Ċ', 'Ń'));
        assert_eq!(byte_of(' '), None);
        assert_eq!(byte_of('語'), None);
    }

    #[test]
    fn a_name_outside_the_table_is_its_own_text() {
        let mut bytes = b"x".to_vec();
        push_bytes("Ġhi", &mut bytes);
        push_bytes("a 語", &mut bytes);
        assert_eq!(bytes, "x hia 語".as_bytes());
    }
}
