// What a long conversation costs: decoding behind 4,096 tokens against decoding behind 128.
import { openAll } from "../lib/opened.mjs";
import { summary } from "../lib/stats.mjs";

const CONTEXTS = [128, 4096];

export const context = (run, model) => compare(run, model, "qwenlet");
export const gpuContext = (run, model) => compare(run, model, "qwenlet WebGPU");

async function compare(run, model, engine) {
  const opened = [];
  for (const length of CONTEXTS) {
    const [found] = await openAll(run, model, [engine], { context: 4096 + run.tg });
    if (!found) return;
    await found.browser.call("prefill", length, 1);
    await found.browser.call("decode", run.tg);
    opened.push(found.browser);
  }
  // Each goes back to the end of its prompt, so that every repetition decodes the same tokens.
  const seconds = CONTEXTS.map(() => []);
  for (let rep = 0; rep < run.reps; rep++) {
    for (const [i, browser] of opened.entries()) seconds[i].push((await browser.measured("decode", run.tg)).cpu / run.tg);
    run.progress(`${model.name}: ${rep + 1} of ${run.reps}`);
  }
  for (const [i, length] of CONTEXTS.entries()) {
    run.line({ figure: "context", model: model.name, engine, context: length, perCpuSecond: summary(seconds[i].map((s) => 1 / s)) });
  }
  await Promise.all(opened.map((browser) => browser.close()));
}
