// Prefill and decode of all engines, in turn: A B C A B C. Tokens per CPU second, which other load hardly touches.
import { Native } from "../lib/native.mjs";
import { openAll } from "../lib/opened.mjs";
import { summary } from "../lib/stats.mjs";

/** Decoded tokens where `--tg` would take minutes. */
const FEW = 8;

export async function speed(run, model) {
  const names = ["qwenlet", "qwenlet simd128", "qwenlet without VNNI", "memory read", ...run.peers];
  const opened = await openAll(run, model, names.filter((name) => name !== "onnxruntime" || run.onnx === model.name));
  if (run.llama) opened.push({ name: "llama.cpp native", browser: new Native(run.llama, model), info: {} });
  for (const { name, browser } of opened) {
    if (name === "memory read") continue;
    await browser.call("prefill", 16, 1); // V8 compiles its best code while it runs
    await browser.call("decode", 8);
  }
  const results = new Map(opened.map(({ name }) => [name, { prefill: [], decode: [] }]));
  for (let rep = 0; rep < run.reps; rep++) {
    for (const { name, browser } of opened) {
      const { prefill, decode } = results.get(name);
      const read = name === "memory read";
      if (!read) prefill.push(await browser.measured("prefill", run.pp, 100 + rep));
      decode.push(await browser.measured("decode", read ? 4 : name === "onnxruntime" ? Math.min(FEW, run.tg) : run.tg));
    }
    run.progress(`${model.name}: ${rep + 1} of ${run.reps}`);
  }
  for (const { name, info } of opened) {
    for (const [figure, list] of Object.entries(results.get(name))) {
      if (list.length === 0) continue;
      const rate = (time) => summary(list.map((r) => r.tokens / r[time]));
      const common = { model: model.name, engine: name, features: info.features, bytesPerToken: model.readPerToken };
      run.line({ figure: name === "memory read" ? "read" : figure, tokens: list[0].tokens, ...common, perCpuSecond: rate("cpu"), perSecond: rate("seconds") });
    }
  }
  await Promise.all(opened.map(({ browser }) => browser.close()));
}
