// How fast a model loads, and in how much memory, as ratios to the least that the same bytes cost in the same browser.
//
//   node bench/load/run.mjs MODEL.gguf… [--backend cpu,webgpu] [--rate MB/s,…] [--runs N]
//
// After `cargo xtask build` and `npm ci` in tests/browser. Prints one JSON object for each model and backend:
//   network   loading and storing it, at each rate of the server (0: as fast as it can), to plain `fetch` draining the body
//   cache     loading it from the cache, to reading as many bytes from IndexedDB as byte arrays, as most pages have them, and as
//             blobs, as the cache has them (cpu), or to uploading as many bytes (webgpu)
//   wasmBytes the WebAssembly memory's size after the load, which is its peak
//
// With --storage it compares IndexedDB (byte arrays, blobs) with the origin's private file system (OPFS) instead.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { drain, inWorker, store, upload } from "./page.mjs";
import { serveFile } from "./server.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const { chromium } = createRequire(join(root, "tests/browser/package.json"))("@playwright/test");

const { values, positionals: models } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: "string", default: "cpu,webgpu" },
    rate: { type: "string", default: "0,100,25" },
    runs: { type: "string", default: "3" },
    storage: { type: "boolean", default: false },
  },
});
if (models.length === 0) throw new Error("which models? node bench/load/run.mjs MODEL.gguf…");
const runs = Number(values.runs);
// Two are for a Chromium with another software GPU, which QWENLET_CHROMIUM may name.
const ARGS = ["--no-sandbox", "--disable-gpu-sandbox", "--ignore-gpu-blocklist", "--headless=new", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU"];

async function serveSite() {
  const server = spawn(process.execPath, [join(root, "xtask/serve/serve.mjs"), "--dir", join(root, "dist"), "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const data of server.stdout) {
    text += data;
    const url = /Serving at (http:\/\/\S+)/.exec(text)?.[1];
    if (url) return { url: url.replace("localhost", "127.0.0.1"), close: () => server.kill() };
  }
  throw new Error("the server did not start");
}

/** Loads a model in the page; times by phase, in milliseconds. */
async function load(source, options) {
  const { Engine } = await import(`${location.origin}/pkg/index.js`);
  const start = performance.now();
  const phases = {};
  let last = start;
  let phase = "start";
  const engine = await Engine.load(source, {
    ...options,
    onWarning: (warning) => { throw new Error(warning.message); },
    onProgress: (progress) => {
      if (progress.phase === phase) return;
      const now = performance.now();
      phases[phase] = Math.round(now - last);
      [phase, last] = [progress.phase, now];
    },
  });
  const time = performance.now() - start;
  const { wasmBytes } = await engine.memory();
  await engine.unload();
  return { time, phases, wasmBytes };
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
const seconds = (ms) => Math.round(ms) / 1000;
const ratio = (a, b) => Math.round((a / b) * 100) / 100;

async function measure(site, path, backend) {
  const file = await serveFile(path);
  // With a profile on disk: a private one would keep its storage in memory.
  const profile = mkdtempSync(join(tmpdir(), "qwenlet-bench-"));
  const context = await chromium.launchPersistentContext(profile, { args: ARGS, bypassCSP: true, executablePath: process.env.QWENLET_CHROMIUM ?? "/usr/bin/chromium" });
  const page = await context.newPage();
  await page.goto(`${site.url}pkg/index.js`);
  await page.evaluate(`globalThis.inWorker = ${inWorker}; globalThis.load = ${load}`);
  const work = (body, ...args) => page.evaluate(([body, args]) => globalThis.inWorker(body, ...args), [String(body), args]);
  const loaded = (source, options) => page.evaluate(([source, options]) => globalThis.load(source, options), [source, { backend, cache: "required", ...options }]);
  const clear = () => page.evaluate(async () => {
    const { Cache } = await import(`${location.origin}/pkg/index.js`);
    for (const { id } of await Cache.list()) await Cache.delete(id);
  });

  if (values.storage) {
    for (let i = 0; i < runs; i++) {
      for (const kind of ["indexedDb", "blobs", "opfs"]) {
        const { write, read } = await work(store, kind, file.size, 8 << 20, 4);
        console.log(JSON.stringify({ bytes: file.size, kind, writeSeconds: seconds(write), readSeconds: seconds(read) }));
      }
    }
    await context.close();
    rmSync(profile, { recursive: true });
    file.close();
    return;
  }

  const network = [];
  for (const rate of values.rate.split(",").map(Number)) {
    const url = file.url(rate * 1e6);
    const plain = [];
    const through = [];
    for (let i = 0; i < runs; i++) {
      plain.push(await work(drain, url));
      await clear();
      through.push((await loaded({ url, id: "model" })).time);
    }
    network.push({ rate: rate || "unlimited", plain: seconds(median(plain)), load: seconds(median(through)), ratio: ratio(median(through), median(plain)) });
  }

  const yardsticks = backend === "cpu"
    ? { arrays: async () => (await work(store, "indexedDb", file.size, 8 << 20, 4)).read, blobs: async () => (await work(store, "blobs", file.size, 8 << 20, 4)).read }
    : { upload: () => work(upload, file.size, 8 << 20) };
  const least = {};
  const loads = [];
  for (let i = 0; i < runs; i++) {
    for (const [name, run] of Object.entries(yardsticks)) (least[name] ??= []).push(await run());
    loads.push(await loaded({ cached: "model" }));
  }
  const times = loads.map((l) => l.time);
  const { phases, wasmBytes } = loads[times.indexOf(median(times))];
  const to = Object.fromEntries(Object.entries(least).map(([name, each]) => [name, { seconds: seconds(median(each)), ratio: ratio(median(times), median(each)) }]));
  console.log(JSON.stringify({
    model: basename(path), bytes: file.size, backend, network,
    cache: { load: seconds(median(times)), to, phases },
    wasmBytes,
  }));
  await context.close();
  rmSync(profile, { recursive: true });
  file.close();
}

const site = await serveSite();
try {
  const backends = values.storage ? ["cpu"] : values.backend.split(",");
  for (const path of models) for (const backend of backends) await measure(site, path, backend);
} finally {
  site.close();
}
