// Prompts whose length in tokens is known: with the space before it, each of these words is one token of Qwen's vocabulary
// and of the one that `make_bench_models` writes.
const WORDS = (await (await fetch(new URL("words.txt", import.meta.url))).text()).trim().split(/\s+/);

/**
 * Every answer is this token, "a" in Qwen's vocabulary and in ours, time and again: random weights choose bytes that make no
 * UTF-8, at which wllama stops.
 */
export const ANSWER = { 64: 200 };

/** Pseudo-random numbers below 2³², the same for the same seed. */
function* numbers(seed) {
  let x = Math.imul(seed + 1, 2654435761) >>> 0 || 1;
  for (;;) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    yield x >>> 0;
  }
}

function take(n, seed, pick) {
  const source = numbers(seed);
  return Array.from({ length: n }, () => pick(source.next().value));
}

/** A text of `n` tokens. */
export function words(n, seed) {
  return take(n, seed, (x) => ` ${WORDS[x % WORDS.length]}`).join("");
}

/** `n` ids of ordinary tokens, for engines without a tokenizer. */
export function ids(n, seed) {
  return take(n, seed, (x) => 300 + (x % 100_000));
}
