// The machine's own limit: a loop that does nothing but read memory, 16 bytes a load.
import { worker } from "./worker.js";

export async function open({ bytes }) {
  const reader = worker("read-worker.js");
  await reader.call("load", "/built/read.wasm", bytes);
  return {
    info: {},
    /** Reads everything `n` times; "tokens" are bytes. */
    decode: (n) => reader.call("read", n),
    close: () => reader.end(),
  };
}
