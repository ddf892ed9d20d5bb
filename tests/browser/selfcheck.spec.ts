// A GPU that computes wrongly, played by shaders that are damaged on their way to it.

import { expect, test, type Api } from "./fixtures.ts";
import { serveHooked } from "./hooked.ts";
import { QWEN2 } from "./models.ts";

/** Damages the products of these kernels. */
function damage(kernels: RegExp): () => void {
  const text = `() => {
    const { prototype } = GPUDevice;
    const { createShaderModule } = prototype;
    prototype.createShaderModule = function (descriptor) {
      const code = ${kernels}.test(descriptor.label) ? descriptor.code.replaceAll("+ dot(", "+ 1.25 * dot(") : descriptor.code;
      return createShaderModule.call(this, { ...descriptor, code });
    };
  }`;
  return { toString: () => text } as unknown as () => void;
}

const FUSED = /^(normed|gated) matvec/;
const ALL = /matvec/;

test("the plain kernels take over where others compute wrongly", async ({ page, hub }) => {
  const site = await serveHooked(damage(FUSED));
  await page.goto(site.url);
  const { right, wrong } = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const load = async (backend: "webgpu" | "cpu") => {
      const engine = await Engine.load(url, { backend, cache: false });
      const { choices } = await engine.completions.create({ prompt: [5, 17, 99], max_tokens: 8, temperature: 0, ignore_eos: true, return_token_ids: true });
      const { info } = engine;
      await engine.unload();
      return { info, ids: choices[0]!.token_ids! };
    };
    return { wrong: await load("webgpu"), right: await load("cpu") };
  }, hub.directUrl(QWEN2));
  await site.close();
  expect(wrong.info.backend).toBe("webgpu");
  expect(wrong.info.selfCheck?.plainKernels).toContain("wrong results");
  expect(wrong.info.selfCheck?.relativeError).toBeLessThan(1e-3);
  expect(right.info.selfCheck).toBeFalsy();
  expect(wrong.ids).toEqual(right.ids);
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

test("a GPU that computes rightly passes", async ({ page, hub, site }) => {
  await page.goto(site.url);
  const check = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "webgpu", cache: false });
    await engine.unload();
    return engine.info.selfCheck;
  }, hub.directUrl(QWEN2));
  expect(check?.relativeError).toBeLessThan(1e-3);
  expect(check?.plainKernels).toBeFalsy();
});
