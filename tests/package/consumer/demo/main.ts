// The package with the model that comes with it: nothing else is fetched.
import { Engine } from "qwenlet";
import { DEMO } from "qwenlet/demo";

async function answer(): Promise<string | null | undefined> {
  const engine = await Engine.load(DEMO, { backend: "cpu" });
  const { choices } = await engine.chat.completions.create({ messages: [{ role: "user", content: "What is 17 + 25?" }], enable_thinking: false });
  await engine.unload();
  return choices[0]?.message.content;
}

Object.assign(window, { answer: answer() });
