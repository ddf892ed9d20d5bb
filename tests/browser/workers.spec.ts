// Where the package's workers come from, and what they are.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expect, ROOT, test, type Api } from "./fixtures.ts";
import { serveChanged, serveHooked } from "./hooked.ts";
import { QWEN3 } from "./models.ts";

const esbuild: unknown = createRequire(join(ROOT, "pkg/package.json"))("esbuild");

test("a page of another origin than the package says where the workers are", async ({ page, hub, site }) => {
  const cdn = "https://cdn.test/index.js";
  await page.route(cdn, (route) => route.fulfill({
    contentType: "text/javascript", headers: { "Access-Control-Allow-Origin": "*" }, body: readFileSync(join(ROOT, "dist/pkg/index.js")),
  }));
  // The site's own page allows scripts from nowhere else.
  await page.route(`${site.url}foreign.html`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>A plain page</title>" }));
  await page.goto(`${site.url}foreign.html`);
  const got = await page.evaluate(async ({ cdn, url }) => {
    const { Cache, Engine, QwenletError, setWorkerFactory } = (await import(cdn)) as Api;
    const failure = await Engine.load(url).then(() => "none", (e: unknown) => (e instanceof QwenletError ? `${e.code}: ${e.message}` : `untyped ${String(e)}`));
    setWorkerFactory((build) => new Worker(`/pkg/worker-${build}.js`, { type: "module" }));
    const engine = await Engine.load(url, { backend: "cpu" });
    const answer = await engine.completions.create({ prompt: "Hi", max_tokens: 4, ignore_eos: true });
    await engine.unload();
    return { failure, tokens: answer.usage.completion_tokens, cached: (await Cache.list()).map((m) => m.complete) };
  }, { cdn, url: hub.directUrl(QWEN3) });
  expect(got.failure).toMatch(/^internal: .*own origin.*setWorkerFactory.*optimizeDeps/);
  expect(got).toMatchObject({ tokens: 4, cached: [true] });
});

/** Loads a model on three threads; in the page. */
const loadOnThreads = (page: Page, url: string, type: WorkerType) => page.evaluate(async ({ url, type }) => {
  const { Engine, setWorkerFactory } = (await import(`${location.origin}/pkg/index.js`)) as Api;
  setWorkerFactory((build) => new Worker(`/pkg/worker-${build}.js`, { type }));
  const engine = await Engine.load(url, { backend: "cpu", threads: 3 });
  const answer = await engine.completions.create({ prompt: "Hi", max_tokens: 4, ignore_eos: true });
  await engine.unload();
  return { info: engine.info, tokens: answer.usage.completion_tokens };
}, { url, type });

test("a bundle that is no module, as esbuild makes it by default, says what to do", async ({ page, site }) => {
  const { buildSync } = esbuild as { buildSync(options: object): { outputFiles: { text: string }[] } };
  const stdin = { contents: `export { Engine } from "./dist/index.js"`, resolveDir: join(ROOT, "pkg") };
  const { outputFiles } = buildSync({ stdin, bundle: true, globalName: "qwenlet", write: false, logLevel: "error" });
  await page.goto(site.url);
  await page.evaluate(outputFiles[0]!.text.replace("var qwenlet =", "window.qwenlet ="));
  const failure = await page.evaluate(() => (window as unknown as { qwenlet: Api }).qwenlet.Engine.load("x.gguf").then(() => "none", String));
  expect(failure).toMatch(/could not be started: .*--format=esm/);
});

test("a classic worker, as webpack makes it, starts threads and readers of its own kind", async ({ page, hub }) => {
  const { transformSync } = esbuild as { transformSync(script: string, options: object): { code: string } };
  const classic = await serveChanged((script) => {
    const { code } = transformSync(script, { format: "iife", define: { "import.meta.url": "self.location.href" } });
    return `importScripts();\n${code}`; // as for a chunk; modules have it not
  }, "--coi");
  try {
    await page.goto(classic.url);
    const warnings: string[] = [];
    page.on("console", (message) => /a thread did not start|no reader/.test(message.text()) && warnings.push(message.text()));
    const first = await loadOnThreads(page, hub.directUrl(QWEN3), "classic");
    expect(first.info).toMatchObject({ threads: 3, from: "network" });
    expect(first.info.threadsHint).toBeUndefined();
    const second = await loadOnThreads(page, hub.directUrl(QWEN3), "classic");
    expect(second).toMatchObject({ info: { threads: 3, from: "cache" }, tokens: 4 });
    expect(warnings).toEqual([]);
  } finally {
    await classic.close();
  }
});

test("a trap is told as what it means, in the words of each browser", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const trap = new WebAssembly.RuntimeError(decodeURIComponent(self.location.search.slice(1)));
    if (trap.message) addEventListener("message", () => void Promise.reject(trap), { once: true });
  });
  try {
    await page.goto(site.url);
    const code = (trap: string) => page.evaluate(async ({ trap, url }) => {
      const { Engine, QwenletError, setWorkerFactory } = (await import(`${location.origin}/pkg/index.js`)) as Api;
      setWorkerFactory((build) => new Worker(`/pkg/worker-${build}.js?${encodeURIComponent(trap)}`, { type: "module" }));
      return Engine.load(url).then(() => "none", (e: unknown) => (e instanceof QwenletError ? e.code : String(e)));
    }, { trap, url: hub.directUrl(QWEN3) });
    expect(await code("unreachable")).toBe("out-of-memory"); // Chromium
    expect(await code("unreachable executed")).toBe("out-of-memory"); // Firefox
    expect(await code("Unreachable code should not be executed")).toBe("out-of-memory"); // Safari
    expect(await code("memory access out of bounds")).toBe("internal");
  } finally {
    await site.close();
  }
});

test("a thread that the browser never runs is done without, after a while", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const Real = self.Worker;
    let mute = true;
    self.Worker = class extends Real {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        if (options?.name !== "qwenlet thread" || !mute) return;
        mute = false; // the second one runs
        this.terminate();
      }
    };
  }, "--coi");
  try {
    await page.goto(site.url);
    const { info, tokens } = await loadOnThreads(page, hub.directUrl(QWEN3), "module");
    expect(info.threads).toBe(2);
    expect(info.threadsHint).toMatch(/^Threads that run: 2 of 3\./);
    expect(tokens).toBe(4);
  } finally {
    await site.close();
  }
});

test("where threads do not start, the engine says so and answers on one", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    if (self.name === "qwenlet thread") throw new Error("no thread today");
  }, "--coi");
  try {
    await page.goto(site.url);
    const { info, tokens } = await loadOnThreads(page, hub.directUrl(QWEN3), "module");
    expect(info.threads).toBe(1);
    expect(info.threadsHint).toMatch(/^Threads that run: 1 of 3\./);
    expect(tokens).toBe(4);
  } finally {
    await site.close();
  }
});
