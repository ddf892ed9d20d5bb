/** OpenAI-shaped requests → what the engine takes. What would change the answer and is not supported is refused by name. */
import { QwenletError } from "./errors.js";
import type { ChatCompletionCreateParams, CompletionCreateParams, SamplingParams } from "./types.js";
import type { WireChat, WireOptions, WirePrompt } from "./wire.js";

const SAMPLING = [
  "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias",
  "seed", "stop", "max_tokens", "ignore_eos", "return_token_ids", "overflow",
];
/** Do not bear on the answer of a model in the page. */
const IGNORED = [
  "model", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
  "parallel_tool_calls", "n", "stream", "stream_options",
];
const CHAT = [
  "messages", "tools", "tool_choice", "max_completion_tokens", "logprobs", "top_logprobs", "response_format",
  "enable_thinking", "chat_template_kwargs", "add_generation_prompt",
];
const COMPLETION = ["prompt", "logprobs"];

export interface Request {
  prompt: WirePrompt;
  options: WireOptions;
  stream: boolean;
  includeUsage: boolean;
  returnTokenIds: boolean;
}

export function chatRequest(params: ChatCompletionCreateParams): Request {
  onlyKnown(params, [...SAMPLING, ...IGNORED, ...CHAT]);
  if (params.response_format && (params.response_format as { type: string }).type !== "text") {
    throw invalid("response_format", "only { type: \"text\" } is supported");
  }
  const wantsTop = params.top_logprobs != null && params.top_logprobs > 0;
  if (wantsTop && !params.logprobs) throw invalid("top_logprobs", "needs logprobs: true");
  const logprobs = params.logprobs ? (params.top_logprobs ?? 0) : undefined;
  return {
    prompt: { chat: chatPrompt(params) },
    options: samplingOptions(params, params.max_completion_tokens ?? params.max_tokens, logprobs),
    ...common(params),
  };
}

/** The part of a chat request that makes its prompt. */
export function chatPrompt(params: Pick<ChatCompletionCreateParams, "messages" | "tools" | "tool_choice" | "enable_thinking" | "chat_template_kwargs" | "add_generation_prompt">): WireChat {
  if (!Array.isArray(params.messages) || params.messages.length === 0) {
    throw invalid("messages", "must be a list with at least one message");
  }
  const choice: unknown = params.tool_choice ?? "auto";
  if (choice !== "auto" && choice !== "none") throw invalid("tool_choice", "only \"auto\" and \"none\" are supported");
  const kwargs: Record<string, unknown> = { ...params.chat_template_kwargs };
  if (params.enable_thinking !== undefined) kwargs["enable_thinking"] = params.enable_thinking;
  const chat: WireChat = { messages: plain("messages", params.messages), kwargs: plain("chat_template_kwargs", kwargs) };
  if (params.tools && params.tools.length > 0 && choice !== "none") chat.tools = plain("tools", params.tools);
  if (params.add_generation_prompt !== undefined) chat.add_generation_prompt = params.add_generation_prompt;
  return chat;
}

/**
 * A copy by way of JSON, which the value is by contract: without the proxies of reactive frameworks, which no worker can be
 * sent, and without properties that are undefined, which a template would take for null.
 */
function plain<T>(field: string, value: T): T {
  try {
    return JSON.parse(JSON.stringify(value)) as T;
  } catch (cause) {
    throw new QwenletError("invalid-argument", `${field}: cannot be written as JSON.`, { cause });
  }
}

export function completionRequest(params: CompletionCreateParams): Request {
  onlyKnown(params, [...SAMPLING, ...IGNORED, ...COMPLETION]);
  return {
    prompt: completionPrompt(params.prompt),
    options: samplingOptions(params, params.max_tokens, params.logprobs ?? undefined),
    ...common(params),
  };
}

function completionPrompt(prompt: unknown): WirePrompt {
  if (typeof prompt === "string") return { text: prompt };
  if (Array.isArray(prompt) && prompt.every((id) => Number.isInteger(id) && id >= 0)) return { ids: [...prompt as number[]] };
  throw invalid("prompt", "must be a string or a list of token ids; several prompts are several requests");
}

function common(params: { n?: unknown; stream?: unknown; stream_options?: { include_usage?: boolean } | null; return_token_ids?: boolean }): Omit<Request, "prompt" | "options"> {
  if (params.n != null && params.n !== 1) throw invalid("n", "only 1 is supported; send the request several times");
  return {
    stream: params.stream === true,
    includeUsage: params.stream_options?.include_usage === true,
    returnTokenIds: params.return_token_ids === true,
  };
}

function samplingOptions(params: SamplingParams, maxTokens: number | null | undefined, logprobs: number | undefined): WireOptions {
  const count = (name: string, value: number | null | undefined, most = 2 ** 32 - 1): number | undefined => {
    if (value == null) return undefined;
    if (!Number.isInteger(value) || value < 0 || value > most) throw invalid(name, `must be a whole number from 0 to ${most}`);
    return value;
  };
  const real = (name: string, value: number | null | undefined): number | undefined => {
    if (value == null) return undefined;
    if (typeof value !== "number" || !Number.isFinite(value)) throw invalid(name, "must be a number");
    return value;
  };
  const bias = Object.entries(params.logit_bias ?? {}).map(([id, add]): [number, number] => {
    if (!/^\d+$/.test(id)) throw invalid("logit_bias", `"${id}" is not a token id`);
    return [Number(id), real("logit_bias", add) ?? 0];
  });
  const stop = params.stop == null ? [] : [params.stop].flat();
  if (!stop.every((s) => typeof s === "string" && s !== "")) throw invalid("stop", "must be a string or a list of strings, none empty");
  return {
    max_tokens: count("max_tokens", maxTokens),
    temperature: real("temperature", params.temperature),
    top_k: count("top_k", params.top_k),
    top_p: real("top_p", params.top_p),
    min_p: real("min_p", params.min_p),
    repetition_penalty: real("repetition_penalty", params.repetition_penalty),
    presence_penalty: real("presence_penalty", params.presence_penalty),
    frequency_penalty: real("frequency_penalty", params.frequency_penalty),
    logit_bias: bias,
    seed: count("seed", params.seed, Number.MAX_SAFE_INTEGER),
    stop,
    ignore_eos: params.ignore_eos === true,
    logprobs: count("logprobs", logprobs, 20),
    overflow: params.overflow ?? "error",
  };
}

function onlyKnown(params: object, known: string[]): void {
  if (typeof params !== "object" || params === null) throw new QwenletError("invalid-argument", "The request must be an object.");
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && !known.includes(key)) throw invalid(key, "is not supported");
  }
}

function invalid(field: string, what: string): QwenletError {
  return new QwenletError("invalid-argument", `${field}: ${what}.`);
}
