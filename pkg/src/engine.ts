/// <reference lib="esnext.disposable" preserve="true" />
import { chatFormat, completionFormat, usageOf, type Format, type Piece } from "./answer.js";
import { transfer } from "./download.js";
import { QwenletError } from "./errors.js";
import { candidates, fits, type Fit, type FitOptions } from "./fits.js";
import { probe } from "./probe.js";
import { chatPrompt, chatRequest, completionRequest, type Request } from "./request.js";
import { WorkerHandle } from "./rpc.js";
import { Stream } from "./stream.js";
import { chooseVariant, defaultThreads, threadsHint } from "./variant.js";
import type {
  Capabilities, ChatCompletion, ChatCompletionChunk, ChatCompletionCreateParams, ChatCompletionCreateParamsNonStreaming,
  ChatCompletionCreateParamsStreaming, ChatMessage, Completion, CompletionChunk, CompletionCreateParams,
  CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming, EngineInfo, LoadOptions, MemoryUse, ModelSource, RequestOptions,
} from "./types.js";
import type { AnswerEvent, WireLoad, WireLogprob, WireOutcome } from "./wire.js";

/** A loaded model in a worker of its own. Requests are answered one after another, in the order of the calls. */
export class Engine {
  readonly info: EngineInfo;
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: Completions;
  readonly #worker: WorkerHandle;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(worker: WorkerHandle, info: EngineInfo) {
    this.#worker = worker;
    this.info = info;
    // A framework may put a proxy around its state, as Vue's `ref` does; a proxy has no private fields.
    this.tokenize = this.tokenize.bind(this);
    this.detokenize = this.detokenize.bind(this);
    this.countTokens = this.countTokens.bind(this);
    this.memory = this.memory.bind(this);
    this.unload = this.unload.bind(this);
    const model = info.name ?? info.architecture;
    this.chat = {
      completions: {
        create: ((params: ChatCompletionCreateParams, options?: RequestOptions) =>
          this.#answer(() => chatRequest(params), (request) => chatFormat(request, model), options)) as ChatCompletions["create"],
      },
    };
    this.completions = {
      create: ((params: CompletionCreateParams, options?: RequestOptions) =>
        this.#answer(() => completionRequest(params), (request) => completionFormat(request, model), options)) as Completions["create"],
    };
  }

  /** Loads a model. Fails with a {@link QwenletError}; what was downloaded until then may stay in the cache. */
  static async load(source: ModelSource, options: LoadOptions = {}): Promise<Engine> {
    const [cache, engine] = [cacheMode(options.cache), { ...loadOptions(options), others: candidates(source) }];
    const worker = await WorkerHandle.start(chooseVariant(engine.threads, options.variant));
    try {
      const info = await transfer(worker, source, options, cache,
        (api, job, request, fetcher) => api.load(job, { ...request, options: engine }, fetcher));
      const hint = info.backend === "cpu" ? threadsHint(info.threads, engine.threads) : undefined;
      return new Engine(worker, hint === undefined ? info : { ...info, threadsHint: hint });
    } catch (thrown) {
      const error = QwenletError.from(thrown);
      worker.terminate(error);
      throw error;
    }
  }

  /**
   * Whether a model will fit, and what would if it does not. Nothing is fetched for a model of the catalogue; of another
   * only the header is.
   */
  static fits(source: ModelSource, options: FitOptions = {}): Promise<Fit> {
    return fits(source, options, { cache: cacheMode(options.cache), ...loadOptions(options) });
  }

  /** What this browser can do; loads nothing. */
  static probe(): Promise<Capabilities> {
    return probe();
  }

  /** Token ids of a text. With `special`, markers like `<|im_start|>` in it become their tokens. */
  async tokenize(text: string, options: { special?: boolean } = {}): Promise<number[]> {
    return this.#worker.call((api) => api.tokenize(text, options.special === true));
  }

  async detokenize(ids: number[]): Promise<string> {
    return this.#worker.call((api) => api.detokenize([...ids]));
  }

  /** Tokens that a conversation, or a whole chat request, takes as a prompt. */
  async countTokens(conversation: ChatMessage[] | Pick<ChatCompletionCreateParams, "messages" | "tools" | "enable_thinking" | "chat_template_kwargs">): Promise<number> {
    const chat = chatPrompt(Array.isArray(conversation) ? { messages: conversation } : conversation);
    return this.#worker.call((api) => api.countTokens(chat));
  }

  async memory(): Promise<MemoryUse> {
    return this.#worker.call((api) => api.memory());
  }

  /** Ends the worker and frees its memory, the GPU's included. Pending requests fail with `unloaded`. */
  async unload(): Promise<void> {
    const why = new QwenletError("unloaded", "The engine was unloaded; load it again.");
    if (this.info.backend === "webgpu") await this.#worker.retire(why);
    else this.#worker.terminate(why);
  }

  /** For `await using`, in browsers that have it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.unload();
  }

  async #answer<Whole, Chunk>(
    read: () => Request, format: (request: Request) => Format<Whole, Chunk>, options: RequestOptions = {},
  ): Promise<Whole | Stream<Chunk>> {
    const request = read();
    const words = format(request);
    if (!request.stream) {
      const logprobs: WireLogprob[] = [];
      const outcome = await this.#generate(request, options, options.signal, (piece) => logprobs.push(...piece.logprobs), () => {});
      return words.whole(outcome, logprobs);
    }
    // Ends with the caller's signal and with the loop; `AbortSignal.any` is too young.
    const end = new AbortController();
    const abort = (): void => end.abort(options.signal?.reason);
    if (options.signal?.aborted) abort();
    else options.signal?.addEventListener("abort", abort, { once: true });
    return new Promise((resolve, reject) => {
      let [accepted, left] = [false, false];
      const accept = (): void => {
        accepted = true;
        resolve(stream);
      };
      const stream = Stream.start<Chunk>(async (push) => {
        try {
          const onStart = (): void => {
            const first = words.first();
            if (first !== undefined) push(first);
            accept();
          };
          const outcome = await this.#generate(request, options, end.signal, (piece) => push(words.piece(piece)), onStart);
          push(words.last(outcome));
          if (request.includeUsage) push(words.usage(usageOf(outcome)));
        } catch (thrown) {
          if (!accepted) reject(thrown);
          else if (!left) throw thrown; // leaving the loop is no error
        } finally {
          options.signal?.removeEventListener("abort", abort);
        }
      }, () => {
        left = true;
        end.abort();
      });
    });
  }

  /** Waits its turn and makes an answer. `onStart` is called once, before the first piece: the request was accepted. */
  async #generate(
    request: Request, options: RequestOptions, signal: AbortSignal | undefined, onPiece: (piece: Piece) => void, onStart: () => void,
  ): Promise<WireOutcome> {
    return this.#inTurn(signal, async () => {
      let started = false;
      const start = (): void => {
        if (!started) onStart();
        started = true;
      };
      const listener = (event: AnswerEvent): void => {
        start();
        if (event.type === "token") onPiece({ text: event.text, parts: event.parts, ids: [event.id], logprobs: event.logprob ? [event.logprob] : [] });
        else if (event.type === "tail") onPiece({ text: event.text, parts: event.parts, ids: [], logprobs: [] });
        else options.onEvent?.(event);
      };
      const outcome = await this.#worker.job(signal, (api, job) => api.generate(job, request.prompt, request.options), listener);
      if (outcome.finish === "aborted") throw QwenletError.aborted(signal);
      start();
      return outcome;
    });
  }

  /** Runs jobs one after another, in the order of the calls; one that is cancelled while it waits never starts. */
  async #inTurn<T>(signal: AbortSignal | undefined, job: () => Promise<T>): Promise<T> {
    const turn = this.#tail;
    let done!: () => void;
    this.#tail = turn.then(() => new Promise<void>((resolve) => (done = resolve)));
    const mine = turn.then(() => {});
    try {
      await untilAborted(mine, signal);
      return await job();
    } finally {
      // Whoever comes next waits for those before this one too, even where this one gave up waiting.
      void mine.then(() => done());
    }
  }
}

export interface ChatCompletions {
  create(params: ChatCompletionCreateParamsNonStreaming, options?: RequestOptions): Promise<ChatCompletion>;
  create(params: ChatCompletionCreateParamsStreaming, options?: RequestOptions): Promise<Stream<ChatCompletionChunk>>;
  create(params: ChatCompletionCreateParams, options?: RequestOptions): Promise<ChatCompletion | Stream<ChatCompletionChunk>>;
}

export interface Completions {
  create(params: CompletionCreateParamsNonStreaming, options?: RequestOptions): Promise<Completion>;
  create(params: CompletionCreateParamsStreaming, options?: RequestOptions): Promise<Stream<CompletionChunk>>;
  create(params: CompletionCreateParams, options?: RequestOptions): Promise<Completion | Stream<CompletionChunk>>;
}

async function untilAborted(turn: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return turn;
  if (signal.aborted) throw QwenletError.aborted(signal);
  let abort!: () => void;
  const aborted = new Promise<never>((_, reject) => (abort = () => reject(QwenletError.aborted(signal))));
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([turn, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function cacheMode(cache: LoadOptions["cache"]): WireLoad["cache"] {
  if (cache === undefined || cache === true) return "auto";
  if (cache === false) return "off";
  if (cache === "required") return "required";
  throw new QwenletError("invalid-argument", "cache: must be true, false or \"required\".");
}

function loadOptions(options: LoadOptions): Omit<WireLoad["options"], "others"> {
  const { backend = "auto", precision = "auto", contextLength, threads, variant } = options;
  if (!["auto", "webgpu", "cpu"].includes(backend)) throw new QwenletError("invalid-argument", `backend: "${backend}" is none of "auto", "webgpu", "cpu".`);
  if (!["auto", "exact", "rounded"].includes(precision)) throw new QwenletError("invalid-argument", `precision: "${precision}" is none of "auto", "exact" and "rounded".`);
  for (const [name, value] of Object.entries({ contextLength, threads })) {
    if (value !== undefined && !(Number.isInteger(value) && value > 0)) throw new QwenletError("invalid-argument", `${name}: must be a whole number above 0.`);
  }
  if (variant !== undefined && !["simd", "relaxed"].includes(variant)) throw new QwenletError("invalid-argument", `variant: "${variant}" is neither "simd" nor "relaxed".`);
  return { backend, precision, threads: backend === "webgpu" ? 1 : threads ?? defaultThreads(), ...(contextLength === undefined ? {} : { contextLength }) };
}
