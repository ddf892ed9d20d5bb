// The package in the page, as a program uses it: /pkg/index.js imported in the console.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, ROOT, test, type Api } from "./fixtures.ts";
import { serveHooked } from "./hooked.ts";
import { modelPath, QWEN2, QWEN3 } from "./models.ts";

/** What the native engine answers. A test of WebGPU is skipped where the machine has no adapter, but not in CI. */
function native(model: string, backend: string, ...options: string[]): { ids: number[]; text: string } {
  const args = ["generate", modelPath(model), "--backend", backend, "--precision", "exact", ...options];
  const run = spawnSync(join(ROOT, "target/release/examples/qwenlet"), args, { encoding: "utf8" });
  if (run.status === 0) return JSON.parse(run.stdout.trimEnd().split("\n").at(-1)!) as { ids: number[]; text: string };
  test.skip(run.stderr.includes('"no-webgpu"') && process.env["CI"] === undefined, "no native WebGPU adapter to compare with");
  throw new Error(`qwenlet ${args.join(" ")}: ${run.stderr || run.error}`);
}

test.beforeEach(async ({ page, site }) => {
  await page.goto(site.url);
});

for (const backend of ["cpu", "webgpu"] as const) {
  for (const model of [QWEN3, QWEN2]) {
    test(`${backend}, ${model}: the same tokens as the native engine, greedy and sampled`, async ({ page, hub }) => {
      const got = await page.evaluate(async ({ url, backend }) => {
        const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
        const engine = await Engine.load(url, { backend, precision: "exact", cache: false });
        const common = { prompt: [5, 17, 99, 300, 42, 7, 8], max_tokens: 24, ignore_eos: true, return_token_ids: true };
        const greedy = await engine.completions.create({ ...common, temperature: 0 });
        const sampled = await engine.completions.create({ ...common, temperature: 0.9, top_k: 40, top_p: 0.95, seed: 1234 });
        const info = engine.info;
        const memory = await engine.memory();
        await engine.unload();
        return { info, memory, usage: greedy.usage, greedy: greedy.choices[0]?.token_ids, sampled: sampled.choices[0]?.token_ids };
      }, { url: hub.directUrl(model), backend });
      expect(got.info.backend).toBe(backend);
      expect(got.info.why).not.toBe("");
      if (backend === "webgpu") {
        expect(got.info.selfCheck).toMatchObject({ kernels: "exact", failed: [] });
        expect(got.info.selfCheck?.relativeError).toBeLessThan(1e-3);
      }
      expect(got.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 24, total_tokens: 31 });
      const ids = ["--ids", "5,17,99,300,42,7,8", "--max-tokens", "24", "--ignore-eos"];
      expect(got.greedy).toEqual(native(model, backend, ...ids, "--temperature", "0").ids);
      expect(got.sampled).toEqual(native(model, backend, ...ids, "--temperature", "0.9", "--top-k", "40", "--top-p", "0.95", "--seed", "1234").ids);
      expect(got.memory.wasmBytes).toBeGreaterThan(0);
      expect(got.memory.wasmBytes).toBeLessThan(200e6);
    });
  }
}

test("two tabs load the same model at once", async ({ page, context, hub, site }) => {
  const other = await context.newPage();
  await other.goto(site.url);
  const load = (tab: typeof page) => tab.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "cpu" });
    const answer = await engine.completions.create({ prompt: "Hello", max_tokens: 12, temperature: 0, ignore_eos: true, return_token_ids: true });
    await engine.unload();
    return answer.choices[0]?.token_ids;
  }, hub.directUrl(QWEN3, "fault=slow&ms=20"));
  const [one, two] = await Promise.all([load(page), load(other)]);
  expect(one).toHaveLength(12);
  expect(two).toEqual(one);
  // What they left in the cache is one whole model.
  hub.reset();
  const kept = await page.evaluate(async () => {
    const { Engine, Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const list = await Cache.list();
    const engine = await Engine.load({ cached: list[0]!.id }, { backend: "cpu" });
    const answer = await engine.completions.create({ prompt: "Hello", max_tokens: 12, temperature: 0, ignore_eos: true, return_token_ids: true });
    await engine.unload();
    return { list, ids: answer.choices[0]?.token_ids };
  });
  expect(kept.list).toHaveLength(1);
  expect(kept.list[0]).toMatchObject({ complete: true, bytes: statSync(modelPath(QWEN3)).size });
  expect(kept.ids).toEqual(one);
  expect(hub.log).toEqual([]);
});

test("unload and load again; an unloaded engine says so", async ({ page, hub }) => {
  const got = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const answers: (number[] | undefined)[] = [];
    let last: Awaited<ReturnType<typeof Engine.load>> | undefined;
    for (let i = 0; i < 3; i++) {
      const engine = await Engine.load(url, { backend: "cpu" });
      const answer = await engine.completions.create({ prompt: "Once", max_tokens: 8, temperature: 0, ignore_eos: true, return_token_ids: true });
      answers.push(answer.choices[0]?.token_ids);
      await engine.unload();
      last = engine;
    }
    const disposable = await Engine.load(url, { backend: "cpu" });
    await disposable[Symbol.asyncDispose](); // what `await using` does
    const code = (engine: typeof disposable): Promise<string> => engine.tokenize("x").then(() => "none", (e: { code: string }) => e.code);
    return { answers, codes: [await code(last!), await code(disposable)] };
  }, hub.directUrl(QWEN2));
  expect(got.answers[0]).toHaveLength(8);
  expect(got.answers[1]).toEqual(got.answers[0]);
  expect(got.answers[2]).toEqual(got.answers[0]);
  expect(got.codes).toEqual(["unloaded", "unloaded"]);
  expect(hub.log.filter((r) => r.status === 206)).toHaveLength(1); // the second and third came from the cache
});

test("streams can be left, aborted and queued", async ({ page, hub }) => {
  const got = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "cpu" });
    delete (AbortSignal as { any?: unknown }).any; // Firefox before 124 and Safari before 17.4 have none
    const messages = [{ role: "user" as const, content: "Hello" }];
    const long = { messages, stream: true as const, ignore_eos: true, max_tokens: 400, temperature: 0 };

    let left = 0;
    for await (const _ of await engine.chat.completions.create(long)) if (++left === 3) break;

    const abort = new AbortController();
    let aborted = "none";
    let seen = 0;
    try {
      for await (const _ of await engine.chat.completions.create(long, { signal: abort.signal })) if (++seen === 3) abort.abort();
    } catch (e) {
      aborted = (e as { code: string }).code;
    }

    const whole = { messages, max_tokens: 6, temperature: 0, ignore_eos: true };
    const [a, b] = await Promise.all([engine.chat.completions.create(whole), engine.chat.completions.create(whole)]);
    const pieces: string[] = [];
    let usage;
    for await (const chunk of await engine.chat.completions.create({ ...whole, stream: true, stream_options: { include_usage: true } })) {
      pieces.push(chunk.choices[0]?.delta.content ?? "");
      usage = chunk.usage ?? usage;
    }
    const counted = await engine.countTokens(messages);
    const round = await engine.detokenize(await engine.tokenize("Grüße, 世界 🙂"));
    await engine.unload();
    return { left, seen, aborted, a: a.choices[0]?.message.content, b: b.choices[0]?.message.content, streamed: pieces.join(""), usage, counted, round };
  }, hub.directUrl(QWEN3));
  expect(got.left).toBe(3);
  expect(got.aborted).toBe("aborted");
  expect(got.seen).toBeLessThan(400);
  expect(got.b).toBe(got.a);
  expect(got.streamed).toBe(got.a);
  expect(got.usage).toMatchObject({ prompt_tokens: got.counted, completion_tokens: 6 });
  expect(got.round).toBe("Grüße, 世界 🙂");
});

test("texts are counted and read while an answer is made", async ({ page, hub }) => {
  const got = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const engine = await Engine.load(url, { backend: "cpu" });
    const messages = [{ role: "user" as const, content: "Hello" }];
    const abort = new AbortController();
    let ended = false;
    let begin!: () => void;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const answering = (async () => {
      const stream = await engine.completions.create({ prompt: "Once", max_tokens: 400, ignore_eos: true, stream: true }, { signal: abort.signal });
      for await (const _ of stream) begin();
      return "whole";
    })().catch((e: { code: string }) => e.code).finally(() => (ended = true));
    await begun;
    const [counted, text] = await Promise.all([engine.countTokens(messages), engine.detokenize([40, 41, 42])]);
    const before = !ended;
    abort.abort();
    const end = await answering;
    const after = [await engine.countTokens(messages), await engine.detokenize([40, 41, 42])];
    await engine.unload();
    return { before, end, during: [counted, text], after };
  }, hub.directUrl(QWEN3));
  expect(got.before).toBe(true);
  expect(got.end).toBe("aborted");
  expect(got.during).toEqual(got.after);
});

test("a cancelled request ends though the worker hangs, and as cancelled where the engine is unloaded meanwhile", async ({ page, hub }) => {
  const hung = await serveHooked(() => {
    self.addEventListener("message", ({ data }: MessageEvent<{ path?: string[] }>) => {
      if (data.path?.[0] === "generate") for (;;);
    });
  });
  try {
    await page.goto(hung.url);
    const codes = await page.evaluate(async (url) => {
      const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
      const engine = await Engine.load(url, { backend: "cpu" });
      const ask = async (then: () => void): Promise<string> => {
        const abort = new AbortController();
        const answer = engine.completions.create({ prompt: "Hi" }, { signal: abort.signal });
        await new Promise((resolve) => setTimeout(resolve)); // it is with the worker by then
        abort.abort();
        then();
        return answer.then(() => "none", (e: { code: string }) => e.code);
      };
      return [await ask(() => {}), await ask(() => void engine.unload())];
    }, hub.directUrl(QWEN3));
    expect(codes).toEqual(["aborted", "aborted"]);
  } finally {
    await hung.close();
  }
});

test("an engine and messages in a reactive framework's proxies", async ({ page, hub }) => {
  const got = await page.evaluate(async (url) => {
    const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    // As of Vue's `ref`.
    const reactive = <T extends object>(value: T): T => new Proxy(value, {
      get: (target, key, receiver) => {
        const got: unknown = Reflect.get(target, key, receiver);
        return typeof got === "object" && got !== null ? reactive(got) : got;
      },
    });
    const engine = reactive(await Engine.load(url, { backend: "cpu" }));
    const messages = reactive([{ role: "user" as const, content: "Hi" }]);
    const round = await engine.detokenize(reactive(await engine.tokenize("Hi")));
    const answer = await engine.chat.completions.create({ messages, max_tokens: 4, ignore_eos: true });
    const counted = await engine.countTokens(messages);
    const { wasmBytes } = await engine.memory();
    const unclonable = await engine.tokenize((() => {}) as unknown as string).then(() => "none", (e: { code: string }) => e.code);
    await engine.unload();
    const after = await engine.tokenize("x").then(() => "none", (e: { code: string }) => e.code);
    return { round, usage: answer.usage, counted, wasmBytes, unclonable, after };
  }, hub.directUrl(QWEN3));
  expect(got).toMatchObject({ round: "Hi", usage: { prompt_tokens: got.counted, completion_tokens: 4 }, unclonable: "invalid-argument", after: "unloaded" });
  expect(got.wasmBytes).toBeGreaterThan(0);
});

test("bad requests fail with typed errors", async ({ page, hub }) => {
  const got = await page.evaluate(async (hub) => {
    const { Engine, QwenletError } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const code = async (run: () => Promise<unknown>): Promise<string> => {
      try {
        await run();
        return "none";
      } catch (e) {
        return e instanceof QwenletError ? `${e.code}${e.message ? "" : " without a message"}` : `untyped ${String(e)}`;
      }
    };
    const engine = await Engine.load(hub.good, { backend: "cpu", contextLength: 64 });
    const messages = [{ role: "user" as const, content: "Hi" }];
    const any = <T>(value: unknown): T => value as T;
    const abort = new AbortController();
    const codes: Record<string, string> = {
      temperature: await code(() => engine.chat.completions.create({ messages, temperature: -1 })),
      top_p: await code(() => engine.chat.completions.create({ messages, top_p: 2 })),
      max_tokens: await code(() => engine.chat.completions.create({ messages, max_tokens: -5 })),
      messages: await code(() => engine.chat.completions.create(any({ messages: "hello" }))),
      empty: await code(() => engine.completions.create({ prompt: [] })),
      token: await code(() => engine.completions.create({ prompt: [4_000_000_000] })),
      context: await code(() => engine.completions.create({ prompt: Array.from({ length: 100 }, () => 5), max_tokens: 1 })),
      backend: await code(() => Engine.load(hub.good, any({ backend: "npu" }))),
      catalogue: await code(() => Engine.load("no-such-model")),
      source: await code(() => Engine.load(any(42))),
      missing: await code(() => Engine.load(hub.missing)),
      stalled: await code(() => {
        setTimeout(() => abort.abort(), 300);
        return Engine.load(hub.stalled, { signal: abort.signal });
      }),
      garbage: await code(() => Engine.load(new Blob([new Uint8Array(5000).fill(7)]))),
      short: await code(async () => Engine.load((await (await fetch(hub.good)).blob()).slice(0, 200_000))),
    };
    // After all that the engine still answers.
    codes["after"] = await code(() => engine.completions.create({ prompt: "Hi", max_tokens: 2 }));
    await engine.unload();
    return codes;
  }, { good: hub.directUrl(QWEN3), missing: hub.directUrl("nothing.gguf"), stalled: hub.directUrl(QWEN3, "fault=stall&after=200000") });
  expect(got).toEqual({
    temperature: "invalid-argument", top_p: "invalid-argument", max_tokens: "invalid-argument", messages: "invalid-argument",
    empty: "invalid-argument", token: "invalid-argument", context: "context-full", backend: "invalid-argument",
    catalogue: "invalid-argument", source: "invalid-argument", missing: "http-status", stalled: "aborted", garbage: "invalid-gguf",
    short: "truncated-file", after: "none",
  });
});

test("of an address that is never the same again no copy stays, but under an id", async ({ page, hub }) => {
  const got = await page.evaluate(async (url) => {
    const { Engine, Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const blob = await (await fetch(url)).blob();
    // The site's policy lets nothing else read it.
    const source = { url: URL.createObjectURL(blob), fetch: () => Promise.resolve(new Response(blob)) };
    const load = async (id: object) => {
      const engine = await Engine.load({ ...source, ...id }, { backend: "cpu" });
      await engine.unload();
      return [engine.info.cacheId, (await Cache.list()).map((m) => m.id)];
    };
    const [without, required] = [await load({}), await Cache.download(source).then(() => "none", (e: { code: string }) => e.code)];
    return { without, required, under: await load({ id: "mine" }) };
  }, hub.directUrl(QWEN3));
  expect(got).toEqual({ without: [undefined, []], required: "invalid-argument", under: ["mine", ["mine"]] });
});

test("a full storage: required is an error, otherwise a warning", async ({ page, hub, site }) => {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 100_000 });
  const got = await page.evaluate(async (url) => {
    const { Engine, Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const required = await Engine.load(url, { backend: "cpu", cache: "required" }).then(() => "none", (e: { code: string }) => e.code);
    const warnings: string[] = [];
    const engine = await Engine.load(url, { backend: "cpu", onWarning: (w) => warnings.push(w.code) });
    const answer = await engine.completions.create({ prompt: "Hi", max_tokens: 4, ignore_eos: true });
    await engine.unload();
    return { required, warnings, tokens: answer.usage.completion_tokens, complete: (await Cache.list()).filter((m) => m.complete).length };
  }, hub.directUrl(QWEN3));
  expect(got).toEqual({ required: "quota-exceeded", warnings: ["quota-exceeded"], tokens: 4, complete: 0 });
});

test("what this browser can do", async ({ page }) => {
  const got = await page.evaluate(async () => ((await import(`${location.origin}/pkg/index.js`)) as Api).Engine.probe());
  expect(got.simd).toBe(true);
  expect(got.webgpu.available).toBe(true); // the tests run with a software adapter
  expect(got.threads.crossOriginIsolated).toBe(false); // the page needs no special headers
});
