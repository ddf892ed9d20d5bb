// Code written for OpenAI's shapes takes what the package gives, and the package takes what such code sends.
import type OpenAI from "openai";
import { Engine, type ChatCompletionCreateParamsNonStreaming } from "qwenlet";

type Messages = Extract<OpenAI.ChatCompletionMessageParam, { role: "system" | "user" }>[];

function lastWords(completion: OpenAI.ChatCompletion): string {
  return completion.choices[0]?.message.content ?? "";
}
function delta(chunk: OpenAI.ChatCompletionChunk): string {
  return chunk.choices[0]?.delta.content ?? "";
}
function cost(usage: OpenAI.CompletionUsage): number {
  return usage.prompt_tokens + usage.completion_tokens;
}

export async function chat(engine: Engine): Promise<number> {
  const tool: OpenAI.ChatCompletionFunctionTool = {
    type: "function",
    function: { name: "weather", description: "Tells the weather", parameters: { type: "object", properties: {} } },
  };
  const system: OpenAI.ChatCompletionSystemMessageParam = { role: "system", content: "Be brief." };
  const request: ChatCompletionCreateParamsNonStreaming = {
    model: "any", messages: [system, { role: "user", content: "Hello" }], tools: [tool],
    temperature: 0.7, top_p: 0.8, logprobs: true, top_logprobs: 2, seed: 1, stop: ["\n"], max_completion_tokens: 5,
  };
  const completion = await engine.chat.completions.create(request);
  lastWords(completion);
  for await (const chunk of await engine.chat.completions.create({ ...request, stream: true })) delta(chunk);
  const text: OpenAI.Completion = await engine.completions.create({ prompt: "Once", max_tokens: 5, logprobs: 1 });
  return cost(completion.usage) + text.choices.length;
}

export async function brief(source: string): Promise<number> {
  await using engine = await Engine.load(source);
  return engine.countTokens([{ role: "user", content: "Hello" }]);
}

export async function wrong(engine: Engine, messages: Messages): Promise<void> {
  // @ts-expect-error a role that there is not
  await engine.chat.completions.create({ messages: [{ role: "narrator", content: "" }] });
  // @ts-expect-error a misspelt option
  await engine.chat.completions.create({ messages: [], temprature: 1 });
  // @ts-expect-error without stream: true there is nothing to iterate
  for await (const _ of await engine.chat.completions.create({ messages: [] })) void messages;
}
