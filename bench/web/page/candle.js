// candle's quantized Qwen models, in a worker.
import { ids } from "./prompts.js";
import { worker } from "./worker.js";

export async function open({ source }) {
  const candle = worker("candle-worker.js");
  await candle.call("load", "/built/candle.wasm", source);
  return {
    info: {},
    prefill: (n, seed) => candle.call("prefill", ids(n, seed)),
    decode: (n) => candle.call("decode", n),
    memory: () => candle.call("memory"),
    close: () => candle.end(),
  };
}
