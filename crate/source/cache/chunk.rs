//! A piece of a file on its way to or from storage.

/// In the browser it lies outside of wasm memory, which never shrinks.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    #[cfg(target_arch = "wasm32")]
    bytes: js_sys::Uint8Array,
    #[cfg(not(target_arch = "wasm32"))]
    bytes: Vec<u8>,
}

#[cfg(target_arch = "wasm32")]
impl Chunk {
    pub(crate) fn new(len: usize) -> Self {
        Self { bytes: js_sys::Uint8Array::new_with_length(len as u32) }
    }

    pub(crate) fn from_js(bytes: js_sys::Uint8Array) -> Self {
        Self { bytes }
    }

    pub(crate) fn as_js(&self) -> &js_sys::Uint8Array {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.length() as usize
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.subarray(at as u32, (at + bytes.len()) as u32).copy_from(bytes);
    }

    pub(crate) fn read(&self, into: &mut Vec<u8>) {
        into.resize(self.len(), 0);
        self.bytes.copy_to(into);
    }

    /// Its first `n` bytes as a piece of their own, filled up with zeros where there are fewer.
    pub(crate) fn resized(&self, n: usize) -> Self {
        let n_kept = n.min(self.len()) as u32;
        let bytes = js_sys::Uint8Array::new_with_length(n as u32);
        bytes.set(&self.bytes.subarray(0, n_kept), 0);
        Self { bytes }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Chunk {
    pub(crate) fn new(len: usize) -> Self {
        Self { bytes: vec![0; len] }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn read(&self, into: &mut Vec<u8>) {
        into.clone_from(&self.bytes);
    }

    pub(crate) fn resized(&self, n: usize) -> Self {
        let mut bytes = self.bytes[..n.min(self.len())].to_vec();
        bytes.resize(n, 0);
        Self { bytes }
    }
}
