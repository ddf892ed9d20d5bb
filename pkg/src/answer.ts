/** What the engine says → OpenAI-shaped answers and chunks. */
import type { Request } from "./request.js";
import type {
  AssistantMessage, ChatCompletion, ChatCompletionChunk, ChatFinishReason, ChatLogprobs, Completion, CompletionChunk, CompletionLogprobs, FinishReason, TokenLogprob, ToolCall, Usage,
} from "./types.js";
import type { WireLogprob, WireOutcome, WirePart } from "./wire.js";

/** A piece of an answer: the text that can be shown after some tokens, and those tokens. */
export interface Piece {
  text: string;
  /** The same, apart; of answers to a conversation only. */
  parts: WirePart[];
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

function finishOf(outcome: WireOutcome): FinishReason {
  return outcome.finish === "length" ? "length" : "stop";
}

/** A call of a tool waits for its result, however the answer ended after it. */
function chatFinishOf(outcome: WireOutcome): ChatFinishReason {
  return outcome.parts.some((part) => part.type === "toolCall") ? "tool_calls" : finishOf(outcome);
}

function random(prefix: string): string {
  return `${prefix}-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
}

/** Text or thoughts of some parts. */
function textOf(parts: WirePart[], type: "text" | "thinking"): string {
  return parts.reduce((text, part) => (part.type === type ? text + (part.value as string) : text), "");
}

function callsOf(parts: WirePart[]): ToolCall[] {
  return parts.flatMap((part) => part.type === "toolCall"
    ? [{ id: random("call"), type: "function" as const, function: part.value }]
    : []);
}

function messageOf(parts: WirePart[]): AssistantMessage {
  const content = textOf(parts, "text");
  const thoughts = textOf(parts, "thinking");
  const calls = callsOf(parts);
  return {
    role: "assistant", content: content === "" && calls.length > 0 ? null : content, refusal: null,
    ...(thoughts ? { reasoning_content: thoughts } : {}), ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
}

function ids(request: Request, token_ids: number[]): { token_ids?: number[] } {
  return request.returnTokenIds ? { token_ids } : {};
}

function head(prefix: string, model: string): { id: string; created: number; model: string } {
  return { id: random(prefix), created: Math.floor(Date.now() / 1000), model };
}

export function chatFormat(request: Request, model: string): Format<ChatCompletion, ChatCompletionChunk> {
  const common = head("chatcmpl", model);
  const chunk = (choice: Omit<ChatCompletionChunk["choices"][0], "index">): ChatCompletionChunk =>
    ({ ...common, object: "chat.completion.chunk", choices: [{ index: 0, ...choice }] });
  const wants = request.options.logprobs !== undefined;
  let calls = 0;
  const deltaOf = (parts: WirePart[]): ChatCompletionChunk["choices"][0]["delta"] => {
    const thoughts = textOf(parts, "thinking");
    const called = callsOf(parts).map((call) => ({ index: calls++, ...call }));
    return {
      content: textOf(parts, "text"), ...(thoughts ? { reasoning_content: thoughts } : {}), ...(called.length > 0 ? { tool_calls: called } : {}),
    };
  };
  return {
    first: () => chunk({ delta: { role: "assistant", content: "" }, finish_reason: null }),
    piece: (p) => chunk({
      delta: deltaOf(p.parts), finish_reason: null, ...(wants ? { logprobs: chatLogprobs(p.logprobs) } : {}), ...ids(request, p.ids),
    }),
    last: (outcome) => ({ ...chunk({ delta: {}, finish_reason: chatFinishOf(outcome) }), stats: outcome.stats }),
    usage: (usage) => ({ ...common, object: "chat.completion.chunk", choices: [], usage }),
    whole: (outcome, logprobs) => ({
      ...common, object: "chat.completion",
      choices: [{
        index: 0, message: messageOf(outcome.parts), finish_reason: chatFinishOf(outcome),
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
