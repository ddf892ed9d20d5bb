/** Quantized Qwen models (GGUF) inside a browser tab. */
export { Cache } from "./cache.js";
export { CATALOGUE, CATALOGUE_VERSION, type CatalogueEntry, type ModelOutline, type Purpose } from "./catalogue.js";
export { Engine, type ChatCompletions, type Completions } from "./engine.js";
export { ERROR_CODES, QwenletError, type ErrorCode } from "./errors.js";
export type { Fit, FitLimit, FitMachine, FitNeeds, FitOptions, FitProblem, FitSuggestion } from "./fits.js";
export { Stream } from "./stream.js";
export type * from "./types.js";
export { setWorkerFactory, type WorkerFactory } from "./workers.js";
