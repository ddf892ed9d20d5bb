/** What crosses between the page and the worker. The names are those of the Rust types in `crate/engine/api.rs` and `crate/js.rs`. */
import type { ModelOutline } from "./catalogue.js";
import type { Fit, FitMachine } from "./fits.js";
import type {
  CachedModel, ChatMessage, EngineInfo, GenerateEvent, GenerateStats, LoadProgress, MemoryUse, Tool, TopLogprob, Verified, Warning,
} from "./types.js";

export type WireSource =
  | {
      kind: "url"; id: string; name: string; headers: [string, string][];
      /** Of every part, or of the first only where the others are named after it. */
      urls: string[];
      /** Of each part, where known. */
      sha256?: string[];
      bytes?: number[];
    }
  /** Without an id the file cannot be recognised again, and is not cached. */
  | { kind: "files"; id: string | undefined; name: string; files: Blob[]; names: string[] }
  | { kind: "cached"; id: string };

/** {@link TransferOptions}, whole. */
export interface WireTransfer {
  attempts: number;
  retryDelay: number;
  stallTimeout: number;
  chunkBytes: number;
}

export interface WireDownload {
  source: WireSource;
  cache: "off" | "auto" | "required";
  evict: boolean;
  transfer: WireTransfer;
}

export interface WireLoad extends WireDownload {
  options: {
    backend: "auto" | "webgpu" | "cpu"; precision: "auto" | "exact" | "rounded"; contextLength?: number; threads: number;
    /** Models to suggest in place of one that does not fit. */
    others: WireCandidate[];
  };
}

export interface WireCandidate {
  id: string;
  outline: ModelOutline;
}

/** `FitRequest` of `crate/js/fit.rs`. */
export interface WireFit {
  /** What the model is, where the catalogue tells; else its header is read from the source. */
  outline?: ModelOutline;
  source?: WireSource;
  transfer: WireTransfer;
  bytes?: number;
  /** Bytes that the cache has already; absent where it is not to be used. */
  stored?: number;
  options: { backend: "auto" | "webgpu" | "cpu"; contextLength?: number; mustStore: boolean };
  machine: FitMachine;
  others: WireCandidate[];
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

/** `Part` of `crate/chat/parse.rs`; arguments are JSON text. */
export type WirePart =
  | { type: "text" | "thinking"; value: string }
  | { type: "toolCall"; value: { name: string; arguments: string } };

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

/** The caller's own fetch function, on the page: {@link FetchFunction} in calls that can cross to the worker. */
export interface PageFetch {
  /** Sends a request, which `request` names from then on, and waits for the response's headers. */
  open(request: number, url: string, headers: Record<string, string>): Promise<{ status: number; headers: [string, string][] }>;
  /** The next piece of the body, handed over; undefined at its end. */
  read(request: number): Promise<Uint8Array | undefined>;
  /** Ends the request, whatever it is doing. */
  close(request: number): void;
}

/**
 * The verbs of the worker. `job` names a call that {@link WorkerApi.cancel} can end, and whose events are posted as
 * {@link EventMessage}s: outside the RPC, which would answer each of them, and in one line with the call's result.
 */
export interface WorkerApi {
  /** Resolves when the module runs; every verb waits for that. */
  boot(): Promise<void>;
  /** Reads at most the header of the source. */
  fits(job: number, request: WireFit, fetcher?: PageFetch): Promise<Fit>;
  /** Its events are {@link LoadEvent}s. `fetcher` makes the requests of a `url` source in place of `fetch`. */
  load(job: number, request: WireLoad, fetcher?: PageFetch): Promise<EngineInfo>;
  /** Its events are {@link AnswerEvent}s. */
  generate(job: number, prompt: WirePrompt, options: WireOptions): Promise<WireOutcome>;
  cancel(job: number): void;
  tokenize(text: string, special: boolean): Promise<number[]>;
  detokenize(ids: number[]): Promise<string>;
  countTokens(request: WireChat): Promise<number>;
  memory(): Promise<MemoryUse>;
  /** Ends what is running and gives back what the model holds, of the GPU above all. */
  release(): Promise<void>;
  /** The id that the cache has the model under. Its events are {@link LoadEvent}s. */
  download(job: number, request: WireDownload, fetcher?: PageFetch): Promise<string>;
  cacheList(): Promise<CachedModel[]>;
  cacheDelete(id: string): Promise<boolean>;
  cacheEvict(bytes: number): Promise<CachedModel[]>;
  cacheVerify(job: number, id: string): Promise<Verified>;
}

/** Something that happens while a job runs. */
export interface EventMessage {
  job: number;
  event: LoadEvent | AnswerEvent;
}

/** Posted outside the RPC when the worker cannot go on. */
export interface FatalMessage {
  fatal: import("./errors.js").PlainError;
}
