// Whether a model fits, said before it is fetched.

import { statSync } from "node:fs";
import { BOUNDLESS, expect, test, type Api } from "./fixtures.ts";
import { modelPath, QWEN3, splitPart } from "./models.ts";

test.beforeEach(async ({ page, site }) => {
  await page.goto(site.url);
});

type FitArguments = { source: string; options: Parameters<Api["Engine"]["fits"]>[1] };
const fits = (page: import("@playwright/test").Page, source: string, options: FitArguments["options"] = {}) =>
  page.evaluate(async ({ source, options }: FitArguments) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    return Engine.fits(source, options);
  }, { source, options });

test("a model of the catalogue is judged without a request", async ({ page, site }) => {
  const requests: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  const fit = await fits(page, "qwen3-0.6b-q8_0", { backend: "cpu" });
  expect(fit).toMatchObject({ fits: true, guess: false, backend: "cpu", contextLength: 4096, problems: [], keeps: true });
  expect(fit.needs.storage).toBe(639_446_688);
  // The file but for its header.
  expect(639_446_688 - fit.needs.weights).toBeGreaterThan(5e6);
  expect(639_446_688 - fit.needs.weights).toBeLessThan(7e6);
  expect(fit.needs.wasm).toBeGreaterThan(fit.needs.weights + fit.needs.kv + fit.needs.scratch);
  expect(fit.needs.gpu).toBe(0);
  expect(fit.has.wasm).toBe(2 ** 32);
  const gpu = await fits(page, "qwen3-0.6b-q8_0", { backend: "webgpu" });
  expect(gpu.needs.gpu).toBe(gpu.needs.weights + gpu.needs.kv + gpu.needs.scratch);
  expect(gpu.has.gpu!.maxBufferSize).toBeGreaterThan(0);
  // The software adapter of these tests is not what "auto" takes.
  expect((await fits(page, "qwen3-0.6b-q8_0")).backend).toBe("cpu");
  expect(requests.filter((url) => !url.startsWith(site.url))).toEqual([]);
});

test("what does not fit comes with what would", async ({ page }) => {
  const long = await fits(page, "qwen3-4b-q4_k_m", { backend: "cpu", contextLength: 40_960 });
  expect(long).toMatchObject({ fits: false, guess: false });
  expect(long.problems.map((p) => p.limit)).toEqual(["wasm-memory"]);
  const [shorter] = long.suggestions;
  expect(shorter!.kind).toBe("context");
  const contextLength = shorter!.kind === "context" ? shorter!.contextLength : 0;
  expect((await fits(page, "qwen3-4b-q4_k_m", { backend: "cpu", contextLength })).fits).toBe(true);
  expect(long.why).toContain(`use a context of ${contextLength} tokens`);

  const absurd = await fits(page, "qwen3-0.6b-q8_0", { backend: "cpu", contextLength: 10_000_000 });
  expect(absurd.problems.map((p) => p.limit)).toContain("context");
  expect(absurd.suggestions[0]!.kind).toBe("context");

  // Other devices, by what their browsers would say.
  const there = await page.evaluate(async () => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const here = await Engine.probe();
    const gpu = { available: true, adapter: "phone", software: false, maxBufferSize: 256 << 20, maxStorageBufferBindingSize: 128 << 20 };
    const small = { ...gpu, maxStorageBufferBindingSize: 64 << 20 };
    const phone = { ...here, webgpu: gpu, device: { memory: 4 * 2 ** 30, phone: "ios" as const } };
    return {
      phone: await Engine.fits("qwen2.5-1.5b-instruct-q4_k_m", { capabilities: phone }),
      bound: await Engine.fits("qwen3-4b-q4_k_m", { backend: "webgpu", contextLength: 40_960, capabilities: { ...here, webgpu: small } }),
    };
  });
  expect(there.phone).toMatchObject({ fits: false, guess: true, backend: "webgpu" });
  expect(there.phone.problems[0]!.text).toContain("iOS");
  expect(there.phone.suggestions).toContainEqual({ kind: "model", id: "qwen2.5-0.5b-instruct-q8_0" });
  expect(there.bound.problems.map((p) => p.limit)).toEqual(["gpu-buffer"]);
});

test("storage counts: what is free, and what is there already", async ({ page, hub }) => {
  // Chromium tells sites the same 10 GiB whatever the quota is (an override shows in writes only): a browser that tells.
  const here = await page.evaluate(async () => ((await import(`${location.origin}/pkg/index.js`)) as Api).Engine.probe());
  const capabilities = { ...here, storage: { ...here.storage, usage: 0, quota: 300_000_000 } };
  const auto = await fits(page, "qwen3-0.6b-q8_0", { backend: "cpu", capabilities });
  expect(auto).toMatchObject({ fits: true, keeps: false });
  expect(auto.why).toContain("without being kept");
  const required = await fits(page, "qwen3-0.6b-q8_0", { backend: "cpu", cache: "required", capabilities });
  expect(required.problems.map((p) => p.limit)).toEqual(["storage"]);
  expect(required.suggestions).toEqual([{ kind: "storage", bytes: 639_446_688 - 300_000_000 }]);
  const off = await fits(page, "qwen3-0.6b-q8_0", { backend: "cpu", cache: false, capabilities });
  expect(off.keeps).toBeUndefined();
  expect(off.needs.storage).toBeUndefined();

  const url = hub.directUrl(QWEN3);
  expect((await fits(page, url, { backend: "cpu" })).needs.storage).toBe(statSync(modelPath(QWEN3)).size);
  await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    await (await Engine.load(url, { backend: "cpu" })).unload();
  }, url);
  hub.reset();
  expect((await fits(page, url, { backend: "cpu" })).needs.storage).toBe(0);
  expect(hub.log).toEqual([]); // the copy has the header too
});

test("of another model only the header is read, and nothing is kept", async ({ page, hub }) => {
  for (const backend of ["cpu", "webgpu"] as const) {
    hub.reset();
    const got = await page.evaluate(async ({ url, backend }) => {
      const { Engine, Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
      const fit = await Engine.fits(url, { backend });
      const kept = await Cache.list();
      const engine = await Engine.load(url, { backend, cache: false });
      const { memoryBytes, contextLength } = engine.info;
      await engine.unload();
      return { fit, kept, memoryBytes, contextLength };
    }, { url: hub.hubUrl(QWEN3), backend });
    expect(got.kept).toEqual([]);
    // One request for the header, for no more than it may take; then the load's.
    expect(hub.log.filter((r) => r.path.startsWith("/cdn/")).map((r) => r.range)).toEqual(["bytes=0-8388607", "bytes=0-"]);
    const { weights, kv, scratch } = got.fit.needs;
    expect(got.fit.contextLength).toBe(got.contextLength);
    // The CPU makes pages of state when they are needed; the GPU has some kilobytes of parameters on top.
    if (backend === "cpu") expect(got.memoryBytes).toBe(weights + scratch);
    else expect(Math.abs(got.memoryBytes - weights - kv - scratch)).toBeLessThan(100_000);
  }
});

test("files are judged by their headers too, all parts of them", async ({ page, hub }) => {
  const got = await page.evaluate(async ({ whole, parts }) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const file = async (url: string) => new File([await (await fetch(url)).blob()], url.split("/").pop()!);
    const split = await Promise.all(parts.map(file));
    const bytes = split.reduce((n, f) => n + f.size, 0);
    const code = (e: { code: string }) => e.code;
    return {
      bytes, one: await Engine.fits(await file(whole), { backend: "cpu" }), split: await Engine.fits(split, { backend: "cpu" }),
      garbage: await Engine.fits(new Blob([new Uint8Array(5000).fill(7)])).then(() => "none", code),
      aborted: await Engine.fits(whole, { signal: AbortSignal.abort() }).then(() => "none", code),
      missing: await Engine.fits(whole.replace("qwen3", "qwen9")).then(() => "none", code),
    };
  }, { whole: hub.directUrl(QWEN3), parts: [1, 2, 3].map((n) => hub.directUrl(splitPart(n))) });
  expect(got.one).toMatchObject({ fits: true, problems: [] });
  expect(got.split.needs.storage).toBe(got.bytes);
  expect(got).toMatchObject({ garbage: "invalid-gguf", aborted: "aborted", missing: "http-status" });
});

test("a load refuses what cannot fit, in the same words, before the weights", async ({ page, hub }) => {
  const got = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const options = { backend: "cpu" as const, contextLength: 4_000_000 };
    const phases = new Set<string>();
    const error = await Engine.load(url, { ...options, onProgress: (p) => phases.add(p.phase) }).then(() => undefined, (e: { code: string; message: string }) => ({ code: e.code, message: e.message }));
    return { error, phases: [...phases], fit: await Engine.fits(url, options) };
  }, hub.directUrl(BOUNDLESS));
  expect(got.fit.problems.map((p) => p.limit)).toEqual(["wasm-memory"]);
  expect(got.error).toEqual({ code: "out-of-memory", message: got.fit.why });
  expect(got.error!.message).toContain("use a context of");
  expect(got.phases).toEqual(["header"]);
});
