/** What crosses between the page and the worker. The names are those of the Rust types in `crate/engine/api.rs` and `crate/js.rs`. */
import type {
  CachedModel, ChatMessage, EngineInfo, GenerateEvent, GenerateStats, LoadProgress, MemoryUse, Tool, TopLogprob, Warning,
} from "./types.js";

export type WireSource =
  | { kind: "url"; id: string; name: string; urls: string[]; headers: [string, string][] }
  /** Without an id the file cannot be recognised again, and is not cached. */
  | { kind: "files"; id: string | undefined; name: string; files: Blob[]; names: string[] }
  | { kind: "cached"; id: string };

export interface WireLoad {
  source: WireSource;
  cache: "off" | "auto" | "required";
  options: { backend: "auto" | "webgpu" | "cpu"; precision: "auto" | "exact"; contextLength?: number };
}

export type LoadEvent =
  | ({ type: "progress" } & LoadProgress)
  | ({ type: "warning" } & Warning);

/** `Prompt` of `crate/engine/api.rs`. */
export type WirePrompt =
  | { text: string }
  | { ids: number[] }
  | { chat: WireChat };

export interface WireChat {
  messages: ChatMessage[];
  tools?: Tool[];
  kwargs: Record<string, unknown>;
  add_generation_prompt?: boolean;
}

/** `GenerateOptions` of `crate/engine/api.rs`. */
export interface WireOptions {
  max_tokens?: number;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  repetition_penalty?: number;
  presence_penalty?: number;
  frequency_penalty?: number;
  logit_bias: [number, number][];
  seed?: number;
  stop: string[];
  ignore_eos: boolean;
  logprobs?: number;
  overflow: "error" | "drop-oldest";
}

export interface WireLogprob extends TopLogprob {
  top: TopLogprob[];
}

/** `Part` of `crate/chat/parse.rs`. */
export type WirePart =
  | { type: "text" | "thinking"; value: string }
  | { type: "toolCall"; value: { name: string; arguments: Record<string, unknown> } };

export type AnswerEvent =
  | GenerateEvent
  | { type: "token"; id: number; text: string; parts: WirePart[]; logprob?: WireLogprob | null }
  | { type: "tail"; text: string; parts: WirePart[] };

/** `Outcome` of `crate/engine/api.rs`. */
export interface WireOutcome {
  ids: number[];
  text: string;
  parts: WirePart[];
  finish: "stop" | "length" | "aborted";
  prompt_tokens: number;
  cached_tokens: number;
  stats: GenerateStats;
}

/** The verbs of the worker. `job` names a call that {@link WorkerApi.cancel} can end. */
export interface WorkerApi {
  load(job: number, request: WireLoad, onEvent: (event: LoadEvent) => void): Promise<EngineInfo>;
  generate(job: number, prompt: WirePrompt, options: WireOptions, onEvent: (event: AnswerEvent) => void): Promise<WireOutcome>;
  cancel(job: number): void;
  tokenize(text: string, special: boolean): Promise<number[]>;
  detokenize(ids: number[]): Promise<string>;
  countTokens(request: WireChat): Promise<number>;
  memory(): Promise<MemoryUse>;
  cacheList(): Promise<CachedModel[]>;
  cacheDelete(id: string): Promise<boolean>;
}

/** Posted outside the RPC when the worker cannot go on. */
export interface FatalMessage {
  fatal: import("./errors.js").PlainError;
}
