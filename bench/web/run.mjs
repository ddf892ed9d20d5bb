// Measures qwenlet beside its peers, in Chromium. `cargo xtask bench-web` builds what this needs and runs it.
//   node run.mjs --models A.gguf,B.gguf [--suites speed,threads,context,exact,load] [--peers wllama,candle,onnxruntime]
//                [--onnx DIR] [--llama-bench PROGRAM] [--reps 5] [--pp 128] [--tg 32] [--chromium PATH] [--out RESULTS.jsonl]
//   node run.mjs --models A.gguf --suites webgpu,webgpu-context [--gpu-chromium PATH] [--peers …]      on a software GPU
//   node run.mjs --models A.gguf --serve      only serves the page, for any browser
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { Browser } from "./lib/browser.mjs";
import { machine } from "./lib/machine.mjs";
import { describe } from "./lib/model.mjs";
import { ROOT } from "./lib/paths.mjs";
import { startServer } from "./lib/server.mjs";
import { context, gpuContext } from "./suites/context.mjs";
import { exact } from "./suites/exact.mjs";
import { load } from "./suites/load.mjs";
import { speed } from "./suites/speed.mjs";
import { threads } from "./suites/threads.mjs";
import { webgpu } from "./suites/webgpu.mjs";
import { markdown } from "./table.mjs";
import { VARIANTS } from "./variants.mjs";

const SUITES = { speed, exact, threads, context, load };
/** On request: they need a browser with a software GPU. */
const GPU_SUITES = { webgpu, "webgpu-context": gpuContext };

const { values: args } = parseArgs({
  options: {
    models: { type: "string" },
    suites: { type: "string", default: Object.keys(SUITES).join(",") },
    peers: { type: "string", default: "wllama,candle,onnxruntime" },
    onnx: { type: "string" },
    "llama-bench": { type: "string" },
    reps: { type: "string", default: "5" },
    pp: { type: "string", default: "128" },
    tg: { type: "string", default: "32" },
    "gpu-chromium": { type: "string", default: process.env.QWENLET_CHROMIUM },
    chromium: { type: "string", default: process.env.QWENLET_CHROMIUM },
    out: { type: "string", default: join(ROOT, "target/bench/results.jsonl") },
    serve: { type: "boolean", default: false },
  },
});

function list(name, known) {
  const chosen = args[name].split(",").filter(Boolean);
  const unknown = chosen.find((item) => known && !known.includes(item));
  if (unknown) throw new Error(`--${name}: there is no "${unknown}"; there are ${known.join(", ")}`);
  return chosen;
}

function count(name) {
  const n = Number(args[name]);
  if (!(Number.isInteger(n) && n > 0)) throw new Error(`--${name}: "${args[name]}" is not a whole number above 0`);
  return n;
}

if (!args.models) throw new Error("--models names no file");
const suites = list("suites", Object.keys({ ...SUITES, ...GPU_SUITES }));
const peers = list("peers", Object.keys(VARIANTS).filter((name) => !/^qwenlet|^memory| WebGPU$/.test(name)));
const models = await Promise.all(list("models").map((path) => describe(resolve(path))));
const server = await startServer({ models: models.map(({ path }) => path), onnx: args.onnx && resolve(args.onnx) });

if (args.serve) {
  console.log(`Serving at ${server.url}`);
} else {
  const lines = [];
  const run = {
    url: server.url, chromium: args.chromium, gpuChromium: args["gpu-chromium"], peers, llama: args["llama-bench"],
    onnx: args.onnx && models[0].name, // of the first model: an ONNX file has one shape
    reps: count("reps"), pp: count("pp"), tg: count("tg"),
    progress: (text) => console.error(text),
    line(line) {
      lines.push(line);
      const text = JSON.stringify(line);
      appendFileSync(args.out, `${text}\n`);
      console.log(text);
    },
  };
  mkdirSync(dirname(resolve(args.out)), { recursive: true });
  const browser = await Browser.start(server.url, { executable: run.chromium });
  run.line(machine(browser.version()));
  await browser.close();
  for (const model of models) {
    for (const suite of suites) await { ...SUITES, ...GPU_SUITES }[suite](run, model);
  }
  server.close();
  console.error(`\n${markdown(lines)}\n${args.out} has the lines.`);
}
