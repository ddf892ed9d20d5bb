// Prefill and decode of all engines, in turn: A B C A B C. Tokens per CPU second, which other load hardly touches.
import { Native } from "../lib/native.mjs";
import { openAll } from "../lib/opened.mjs";
import { rates } from "../lib/rates.mjs";

/** Tokens that onnxruntime decodes: so many as it makes in some ten seconds. */
const FEW = 8;
/** Times that the memory is read over in one measurement. */
const READS = 4;

export async function speed(run, model) {
  const names = ["qwenlet", "qwenlet simd128", "qwenlet without VNNI", "memory read", ...run.peers];
  const opened = await openAll(run, model, names.filter((name) => name !== "onnxruntime" || run.onnx === model.name));
  if (run.llama) opened.push({ name: "llama.cpp native", browser: new Native(run.llama, model), info: {} });
  await rates(run, model, opened, {
    async warm({ name, browser }) {
      if (name === "memory read") return;
      await browser.call("prefill", 16, 1); // V8 compiles its best code while it runs
      await browser.call("decode", 8);
    },
    async measure({ name, browser }, rep) {
      if (name === "memory read") return { read: await browser.measured("decode", READS) };
      return {
        prefill: await browser.measured("prefill", run.pp, 100 + rep),
        decode: await browser.measured("decode", name === "onnxruntime" ? Math.min(FEW, run.tg) : run.tg),
      };
    },
  });
}
