/** What the engine says → OpenAI-shaped answers and chunks. */
import type { Request } from "./request.js";
import type {
  ChatCompletion, ChatCompletionChunk, ChatLogprobs, Completion, CompletionChunk, CompletionLogprobs, TokenLogprob, Usage,
} from "./types.js";
import type { WireLogprob, WireOutcome } from "./wire.js";

/** A piece of an answer: the text that can be shown after some tokens, and those tokens. */
export interface Piece {
  text: string;
  ids: number[];
  logprobs: WireLogprob[];
}

/** How one kind of answer (chat, completion) is put into words. */
export interface Format<Whole, Chunk> {
  first(): Chunk | undefined;
  piece(piece: Piece): Chunk;
  last(outcome: WireOutcome): Chunk;
  usage(usage: Usage): Chunk;
  whole(outcome: WireOutcome, logprobs: WireLogprob[]): Whole;
}

export function usageOf(outcome: WireOutcome): Usage {
  const completion_tokens = outcome.ids.length;
  return {
    prompt_tokens: outcome.prompt_tokens,
    completion_tokens,
    total_tokens: outcome.prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: outcome.cached_tokens },
  };
}

function finishOf(outcome: WireOutcome): "stop" | "length" {
  return outcome.finish === "length" ? "length" : "stop";
}

function ids(request: Request, token_ids: number[]): { token_ids?: number[] } {
  return request.returnTokenIds ? { token_ids } : {};
}

function head(prefix: string, model: string): { id: string; created: number; model: string } {
  return { id: `${prefix}-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`, created: Math.floor(Date.now() / 1000), model };
}

export function chatFormat(request: Request, model: string): Format<ChatCompletion, ChatCompletionChunk> {
  const common = head("chatcmpl", model);
  const chunk = (choice: Omit<ChatCompletionChunk["choices"][0], "index">): ChatCompletionChunk =>
    ({ ...common, object: "chat.completion.chunk", choices: [{ index: 0, ...choice }] });
  const wants = request.options.logprobs !== undefined;
  return {
    first: () => chunk({ delta: { role: "assistant", content: "" }, finish_reason: null }),
    piece: (p) => chunk({
      delta: { content: p.text }, finish_reason: null, ...(wants ? { logprobs: chatLogprobs(p.logprobs) } : {}), ...ids(request, p.ids),
    }),
    last: (outcome) => ({ ...chunk({ delta: {}, finish_reason: finishOf(outcome) }), stats: outcome.stats }),
    usage: (usage) => ({ ...common, object: "chat.completion.chunk", choices: [], usage }),
    whole: (outcome, logprobs) => ({
      ...common, object: "chat.completion",
      choices: [{
        index: 0, message: { role: "assistant", content: outcome.text, refusal: null }, finish_reason: finishOf(outcome),
        logprobs: wants ? chatLogprobs(logprobs) : null, ...ids(request, outcome.ids),
      }],
      usage: usageOf(outcome), stats: outcome.stats,
    }),
  };
}

export function completionFormat(request: Request, model: string): Format<Completion, CompletionChunk> {
  const common = head("cmpl", model);
  const wants = request.options.logprobs !== undefined;
  let offset = 0;
  const chunk = (choice: Omit<CompletionChunk["choices"][0], "index">): CompletionChunk =>
    ({ ...common, object: "text_completion", choices: [{ index: 0, ...choice }] });
  return {
    first: () => undefined,
    piece: (p) => {
      const logprobs = wants ? completionLogprobs(p.logprobs, offset) : null;
      offset += p.text.length;
      return chunk({ text: p.text, finish_reason: null, logprobs, ...ids(request, p.ids) });
    },
    last: (outcome) => ({ ...chunk({ text: "", finish_reason: finishOf(outcome), logprobs: null }), stats: outcome.stats }),
    usage: (usage) => ({ ...common, object: "text_completion", choices: [], usage }),
    whole: (outcome, logprobs) => ({
      ...common, object: "text_completion",
      choices: [{
        index: 0, text: outcome.text, finish_reason: finishOf(outcome),
        logprobs: wants ? completionLogprobs(logprobs, 0) : null, ...ids(request, outcome.ids),
      }],
      usage: usageOf(outcome), stats: outcome.stats,
    }),
  };
}

function chatLogprobs(tokens: WireLogprob[]): ChatLogprobs {
  const content = tokens.map(({ token, bytes, logprob, top }): TokenLogprob => ({ token, bytes, logprob, top_logprobs: top }));
  return { content, refusal: null };
}

function completionLogprobs(tokens: WireLogprob[], offset: number): CompletionLogprobs {
  const out: CompletionLogprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
  for (const { token, logprob, top } of tokens) {
    out.tokens.push(token);
    out.token_logprobs.push(logprob);
    out.top_logprobs.push(Object.fromEntries([...top.map((t) => [t.token, t.logprob] as const), [token, logprob] as const]));
    out.text_offset.push(offset);
    offset += token.length;
  }
  return out;
}
