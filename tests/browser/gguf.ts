// Small GGUF files, for tests that fetch models and do not run them.

/** A well-formed file with one tensor of `floats` numbers that depend on `seed`. */
export function tinyGguf(floats: number, seed: number): Buffer {
  const text = (s: string): Buffer => Buffer.concat([u64(s.length), Buffer.from(s)]);
  const u32 = (n: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(n);
    return bytes;
  };
  const u64 = (n: number): Buffer => Buffer.concat([u32(n % 2 ** 32), u32(Math.floor(n / 2 ** 32))]);
  const STRING = 8;
  const F32 = 0;
  const header = Buffer.concat([
    Buffer.from("GGUF"), u32(3), u64(1), u64(1),
    text("general.architecture"), u32(STRING), text("qwen2"),
    text("token_embd.weight"), u32(1), u64(floats), u32(F32), u64(0),
  ]);
  const data = Buffer.alloc(floats * 4);
  const next = random(seed);
  for (let i = 0; i < data.length; i++) data[i] = next() * 256;
  return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), data]);
}

/** Numbers from 0 up to 1 that depend on `seed` only (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
