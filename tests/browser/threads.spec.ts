// Threads, where the page is cross-origin isolated; one thread, and a word on how to get more, where it is not.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expect, ROOT, serve, test, type Api, type Site } from "./fixtures.ts";
import { QWEN2, QWEN3 } from "./models.ts";

const isolatedTest = test.extend<object, { isolated: Site }>({
  isolated: [async ({}, use) => {
    const site = await serve("--coi");
    await use(site);
    await site.close();
  }, { scope: "worker" }],
});

interface Options {
  backend: "cpu" | "webgpu";
  threads?: number;
  variant?: "simd" | "relaxed";
}

/** Loads a model and lets it answer; in the page. */
const answer = async ({ url, options }: { url: string; options: Options }) => {
  const { Engine, Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
  const engine = await Engine.load(url, options);
  const prompt = Array.from({ length: 150 }, (_, i) => (37 * i) % 400 + 3);
  const result = await engine.completions.create({ prompt, max_tokens: 24, temperature: 0, ignore_eos: true, return_token_ids: true, logprobs: 2 });
  await engine.unload();
  const choice = result.choices[0]!;
  return { isolated: crossOriginIsolated, info: engine.info, ids: choice.token_ids, logprobs: choice.logprobs, cached: (await Cache.list()).map((m) => m.complete) };
};

const run = (page: Page, url: string, options: Options) => page.evaluate(answer, { url, options });

for (const model of [QWEN3, QWEN2]) {
  for (const variant of ["simd", "relaxed"] as const) {
    isolatedTest(`${variant}, ${model}: two and four threads answer as one does, bit for bit`, async ({ page, hub, isolated }) => {
      await page.goto(isolated.url);
      const url = hub.directUrl(model);
      const one = await run(page, url, { backend: "cpu", threads: 1, variant });
      expect(one.isolated).toBe(true);
      expect(one.info.threads).toBe(1);
      expect(one.info.threadsHint).toBeUndefined();
      expect(one.info.features.includes("relaxed-simd")).toBe(variant === "relaxed");
      for (const threads of [2, 4]) {
        const many = await run(page, url, { backend: "cpu", threads, variant });
        expect(many.info.threads).toBe(threads);
        expect(many.info.from).toBe("cache"); // what shared memory holds can be stored and read back
        expect(many.ids).toEqual(one.ids);
        expect(many.logprobs).toEqual(one.logprobs);
      }
    });
  }
}

isolatedTest("with shared memory a download is stored, verified and found again", async ({ page, hub, isolated }) => {
  await page.goto(isolated.url);
  const load = () => run(page, hub.hubUrl(QWEN3), { backend: "cpu", threads: 2 });
  const first = await load();
  expect(first.info.from).toBe("network");
  expect(first.cached).toEqual([true]);
  hub.reset();
  const second = await load();
  expect(second.info.from).toBe("cache");
  expect(hub.sent()).toBe(0);
  expect(second.ids).toEqual(first.ids);
});

isolatedTest("threads are used without asking, and on the GPU there are none", async ({ page, hub, isolated }) => {
  await page.goto(isolated.url);
  const url = hub.directUrl(QWEN3);
  const cpu = await run(page, url, { backend: "cpu" });
  const { hardwareConcurrency, threads } = await page.evaluate(async () => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    return { hardwareConcurrency: navigator.hardwareConcurrency, threads: (await Engine.probe()).threads };
  });
  expect(threads).toMatchObject({ available: true, default: cpu.info.threads });
  expect(cpu.info.threads > 1).toBe(hardwareConcurrency > 1);
  const gpu = await run(page, url, { backend: "webgpu", threads: 4 });
  expect(gpu.info).toMatchObject({ backend: "webgpu", threads: 1 });
});

test("a page that is not isolated has one thread and is told why", async ({ page, hub, site }) => {
  await page.goto(site.url);
  const got = await run(page, hub.directUrl(QWEN3), { backend: "cpu", threads: 4 });
  expect(got.isolated).toBe(false);
  expect(got.info.threads).toBe(1);
  expect(got.info.threadsHint).toMatch(/Cross-Origin-Opener-Policy: same-origin.*qwenlet\/coi/);
});

test("qwenlet/coi isolates a page whose host sets no headers", async ({ page, hub, site }) => {
  // A page of its own beside the site: the site's own page has a service worker already.
  const file = join(ROOT, "dist/pkg/coi-test.html");
  writeFileSync(file, "<!doctype html><title>A plain page</title>");
  try {
    await page.goto(`${site.url}pkg/coi-test.html`);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    const reloaded = page.waitForEvent("load");
    await page.evaluate(async () => {
      const { isolate } = await import(`${location.origin}/pkg/coi.js`);
      void isolate("coi-sw.js");
    });
    await reloaded;
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    const again = await page.evaluate(async () => {
      const { isolate } = await import(`${location.origin}/pkg/coi.js`);
      return isolate("coi-sw.js");
    });
    expect(again).toBe(true);
    const got = await run(page, hub.directUrl(QWEN3), { backend: "cpu", threads: 2 });
    expect(got.info.threads).toBe(2);
  } finally {
    rmSync(file);
  }
});

test("qwenlet/coi says no where it cannot isolate the page", async ({ page, site }) => {
  const folder = join(ROOT, "dist/pkg/coi-refused");
  mkdirSync(folder);
  try {
    writeFileSync(join(folder, "page.html"), "<!doctype html><title>A plain page</title>");
    mkdirSync(join(folder, "deeper"));
    writeFileSync(join(folder, "deeper/elsewhere.js"), "");
    writeFileSync(join(folder, "uninstallable.js"), 'addEventListener("install", (event) => event.waitUntil(Promise.reject(new Error("no"))));');
    await page.goto(`${site.url}pkg/coi-refused/page.html`);
    const warnings: string[] = [];
    page.on("console", (message) => message.type() === "warning" && warnings.push(message.text()));
    const refused = (script: string) => page.evaluate(async (script) => {
      const { isolate } = await import(`${location.origin}/pkg/coi.js`);
      return isolate(script);
    }, script);
    expect(await refused("missing.js")).toBe(false);
    expect(await refused("deeper/elsewhere.js")).toBe(false);
    expect(await refused("uninstallable.js")).toBe(false);
    await page.evaluate(() => Object.defineProperty(window, "sessionStorage", { get: () => { throw new DOMException("switched off", "SecurityError"); } }));
    expect(await refused("../coi-sw.js")).toBe(false);
    expect(warnings).toEqual([/missing\.js/, /not in .*deeper\//, /could not be installed/, /switched off/].map((why) => expect.stringMatching(why)));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
