// wllama: llama.cpp's server, compiled for the web.
import { ANSWER, words } from "./prompts.js";

const quiet = { debug() {}, log() {}, warn() {}, error: console.error };

export async function open({ source, threads, context = 1024, backend = "cpu" }) {
  const { Wllama } = await import("/node_modules/@wllama/wllama/esm/index.js");
  const wllama = new Wllama({ default: "/node_modules/@wllama/wllama/esm/wasm/wllama.wasm" }, { logger: quiet, suppressNativeLog: true });
  const blob = await (await fetch(source)).blob();
  await wllama.loadModel([blob], { n_ctx: context, n_batch: 512, n_threads: threads, n_gpu_layers: backend === "webgpu" ? 999 : 0, n_parallel: 1, warmup: false });
  if (wllama.getNumThreads() !== threads) throw new Error(`wllama runs on ${wllama.getNumThreads()} threads, not ${threads}`);
  let prompt = "";
  // The reuse of a prompt is asked for where we use it too: decoding starts behind a prompt that is in the cache.
  const complete = async (max_tokens, cache_prompt) =>
    (await wllama.createCompletion({ prompt, max_tokens, temperature: 0, top_k: 1, ignore_eos: true, logit_bias: ANSWER, cache_prompt })).timings;
  return {
    info: { threads: wllama.getNumThreads() },
    async prefill(n, seed) {
      prompt = words(n, seed);
      const t = await complete(1, false);
      if (t.prompt_n !== n) throw new Error(`the prompt has ${t.prompt_n} tokens, not ${n}`);
      return { tokens: n, seconds: t.prompt_ms / 1000 };
    },
    async decode(n) {
      const t = await complete(n, true);
      if (t.prompt_n !== 1 || t.predicted_n !== n) throw new Error(`${t.prompt_n} prompt tokens were computed again, ${t.predicted_n} decoded`);
      return { tokens: n, seconds: (t.prompt_ms + t.predicted_ms) / 1000 };
    },
    close: () => wllama.exit(),
  };
}
