// Prefill and decode on a software GPU, in turn: A B C A B C. Tokens per CPU second of the process that plays the GPU.
import { openAll } from "../lib/opened.mjs";
import { rates } from "../lib/rates.mjs";
import { VARIANTS } from "../variants.mjs";

/** Tokens that a peer decodes: they take seconds each. */
const FEW = 4;

export async function webgpu(run, model) {
  const peers = run.peers.map((name) => `${name} WebGPU`).filter((name) => VARIANTS[name]);
  const names = ["qwenlet WebGPU", "qwenlet WebGPU exact", ...peers.filter((name) => !name.startsWith("onnx") || run.onnx === model.name)];
  await rates(run, model, await openAll(run, model, names), {
    async warm({ name, browser }) {
      await browser.call("prefill", VARIANTS[name].pp ?? run.pp, 1);
      await browser.call("decode", 2);
    },
    async measure({ name, browser }, rep) {
      return {
        "WebGPU prefill": await browser.measured("prefill", VARIANTS[name].pp ?? run.pp, 100 + rep),
        "WebGPU decode": await browser.measured("decode", name.startsWith("qwenlet") ? run.tg : Math.min(FEW, run.tg)),
      };
    },
  });
}
