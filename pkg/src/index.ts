/** Quantized Qwen models (GGUF) inside a browser tab. */
export { Cache } from "./cache.js";
export { CATALOGUE } from "./catalogue.js";
export { Engine, type ChatCompletions, type Completions } from "./engine.js";
export { ERROR_CODES, QwenletError, type ErrorCode } from "./errors.js";
export { Stream } from "./stream.js";
export type * from "./types.js";
