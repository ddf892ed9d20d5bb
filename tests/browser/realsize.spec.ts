// A model of real size, where one is named: QWENLET_REAL_MODEL=model.gguf cargo xtask test build browser
// Its memory is bounded, and it comes back from the cache without the network.

import { existsSync, statSync } from "node:fs";
import { basename } from "node:path";
import { expect, test as base, type Api, type Hub } from "./fixtures.ts";
import { startHub } from "./hub.mjs";

const file = process.env["QWENLET_REAL_MODEL"] ?? "";
const bytes = existsSync(file) ? statSync(file).size : 0;

const test = base.extend<{ real: Hub }>({
  real: async ({}, use) => {
    const hub = await startHub(bytes > 0 ? { [basename(file)]: file } : {});
    await use(hub);
    await hub.close();
  },
});

for (const [backend, limit] of [["cpu", 1.25 * bytes], ["webgpu", 200e6]] as const) {
  test(`${backend}: a model of real size loads, answers and stays within its memory`, async ({ page, site, real }) => {
    test.skip(bytes === 0, "skipped: QWENLET_REAL_MODEL names no file");
    test.setTimeout(15 * 60_000);
    await page.goto(site.url);
    const run = (source: string | { cached: string }) => page.evaluate(async ({ source, backend }) => {
      const { Engine, Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
      const fit = await Engine.fits(source, { backend });
      const start = performance.now();
      const engine = await Engine.load(source, { backend });
      const load_s = (performance.now() - start) / 1000;
      const answer = await engine.completions.create({ prompt: "Once upon a time", max_tokens: 4, temperature: 0, ignore_eos: true, return_token_ids: true });
      const memory = await engine.memory();
      await engine.unload();
      const cached = (await Cache.list())[0];
      return { fit, load_s, ids: answer.choices[0]?.token_ids, stats: answer.stats, memory, cached };
    }, { source, backend });
    const first = await run(real.directUrl(basename(file)));
    expect(first.ids).toHaveLength(4);
    expect(first.memory.wasmBytes).toBeLessThan(limit);
    // What was reckoned before the download is enough, with every page of state that these few tokens do not need.
    expect(first.fit).toMatchObject({ fits: true, problems: [] });
    expect(first.memory.wasmBytes).toBeLessThanOrEqual(first.fit.needs.wasm);
    expect(first.cached).toMatchObject({ complete: true, bytes });
    real.reset();
    const second = await run({ cached: first.cached!.id });
    expect(real.log).toEqual([]);
    expect(second.ids).toEqual(first.ids);
    expect(second.memory.wasmBytes).toBeLessThan(limit);
    for (const [from, r] of [["network", first], ["cache", second]] as const) {
      console.log(JSON.stringify({
        file: basename(file), bytes, backend, from, load_s: r.load_s, wasm_bytes: r.memory.wasmBytes, wasm_reckoned: r.fit.needs.wasm, kv_reckoned: r.fit.needs.kv, backend_bytes: r.memory.backendBytes,
        prefill_tok_per_s: r.stats.prefill_tokens / r.stats.prefill_seconds, decode_tok_per_s: r.stats.decode_tokens / r.stats.decode_seconds,
      }));
    }
  });
}
