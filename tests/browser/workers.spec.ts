// Where the package's workers come from, and what they are.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, ROOT, test, type Api } from "./fixtures.ts";
import { QWEN3 } from "./models.ts";

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
