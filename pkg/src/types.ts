/** Requests and answers in the shapes of OpenAI's API, with vLLM's extensions where it has a name for the thing. */

export type ContentPart = { type: "text"; text: string };
export type Content = string | ContentPart[];

export interface ToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export type ChatMessage =
  | { role: "system" | "developer"; content: Content; name?: string }
  | { role: "user"; content: Content; name?: string }
  | {
      role: "assistant";
      content?: Content | null;
      reasoning_content?: string | null;
      refusal?: string | null;
      name?: string;
      tool_calls?: ToolCall[];
    }
  | { role: "tool"; content: Content; tool_call_id: string };

export interface Tool {
  type: "function";
  function: { name: string; description?: string; parameters?: Record<string, unknown>; strict?: boolean | null };
}

/** How to choose tokens. What is left out takes the model's own recommendation. */
export interface SamplingParams {
  /** 0 is greedy. */
  temperature?: number | null;
  top_p?: number | null;
  /** 0 is off. */
  top_k?: number | null;
  min_p?: number | null;
  repetition_penalty?: number | null;
  presence_penalty?: number | null;
  frequency_penalty?: number | null;
  /** Token id → what is added to its logit. */
  logit_bias?: Record<string, number> | null;
  seed?: number | null;
  /** The answer ends before any of these. */
  stop?: string | string[] | null;
  /** Default: what the context has room for. */
  max_tokens?: number | null;
  ignore_eos?: boolean;
  /** Adds `token_ids` to each choice. */
  return_token_ids?: boolean;
  /**
   * What to do when a conversation does not fit: fail with `context-full` (default), or leave out its oldest turns, never the
   * system message or the last turn. Up to a quarter of the context more is left out than must be, so that the next requests
   * of a growing conversation begin like this one, and only what is new of them is computed.
   */
  overflow?: "error" | "drop-oldest";
}

interface StreamOptions {
  include_usage?: boolean;
}

interface Ignored {
  /** Accepted and not used: an engine has one model. */
  model?: string;
  user?: string;
  metadata?: Record<string, string> | null;
  store?: boolean | null;
  /** Only 1. */
  n?: 1 | null;
}

interface ChatCompletionParams extends SamplingParams, Ignored {
  messages: ChatMessage[];
  /** Without any, nothing in the answer is taken for a call. */
  tools?: Tool[];
  /** "none" leaves the tools out of the prompt. */
  tool_choice?: "auto" | "none";
  max_completion_tokens?: number | null;
  logprobs?: boolean | null;
  /** 0–20 best tokens at each place; needs `logprobs`. */
  top_logprobs?: number | null;
  response_format?: { type: "text" };
  /** For models that can think: whether they should. */
  enable_thinking?: boolean;
  /** Further variables of the model's chat template. */
  chat_template_kwargs?: Record<string, unknown>;
  /** Default true; false continues the last message, where that is the assistant's. */
  add_generation_prompt?: boolean;
}

export interface ChatCompletionCreateParamsNonStreaming extends ChatCompletionParams {
  stream?: false | null;
}
export interface ChatCompletionCreateParamsStreaming extends ChatCompletionParams {
  stream: true;
  stream_options?: StreamOptions | null;
}
export type ChatCompletionCreateParams = ChatCompletionCreateParamsNonStreaming | ChatCompletionCreateParamsStreaming;

interface CompletionParams extends SamplingParams, Ignored {
  /**
   * Text is encoded as it stands: `<|im_start|>` in it is ordinary text. Where the file asks for a token in front of a text
   * (`add_bos_token`; Qwen's do not), it is put there. Token ids are taken as they are.
   */
  prompt: string | number[];
  /** This many best tokens at each place, 0–20. */
  logprobs?: number | null;
}

export interface CompletionCreateParamsNonStreaming extends CompletionParams {
  stream?: false | null;
}
export interface CompletionCreateParamsStreaming extends CompletionParams {
  stream: true;
  stream_options?: StreamOptions | null;
}
export type CompletionCreateParams = CompletionCreateParamsNonStreaming | CompletionCreateParamsStreaming;

export type FinishReason = "stop" | "length";
/** "tool_calls": the answer calls tools and waits for their results. */
export type ChatFinishReason = FinishReason | "tool_calls";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** Of the prompt's tokens, how many were in the engine's state already. */
  prompt_tokens_details: { cached_tokens: number };
}

/** How long an answer took. Not part of OpenAI's shape. */
export interface GenerateStats {
  prefill_seconds: number;
  prefill_tokens: number;
  decode_seconds: number;
  decode_tokens: number;
}

export interface TopLogprob {
  token: string;
  bytes: number[] | null;
  logprob: number;
}
export interface TokenLogprob extends TopLogprob {
  top_logprobs: TopLogprob[];
}
export interface ChatLogprobs {
  content: TokenLogprob[] | null;
  refusal: null;
}
export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

export interface AssistantMessage {
  role: "assistant";
  /** What is said; null where the answer only calls tools. */
  content: string | null;
  /** What was thought before it, without its tags. */
  reasoning_content?: string;
  tool_calls?: ToolCall[];
  refusal: null;
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: AssistantMessage;
    finish_reason: ChatFinishReason;
    logprobs: ChatLogprobs | null;
    token_ids?: number[];
  }[];
  usage: Usage;
  stats: GenerateStats;
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: {
    index: number;
    delta: {
      role?: "assistant";
      content?: string | null;
      reasoning_content?: string;
      /** Whole calls, each once. */
      tool_calls?: (ToolCall & { index: number })[];
    };
    finish_reason: ChatFinishReason | null;
    logprobs?: ChatLogprobs | null;
    token_ids?: number[];
  }[];
  /** In the last chunk, where `stream_options.include_usage` asks for it. */
  usage?: Usage | null;
  /** In the chunk with the finish reason. */
  stats?: GenerateStats;
}

export interface CompletionChoice {
  index: number;
  text: string;
  finish_reason: FinishReason;
  logprobs: CompletionLogprobs | null;
  token_ids?: number[];
}
export interface Completion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage: Usage;
  stats: GenerateStats;
}
export interface CompletionChunk {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: (Omit<CompletionChoice, "finish_reason"> & { finish_reason: FinishReason | null })[];
  usage?: Usage | null;
  stats?: GenerateStats;
}

/** What happens before and beside the text of an answer. */
export type GenerateEvent =
  /** `done` of `total` prompt tokens are processed. */
  | { type: "prefill"; done: number; total: number }
  /** So many turns were left out to make room (`overflow: "drop-oldest"`). */
  | { type: "dropped"; turns: number };

export interface RequestOptions {
  /** Aborting ends the answer between two tokens: the call, or the stream being read, then throws `aborted`. */
  signal?: AbortSignal;
  onEvent?: (event: GenerateEvent) => void;
}

/** Where to take a model from. */
export type ModelSource =
  /** An id of {@link CATALOGUE}, `hf:owner/repo/file.gguf`, or a URL (relative to the page). */
  | string
  | URL
  /** A GGUF file, or all the parts of a split one. */
  | Blob
  | Blob[]
  | UrlSource
  /** A model of the cache, by the id that {@link Cache.list} gives. Touches no network. */
  | { cached: string };

/** A model by its address, with what else is known of it. */
export interface UrlSource {
  /** The address of the file; a list with all the parts, where they are not named after each other. */
  url: string | URL | (string | URL)[];
  /** Sent with every request: a token for private files, say. */
  headers?: Record<string, string>;
  /** Makes the requests in place of the browser's `fetch`; called on this thread. */
  fetch?: FetchFunction;
  /** What the cache knows the model by. Default: the (first) address. One of `blob:` or `data:` is not kept without an id. */
  id?: string;
  name?: string;
  /** SHA-256 of the file, 64 hexadecimal digits; of a split model, of each part. Another file is refused. */
  sha256?: string | string[];
  /** Size of the file; of a split model, of each part. A file of another size is refused before it is fetched. */
  bytes?: number | number[];
}

/** Of the form of `fetch`. A `Range` header asks for a part of the file; who ignores it answers with the whole. */
export type FetchFunction = (url: string, init: { headers: Record<string, string>; signal: AbortSignal }) => Promise<Response>;

export type Backend = "auto" | "webgpu" | "cpu";

export interface LoadOptions {
  /** "auto" (default): WebGPU where there is a real adapter, else the CPU. */
  backend?: Backend;
  /**
   * On WebGPU: "exact" keeps activations in f32, "rounded" rounds them to 8 bits for products with quantized weights, as the CPU
   * does, and "auto" (default) rounds where a short trial at load shows that this GPU is clearly faster so, and on software adapters. `info.features` has
   * "int8-decode" and "int8-prefill" where "auto" rounds.
   */
  precision?: "auto" | "exact" | "rounded";
  /** Tokens of prompt and answer together. Default: the smaller of 4096 and what the model was trained for. */
  contextLength?: number;
  /**
   * Threads on the CPU. Default: as many as the device is likely to have cores, at most 8. More than one needs a page that is
   * cross-origin isolated; elsewhere one computes, and {@link EngineInfo.threadsHint} says what to do.
   */
  threads?: number;
  /** The build of the module; for tests and measurements. Default: "relaxed" where the browser has relaxed SIMD. */
  variant?: "simd" | "relaxed";
  /** Keep the model in the browser's storage and take it from there. Default true; "required" makes a failure to keep it an error. */
  cache?: boolean | "required";
  /** "lru": where storage is full, delete the models that were not used for longest, and warn. Default: none is deleted. */
  evict?: "lru";
  /** Ask the browser to keep this site's storage when space gets scarce. It may say no, or ask the user. Default: false. */
  persist?: boolean;
  transfer?: TransferOptions;
  onProgress?: (progress: LoadProgress) => void;
  /** What the load does all the same, but should be known: storage is full, say. Default: `console.warn`. */
  onWarning?: (warning: Warning) => void;
  signal?: AbortSignal;
}

/** How a download deals with what goes wrong. */
export interface TransferOptions {
  /** Attempts without a byte of progress before it fails. Default 6. */
  attempts?: number;
  /** Seconds before the second attempt; doubled each time up to 30, with jitter. Default 0.5. */
  retryDelay?: number;
  /** Seconds without a byte after which the connection is taken for dead. Default 20. */
  stallTimeout?: number;
  /** Bytes of the pieces in storage: what a crash can cost. A multiple of 64. Default 8 MiB. */
  chunkBytes?: number;
}

export interface DownloadOptions extends Pick<LoadOptions, "evict" | "persist" | "transfer" | "onProgress" | "onWarning" | "signal"> {}

export interface LoadProgress {
  phase:
    /** Another tab downloads this model; its copy will be used. `bytes` and `total` are its own. */
    | "waiting"
    /** Reading the file's header. */
    | "header"
    /** Weights arrive and go to where they are used. */
    | "weights"
    /** Pipelines, tokenizer, first run. */
    | "prepare"
    | "ready";
  /** Bytes in place. */
  bytes: number;
  /** Bytes in all; undefined where the server does not say. */
  total?: number;
  /** Over the last seconds; undefined until there is something to tell. */
  bytesPerSecond?: number;
  /** Until the last byte, at this rate. */
  secondsLeft?: number;
  /** Where the bytes come from at the moment: an interrupted download begins in the cache and goes on from the network. */
  from: "network" | "cache" | "file";
  /** So many bytes were there from an earlier download. */
  resumedFrom?: number;
  /** Why nothing arrives, where that is known. */
  waiting?:
    /** The connection broke or stalled; it is tried again in a moment. */
    | "retry"
    /** The device is offline; it goes on when that ends. */
    | "offline"
    /** The server asked to wait (429, 503). */
    | "server"
    | "other-tab";
}

export interface Warning {
  code: import("./errors.js").ErrorCode;
  message: string;
}

export interface EngineInfo {
  architecture: string;
  name?: string | null;
  /** The type that most of the weights have, as in file names: "Q4_K". */
  quantization: string;
  parameters: number;
  contextLength: number;
  trainedContextLength: number;
  nVocab: number;
  backend: "webgpu" | "cpu";
  adapter: string;
  features: string[];
  /** Threads that compute on the CPU; 1 on WebGPU. */
  threads: number;
  /** Why fewer threads compute than were asked for, or than there would be by default, and what to do about it. */
  threadsHint?: string;
  /** Why this backend, in a sentence. */
  why: string;
  /** On WebGPU: what a small model gave on this GPU beside a plain reference, before the weights came. */
  selfCheck?: SelfCheck | null;
  /** Bytes held for weights, state and scratch. */
  memoryBytes: number;
  supportsTools: boolean;
  supportsThinking: boolean;
  /** The id under which the cache has this model; undefined where it has not. */
  cacheId?: string;
  from: "network" | "cache" | "file";
}

export interface SelfCheck {
  /** Of the logits; about 1e-4 where all is well. */
  relativeError: number;
  /** Those that are used: "rounded" rounds activations to 8 bits for products, "exact" does not, "plain" is the simplest of all. */
  kernels: "rounded" | "exact" | "plain";
  /** What faster ones did that are not used because they compute wrongly on this GPU. */
  failed: string[];
}

export interface MemoryUse {
  /** Size of the WebAssembly memory, which never shrinks: the peak so far. */
  wasmBytes: number;
  /** What the backend holds for weights, state and scratch; on WebGPU that is GPU memory. */
  backendBytes: number;
}

/** What this browser can do. */
export interface Capabilities {
  webgpu: {
    available: boolean;
    adapter?: string;
    /** A software adapter: slow, and not chosen by `backend: "auto"`. */
    software?: boolean;
    features?: string[];
    maxBufferSize?: number;
    maxStorageBufferBindingSize?: number;
    /** Why it is not available. */
    reason?: string;
  };
  /** WebAssembly SIMD, without which nothing runs. */
  simd: boolean;
  relaxedSimd: boolean;
  threads: {
    available: boolean;
    /** How to get them, where they are not. */
    reason?: string;
    /** As many as a load uses that does not say. */
    default: number;
    crossOriginIsolated: boolean;
    hardwareConcurrency: number;
  };
  storage: { indexedDb: boolean; usage?: number; quota?: number; persisted?: boolean };
  device: {
    /** The browser's own hint, in bytes: rounded, and never above 8 GiB. */
    memory?: number;
    /** A phone or tablet, which ends tabs that take much memory. */
    phone?: "ios" | "android";
  };
}

export interface CachedModel {
  id: string;
  name: string;
  /** Bytes in the browser's storage. */
  bytes: number;
  /** Bytes of the whole model, where known. */
  total?: number;
  /** False: a download that broke off. */
  complete: boolean;
  /** SHA-256 of the file, or of each part; of a complete model. */
  sha256?: string[];
  /** When it was first stored and last loaded, milliseconds since 1970. */
  created: number;
  lastUsed: number;
}

/** What {@link Cache.verify} found. */
export interface Verified {
  /** Every byte is as it was stored. */
  ok: boolean;
  /** Bytes read. */
  bytes: number;
  /** Bytes of the pieces that are damaged or gone: loading the model by its address fetches these again. */
  damagedBytes: number;
  /** SHA-256 of the file, or of each part; null where it is not known, as of a download that broke off. */
  sha256: (string | null)[];
}

/** What the browser gives this site, in bytes; its own estimate. */
export interface StorageUse {
  usage: number;
  quota: number;
  /** Whether it promised to keep it when space gets scarce. */
  persisted: boolean;
}
