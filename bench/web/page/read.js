// The machine's own limit: a loop that does nothing but read memory, 16 bytes a load.
import { worker } from "./worker.js";

export async function open({ bytes, threads = 1 }) {
  const readers = Array.from({ length: threads }, () => worker("read-worker.js"));
  for (const reader of readers) await reader.call("load", "/built/read.wasm", bytes / threads);
  return {
    info: {},
    /** Reads everything `n` times, each thread its share; "tokens" are bytes. */
    async decode(n) {
      const read = await Promise.all(readers.map((reader) => reader.call("read", n)));
      return { tokens: read.reduce((sum, { tokens }) => sum + tokens, 0), seconds: Math.max(...read.map(({ seconds }) => seconds)) };
    },
    close: () => readers.forEach((reader) => reader.end()),
  };
}
