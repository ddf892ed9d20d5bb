// The loaded model: one at a time, with what it takes to load the next and to answer.

import { Engine, QwenletError, type ChatMessage, type GenerateStats, type LoadOptions, type LoadProgress, type ModelSource, type Warning } from "qwenlet";
import type { Wishes } from "./catalogue.js";
import { explain } from "./errors.js";
import type { LiveAnswer } from "./conversation.js";
import type { BackendWish, Message, Settings } from "./store.js";
import { count } from "./turns.js";

/** What to load, and what to call it. */
export interface Choice {
  source: ModelSource;
  label: string;
  /** The page's own model: it is kept with the page, and the settings of other models do not matter to it. */
  demo?: true;
  /** In place of what the settings say. */
  backend?: BackendWish;
  contextLength?: number;
  /** Delete what was not used for longest, where there is no room: the visitor has agreed. */
  evict?: boolean;
}

export interface LoadHandlers {
  onProgress(progress: LoadProgress): void;
  onWarning(warning: Warning): void;
}

export class Session {
  engine: Engine | undefined;
  /** What was loaded. */
  choice: Choice | undefined;
  private loading: AbortController | undefined;
  private answering: AbortController | undefined;

  get label(): string {
    return this.choice?.label ?? "";
  }

  get isLoading(): boolean {
    return this.loading !== undefined;
  }

  get isAnswering(): boolean {
    return this.answering !== undefined;
  }

  /** Loads a model in place of the present one. Another load under way is given up. */
  async load(choice: Choice, wishes: Wishes, handlers: LoadHandlers): Promise<Engine> {
    this.cancelLoad();
    const abort = new AbortController();
    this.loading = abort;
    try {
      await this.unload();
      if (abort.signal.aborted) throw new QwenletError("aborted", "Another model was chosen.");
      const engine = await Engine.load(choice.source, {
        ...manner(choice, wishes),
        onProgress: (progress) => this.loading === abort && handlers.onProgress(progress),
        onWarning: (warning) => handlers.onWarning(warning),
        signal: abort.signal,
      });
      if (abort.signal.aborted) {
        await engine.unload();
        throw new QwenletError("aborted", "Another model was chosen.");
      }
      this.engine = engine;
      this.choice = choice;
      return engine;
    } finally {
      if (this.loading === abort) this.loading = undefined;
    }
  }

  cancelLoad(): void {
    this.loading?.abort();
  }

  async unload(): Promise<void> {
    this.stop();
    const engine = this.engine;
    this.engine = undefined;
    await engine?.unload();
  }

  stop(): void {
    this.answering?.abort();
  }

  /** Answers the conversation into `message`, which is complete, stopped or marked as failed afterwards; never throws. */
  async answer(history: readonly Message[], message: Message, settings: Settings, dropOldest: boolean, live: LiveAnswer, onToken: (tokens: number, rate: number) => void): Promise<void> {
    const { engine } = this;
    const abort = new AbortController();
    this.answering = abort;
    const start = performance.now();
    let first = 0;
    let tokens = 0;
    let decode: GenerateStats | undefined;
    try {
      if (!engine) throw new QwenletError("unloaded", "No model is loaded.");
      const stream = await engine.chat.completions.create(
        {
          messages: toMessages(history, settings.system),
          stream: true,
          stream_options: { include_usage: true },
          return_token_ids: true,
          overflow: dropOldest ? "drop-oldest" : "error",
          ...settings.sampling,
          ...(engine.info.supportsThinking ? { enable_thinking: settings.thinking } : {}),
        },
        { signal: abort.signal, onEvent: (event) => event.type === "prefill" ? live.reading(event.done, event.total) : (message.leftOut = event.turns) },
      );
      for await (const chunk of stream) {
        const choice = chunk.choices[0];
        const now = performance.now();
        tokens += choice?.token_ids?.length ?? 0;
        if (tokens && !first) first = now;
        const { content, reasoning_content: thought } = choice?.delta ?? {};
        if (thought) {
          message.reasoning = (message.reasoning ?? "") + thought;
          live.reasoning(thought);
        }
        if (content) {
          message.content += content;
          live.content(content);
        }
        if (tokens > 1) onToken(tokens, perSecond(tokens - 1, (now - first) / 1000));
        if (choice?.finish_reason === "length") message.end = "length";
        decode = chunk.stats ?? decode;
        // Not a limit of the visitor's: there was no room for more.
        if (message.end === "length" && chunk.usage && chunk.usage.total_tokens >= engine.info.contextLength) message.end = "full";
      }
    } catch (error) {
      // Where the model is taken away meanwhile, that is what it says; the visitor asked for it.
      if (abort.signal.aborted || (error instanceof QwenletError && error.code === "aborted")) {
        message.end = "stopped";
      } else {
        const alone = dropOldest || count(history) === 1; // there is no older turn that could be left out
        const { code, title, advice, detail } = explain(error, alone ? "answering-one" : "answering");
        message.end = "failed";
        message.failure = { code, title, advice, detail };
      }
    } finally {
      const end = performance.now();
      if (first) {
        message.stats = {
          tokens,
          tokensPerSecond: decode ? perSecond(decode.decode_tokens, decode.decode_seconds) : perSecond(tokens - 1, (end - first) / 1000),
          firstTokenSeconds: (first - start) / 1000,
          model: this.label,
        };
      }
      if (this.answering === abort) this.answering = undefined;
    }
  }
}

/** How to load a choice. */
function manner(choice: Choice, wishes: Wishes): LoadOptions {
  // So small a model answers before a GPU is set up.
  if (choice.demo) return { backend: wishes.backend === "auto" ? "cpu" : wishes.backend, cache: false };
  const contextLength = choice.contextLength ?? wishes.contextLength;
  return { backend: choice.backend ?? wishes.backend, ...(contextLength ? { contextLength } : {}), ...(choice.evict ? { evict: "lru" } : {}) };
}

/** What the model is shown: instructions, then every message that has something to say. */
function toMessages(history: readonly Message[], system: string): ChatMessage[] {
  const messages: ChatMessage[] = system.trim() ? [{ role: "system", content: system.trim() }] : [];
  for (const { role, content } of history) if (content) messages.push({ role, content });
  return messages;
}

function perSecond(n: number, seconds: number): number {
  return n > 0 && seconds > 0 ? n / seconds : 0;
}
