// As a user would write it, after `npm install qwenlet`.
import { Cache, Engine, QwenletError } from "qwenlet";

async function answer(): Promise<unknown> {
  const phases: string[] = [];
  const engine = await Engine.load(new URL("model.gguf", document.baseURI), {
    backend: "cpu",
    onProgress: ({ phase }) => phases.push(phase),
  });
  let streamed = "";
  const stream = await engine.chat.completions.create({
    messages: [{ role: "user", content: "Hello" }], stream: true, temperature: 0, max_tokens: 8, ignore_eos: true,
  });
  for await (const chunk of stream) streamed += chunk.choices[0]?.delta?.content ?? "";
  const whole = await engine.chat.completions.create({
    messages: [{ role: "user", content: "Hello" }], temperature: 0, max_tokens: 8, ignore_eos: true, return_token_ids: true,
  });
  const { info } = engine;
  await engine.unload();
  const after = await engine.tokenize("x").catch((e: unknown) => (e instanceof QwenletError ? e.code : e));
  return { phases, streamed, whole, info, after, cached: await Cache.list() };
}

Object.assign(window, { answer: answer() });
