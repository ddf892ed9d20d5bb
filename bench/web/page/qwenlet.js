// qwenlet, from the built site.
import { ANSWER, words } from "./prompts.js";

/**
 * `threads` and `variant` ("simd" or "relaxed") are wishes; `info` says what came of them.
 * A `source` is a URL or `{ cached: id }`.
 */
export async function open({ source, threads, variant, context, backend = "cpu", precision = "auto", cache = false }) {
  const { Engine } = await import("/dist/pkg/index.js");
  const options = { backend, precision, cache, onWarning: () => {}, ...(threads ? { threads } : {}), ...(variant ? { variant } : {}) };
  const engine = await Engine.load(source, { ...options, ...(context ? { contextLength: context } : {}) });
  let prompt = "";
  let length = 0;
  const complete = (max_tokens, more = {}) =>
    engine.completions.create({ prompt, max_tokens, temperature: 0, ignore_eos: true, repetition_penalty: 1, logit_bias: ANSWER, ...more });
  return {
    info: engine.info,
    async prefill(n, seed) {
      prompt = words(n, seed);
      length = n;
      const { usage, stats } = await complete(1);
      if (usage.prompt_tokens !== n) throw new Error(`the prompt has ${usage.prompt_tokens} tokens, not ${n}`);
      return { tokens: stats.prefill_tokens, seconds: stats.prefill_seconds };
    },
    async decode(n) {
      const start = performance.now();
      const { usage } = await complete(n);
      const fresh = usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens;
      if (fresh !== 1 || usage.completion_tokens !== n) throw new Error(`${fresh} of ${length} prompt tokens were computed again, ${usage.completion_tokens} decoded`);
      return { tokens: n, seconds: (performance.now() - start) / 1000 };
    },
    /** Token ids and log-probabilities behind a prompt, to be compared bit by bit. */
    async trace(n, seed, tokens) {
      prompt = words(n, seed);
      const { choices: [choice] } = await complete(tokens, { logprobs: 5, return_token_ids: true, logit_bias: {} });
      return { ids: choice.token_ids, logprobs: choice.logprobs.token_logprobs, top: choice.logprobs.top_logprobs.map((at) => Object.values(at)) };
    },
    memory: () => engine.memory(),
    close: () => engine.unload(),
  };
}
