// Prefill and decode of all engines, in turn: A B C A B C. Tokens per CPU second, which other load hardly touches.
import { Native } from "../lib/native.mjs";
import { openAll } from "../lib/opened.mjs";
import { summary } from "../lib/stats.mjs";

/** Tokens that onnxruntime decodes: so many as it makes in some ten seconds. */
const FEW = 8;
/** Times that the memory is read over in one measurement. */
const READS = 4;

export async function speed(run, model) {
  const names = ["qwenlet", "qwenlet simd128", "qwenlet without VNNI", "memory read", ...run.peers];
  let opened = await openAll(run, model, names.filter((name) => name !== "onnxruntime" || run.onnx === model.name));
  if (run.llama) opened.push({ name: "llama.cpp native", browser: new Native(run.llama, model), info: {} });
  const results = new Map(opened.map(({ name }) => [name, { prefill: [], decode: [], read: [] }]));

  /** A turn of each engine; one that fails takes no further part, and what it has done until then counts. */
  const round = async (take) => {
    const left = [];
    for (const engine of opened) {
      try {
        await take(engine);
        left.push(engine);
      } catch (error) {
        run.line({ figure: "left out", model: model.name, engine: engine.name, reason: String(error.message).split("\n")[0] });
        await engine.browser.close();
      }
    }
    opened = left;
  };

  await round(async ({ name, browser }) => {
    if (name === "memory read") return;
    await browser.call("prefill", 16, 1); // V8 compiles its best code while it runs
    await browser.call("decode", 8);
  });
  for (let rep = 0; rep < run.reps; rep++) {
    await round(async ({ name, browser }) => {
      const { prefill, decode, read } = results.get(name);
      if (name === "memory read") {
        read.push(await browser.measured("decode", READS));
        return;
      }
      prefill.push(await browser.measured("prefill", run.pp, 100 + rep));
      decode.push(await browser.measured("decode", name === "onnxruntime" ? Math.min(FEW, run.tg) : run.tg));
    });
    run.progress(`${model.name}: ${rep + 1} of ${run.reps}`);
  }
  for (const [name, figures] of results) {
    const features = opened.find((engine) => engine.name === name)?.info.features;
    for (const [figure, list] of Object.entries(figures)) {
      if (list.length === 0) continue;
      const rate = (time) => summary(list.map((r) => r.tokens / r[time]));
      const common = { model: model.name, engine: name, features, bytesPerToken: model.readPerToken };
      run.line({ figure, tokens: list[0].tokens, ...common, perCpuSecond: rate("cpu"), perSecond: rate("seconds") });
    }
  }
  await Promise.all(opened.map(({ browser }) => browser.close()));
}
