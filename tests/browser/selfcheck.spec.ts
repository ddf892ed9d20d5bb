// A GPU that computes wrongly, played by shaders that are damaged on their way to it.

import { expect, test, type Api } from "./fixtures.ts";
import { serveHooked } from "./hooked.ts";
import { QWEN2 } from "./models.ts";

// The slowest tests: they are shared out one by one.
test.describe.configure({ mode: "parallel" });

/** Damages the products of these kernels. */
function damage(kernels: RegExp): () => void {
  const text = `() => {
    const { prototype } = GPUDevice;
    const { createShaderModule } = prototype;
    prototype.createShaderModule = function (descriptor) {
      const code = ${kernels}.test(descriptor.label) ? descriptor.code.replaceAll("+ dot(", "+ 1.25 * dot(").replaceAll("return x.scale", "return 1.25 * x.scale") : descriptor.code;
      return createShaderModule.call(this, { ...descriptor, code });
    };
  }`;
  return { toString: () => text } as unknown as () => void;
}

const CHUNK = 64 << 10;
const ROUNDED = /rounded/;
const FUSED = /^(normed|gated) matvec/;
const ALL = /matvec/;

for (const { kernels, precision, used } of [
  { kernels: ROUNDED, precision: "rounded", used: "exact" },
  { kernels: FUSED, precision: "exact", used: "plain" },
] as const) test(`the ${used} kernels take over where faster ones compute wrongly, and what is stored meanwhile is not fetched again`, async ({ page, hub }) => {
  const site = await serveHooked(damage(kernels));
  await page.goto(site.url);
  const before = hub.sent(QWEN2);
  const got = await page.evaluate(async ({ url, precision, chunkBytes }) => {
    const { Cache, Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const load = async (backend: "webgpu" | "cpu") => {
      const engine = await Engine.load({ url, id: "m" }, { backend, precision, cache: "required", transfer: { chunkBytes } });
      const { choices } = await engine.completions.create({ prompt: [5, 17, 99], max_tokens: 8, temperature: 0, ignore_eos: true, return_token_ids: true });
      const { info } = engine;
      await engine.unload();
      return { info, ids: choices[0]!.token_ids! };
    };
    const wrong = await load("webgpu");
    return { wrong, verified: await Cache.verify("m"), right: await load("cpu") };
  }, { url: hub.directUrl(QWEN2), precision, chunkBytes: CHUNK });
  const sent = hub.sent(QWEN2) - before;
  await site.close();
  const { right, verified, wrong } = got;
  expect(wrong.info).toMatchObject({ backend: "webgpu", selfCheck: { kernels: used } });
  expect(wrong.info.selfCheck?.failed.at(-1)).toContain("wrong results");
  expect(wrong.info.selfCheck?.relativeError).toBeLessThan(1e-3);
  expect(verified.ok).toBe(true);
  // What was under way when the first attempt ended is lost, and no more.
  expect(sent).toBeLessThan(hub.bytes(QWEN2).length + 4 * CHUNK);
  expect(right.info).toMatchObject({ backend: "cpu", from: "cache" });
  expect(right.info.selfCheck).toBeFalsy();
  expect(wrong.ids).toEqual(right.ids);
});

/** A call that the device refuses, once, when the model's own kernels are bound: its check has passed by then. */
const FAILS_LATER = `() => {
  const { createBindGroup } = GPUDevice.prototype;
  const { mapAsync } = GPUBuffer.prototype;
  let [checked, failed] = [false, false];
  GPUBuffer.prototype.mapAsync = function (...args) {
    checked = true;
    return mapAsync.apply(this, args);
  };
  GPUDevice.prototype.createBindGroup = function (descriptor) {
    if (checked && !failed) {
      failed = true;
      this.createBuffer({ size: 16, usage: 0 });
    }
    return createBindGroup.call(this, descriptor);
  };
}`;

test("a GPU that fails after its check is left for safer kernels", async ({ page, hub }) => {
  const site = await serveHooked({ toString: () => FAILS_LATER } as unknown as () => void);
  await page.goto(site.url);
  const { selfCheck, text } = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "webgpu", precision: "rounded", cache: false });
    const { choices } = await engine.completions.create({ prompt: [5, 17, 99], max_tokens: 2, temperature: 0, ignore_eos: true });
    await engine.unload();
    return { selfCheck: engine.info.selfCheck, text: choices[0]!.text };
  }, hub.directUrl(QWEN2));
  await site.close();
  expect(selfCheck?.kernels).toBe("exact");
  expect(selfCheck?.failed[0]).toContain("a GPU operation failed");
  expect(text).not.toBe("");
});

/** A driver that cannot compile the kernels that round, under hardware's name: what WebGPU calls an internal error. */
const CANNOT_COMPILE = `() => {
  const { createComputePipeline, popErrorScope } = GPUDevice.prototype;
  let failed = 0;
  GPUDevice.prototype.createComputePipeline = function (descriptor) {
    if (/rounded/.test(descriptor.label)) failed++;
    return createComputePipeline.call(this, descriptor);
  };
  GPUDevice.prototype.popErrorScope = async function () {
    const error = await popErrorScope.call(this);
    return failed && !error ? (failed = 0, new GPUInternalError("no such instruction")) : error;
  };
  const info = { vendor: "acme", architecture: "", device: "", description: "", isFallbackAdapter: false };
  Object.defineProperty(GPUAdapter.prototype, "info", { get: () => info });
}`;

test("a GPU that fails when it is tried is left for safer kernels, for a driver's own error too", async ({ page, hub }) => {
  const site = await serveHooked({ toString: () => CANNOT_COMPILE } as unknown as () => void);
  await page.goto(site.url);
  const info = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "webgpu", cache: false });
    await engine.unload();
    return engine.info;
  }, hub.directUrl(QWEN2));
  await site.close();
  expect(info).toMatchObject({ backend: "webgpu", selfCheck: { kernels: "exact" } });
  expect(info.selfCheck?.failed[0]).toContain("no such instruction");
});

test("a GPU on which nothing computes rightly is not used", async ({ page, hub }) => {
  const site = await serveHooked(damage(ALL));
  await page.goto(site.url);
  const error = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    return Engine.load(url, { backend: "webgpu", cache: false }).then(() => undefined, ({ code, message }) => ({ code, message }));
  }, hub.directUrl(QWEN2));
  await site.close();
  expect(error?.code).toBe("no-webgpu");
  expect(error?.message).toContain("wrong results");
});

test("a software GPU rounds unless it is told not to", async ({ page, hub, site }) => {
  await page.goto(site.url);
  const { selfCheck, features } = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "webgpu", cache: false });
    await engine.unload();
    return engine.info;
  }, hub.directUrl(QWEN2));
  expect(selfCheck).toMatchObject({ kernels: "rounded", failed: [] });
  expect(selfCheck?.relativeError).toBeLessThan(3e-2);
  expect(features).toEqual(["int8-decode", "int8-prefill"]);
});
