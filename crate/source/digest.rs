//! Hashes of files and of the pieces that they are stored in.

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

/// A SHA-256 digest.
pub(crate) type Sha = [u8; 32];

/// SHA-256 of a file as it passes. Its state can be kept at any byte, and taken up there.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileHash {
    sha: Sha256,
}

impl FileHash {
    /// Bytes of a kept state.
    pub(crate) const STATE: usize = 104;

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
    }

    /// Of what has passed so far.
    pub(crate) fn digest(&self) -> Sha {
        self.sha.clone().finalize().into()
    }

    pub(crate) fn save(&self) -> Vec<u8> {
        self.sha.serialize().to_vec()
    }

    /// `None` where the bytes are no state.
    pub(crate) fn restore(state: &[u8]) -> Option<Self> {
        let state = state.try_into().ok()?;
        Some(Self { sha: Sha256::deserialize(&state).ok()? })
    }
}

/// Tells a stored piece from a damaged one, at the speed of memory. Not against malice: that is SHA-256's part.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// 64 hexadecimal digits.
pub(crate) fn parse_sha(text: &str) -> Option<Sha> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut sha = Sha::default();
    for (i, byte) in sha.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_state_goes_on_from_any_byte() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut whole = FileHash::default();
        whole.update(&bytes);
        for at in [0, 1, 63, 64, 65, 500, 999, 1000] {
            let mut first = FileHash::default();
            first.update(&bytes[..at]);
            let state = first.save();
            assert_eq!(state.len(), FileHash::STATE);
            let mut second = FileHash::restore(&state).unwrap();
            second.update(&bytes[at..]);
            assert_eq!(second.digest(), whole.digest());
        }
        assert!(FileHash::restore(b"too short").is_none());
    }

    #[test]
    fn digests_are_the_published_ones() {
        let mut hash = FileHash::default();
        hash.update(b"abc"); // FIPS 180-4's example
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&hash.digest()), text);
        assert_eq!(parse_sha(&text.to_uppercase()), Some(hash.digest()));
        assert_eq!(parse_sha(&text[1..]), None);
        assert_eq!(parse_sha(&text.replace('a', "g")), None);
    }
}
