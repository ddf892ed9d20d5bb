// The package's parts that need no browser.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const pkg = join(root, "pkg");
const BUILDS = ["simd", "relaxed", "simd-threads", "relaxed-threads"];
let m;

before(async () => {
  const { buildSync } = createRequire(join(pkg, "package.json"))("esbuild");
  const stdin = {
    contents: ["answer", "catalogue", "errors", "fits", "reader", "request", "source", "stream"].map((n) => `export * from "./src/${n}.ts";`).join("\n"),
    resolveDir: pkg,
  };
  const { outputFiles } = buildSync({ stdin, bundle: true, format: "esm", write: false });
  m = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString("base64")}`);
});

const code = (expected, says) => (e) => {
  assert.ok(e instanceof m.QwenletError, String(e));
  assert.equal(e.code, expected);
  if (says) assert.match(e.message, says);
  return true;
};

suite("requests", () => {
  const messages = [{ role: "user", content: "hi" }];

  test("a chat request becomes what the engine takes", () => {
    const r = m.chatRequest({
      messages, model: "x", max_tokens: 3, max_completion_tokens: 5, temperature: 0, stop: "a", logprobs: true, top_logprobs: 2,
      logit_bias: { 7: -100 }, seed: 9, stream: true, stream_options: { include_usage: true }, enable_thinking: false,
      chat_template_kwargs: { x: 1 }, return_token_ids: true,
    });
    assert.deepEqual(r.prompt, { chat: { messages, kwargs: { x: 1, enable_thinking: false } } });
    assert.deepEqual(JSON.parse(JSON.stringify(r.options)), {
      max_tokens: 5, temperature: 0, logit_bias: [[7, -100]], seed: 9, stop: ["a"], ignore_eos: false, logprobs: 2, overflow: "error",
    });
    assert.deepEqual([r.stream, r.includeUsage, r.returnTokenIds], [true, true, true]);
  });

  test("tool_choice none leaves the tools out", () => {
    const tools = [{ type: "function", function: { name: "f" } }];
    assert.deepEqual(m.chatRequest({ messages, tools }).prompt.chat.tools, tools);
    assert.equal(m.chatRequest({ messages, tools, tool_choice: "none" }).prompt.chat.tools, undefined);
  });

  test("what a reactive framework wraps in proxies can be sent to a worker, and what is undefined is left out", () => {
    const reactive = (value) => typeof value === "object" && value !== null
      ? new Proxy(value, { get: (...of) => reactive(Reflect.get(...of)) })
      : value;
    const { prompt, options } = m.chatRequest(reactive({
      messages, tools: [{ type: "function", function: { name: "f", description: undefined } }], chat_template_kwargs: { x: { y: 1 } },
      stop: ["a"], logit_bias: { 7: 1 },
    }));
    assert.deepEqual(structuredClone(prompt), { chat: { messages, tools: [{ type: "function", function: { name: "f" } }], kwargs: { x: { y: 1 } } } });
    assert.deepEqual(structuredClone(options).stop, ["a"]);
    assert.deepEqual(structuredClone(m.completionRequest(reactive({ prompt: [1, 2] })).prompt), { ids: [1, 2] });
    const circle = [];
    circle.push(circle);
    for (const field of ["messages", "tools"]) assert.throws(() => m.chatRequest({ messages, [field]: circle }), code("invalid-argument", new RegExp(`^${field}`)));
  });

  test("what is not supported is refused by name", () => {
    for (const [field, value] of Object.entries({
      n: 2, temprature: 1, response_format: { type: "json_object" }, tool_choice: "required", top_logprobs: 3, top_k: -1,
      max_tokens: 1.5, temperature: "hot", stop: [""], logit_bias: { x: 1 }, seed: 2 ** 60, messages: [],
    })) {
      assert.throws(() => m.chatRequest({ messages, [field]: value }), code("invalid-argument", new RegExp(`^${field}`)));
    }
    assert.throws(() => m.chatRequest(null), code("invalid-argument"));
  });

  test("null is as good as absent", () => {
    const r = m.chatRequest({ messages, temperature: null, n: null, stop: null, logprobs: null, audio: null });
    assert.deepEqual(JSON.parse(JSON.stringify(r.options)), { logit_bias: [], stop: [], ignore_eos: false, overflow: "error" });
  });

  test("a completion takes text or ids", () => {
    assert.deepEqual(m.completionRequest({ prompt: "a" }).prompt, { text: "a" });
    assert.deepEqual(m.completionRequest({ prompt: [1, 2] }).prompt, { ids: [1, 2] });
    for (const prompt of [["a", "b"], [1.5], [-1], undefined]) {
      assert.throws(() => m.completionRequest({ prompt }), code("invalid-argument", /^prompt/));
    }
  });
});

suite("sources", () => {
  const base = "https://site.example/app/";
  const url = (source) => m.resolveSource(source, base).urls[0];

  test("names stand for addresses", () => {
    assert.equal(url("model.gguf"), "https://site.example/app/model.gguf");
    assert.equal(url("https://h.example/a.gguf#x"), "https://h.example/a.gguf");
    assert.equal(url("hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf"),
      "https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/resolve/main/Qwen3-0.6B-Q8_0.gguf?download=true");
    assert.equal(url("hf:o/r@v1/sub/a b.gguf"), "https://huggingface.co/o/r/resolve/v1/sub/a%20b.gguf?download=true");
    assert.equal(url("ms:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf"),
      "https://www.modelscope.cn/models/Qwen/Qwen3-0.6B-GGUF/resolve/master/Qwen3-0.6B-Q8_0.gguf");
    assert.equal(url("ms:o/r@v2/sub/a.gguf"), "https://www.modelscope.cn/models/o/r/resolve/v2/sub/a.gguf");
    for (const entry of m.CATALOGUE) assert.equal(url(entry.id), entry.url);
  });

  test("a file of the catalogue is held to what is known of it", () => {
    for (const entry of m.CATALOGUE) {
      const source = m.resolveSource(entry.id, base);
      assert.deepEqual(source.bytes, entry.bytes === undefined ? undefined : [entry.bytes]);
      assert.deepEqual(source.sha256, entry.sha256 === undefined ? undefined : [entry.sha256]);
    }
    assert.equal(m.resolveSource("https://h.example/a.gguf", base).bytes, undefined);
  });

  test("a split model goes by its first part, with the caller's headers", () => {
    const headers = { Authorization: "Bearer x" };
    const source = m.resolveSource({ url: "hf:o/r/big-00001-of-00003.gguf", headers }, base);
    assert.deepEqual(source.urls, ["https://huggingface.co/o/r/resolve/main/big-00001-of-00003.gguf?download=true"]);
    assert.deepEqual(source.headers, [["Authorization", "Bearer x"]]);
  });

  test("what could not be found again is not kept: an address of this moment without an id, a Blob without a name", () => {
    const passing = ["blob:https://site.example/1-2", new URL("data:,x"), { url: ["blob:https://site.example/1-2", "b.gguf"] }, new Blob(["x"])];
    for (const source of passing) {
      const wire = m.resolveSource(source, base);
      assert.deepEqual([m.cacheFor(wire, "auto"), m.cacheFor(wire, "off")], ["off", "off"]);
      assert.throws(() => m.cacheFor(wire, "required"), code("invalid-argument", source instanceof Blob ? /File/ : /\bid\b/));
    }
    for (const source of ["a.gguf", { url: "blob:https://site.example/1-2", id: "mine" }, new File(["x"], "a.gguf"), { cached: "blob:old" }]) {
      for (const wish of ["auto", "required", "off"]) assert.equal(m.cacheFor(m.resolveSource(source, base), wish), wish);
    }
  });

  test("what stands for nothing is refused", () => {
    for (const bad of ["qwen-99b", "hf:only/two", "ms:only/two", "hf:o/r/notes.txt", "ftp://h/a.gguf", "file:///a.gguf", "https://", 7, null, [], {}]) {
      assert.throws(() => m.resolveSource(bad, base), code("invalid-argument"), String(bad));
    }
  });

  test("files are known by name, size and date; parts come in order", () => {
    const part = (n) => new File(["x".repeat(n)], `m-0000${n}-of-00002.gguf`, { lastModified: 5 });
    const files = m.resolveSource([part(2), part(1)], base);
    assert.deepEqual(files.names, ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
    assert.equal(files.id, "file:m-00001-of-00002.gguf:3:5");
    assert.equal(m.resolveSource(new Blob(["x"]), base).id, undefined);
  });

  test("the catalogue: ids once each, smallest first, every entry whole", () => {
    assert.equal(new Set(m.CATALOGUE.map((e) => e.id)).size, m.CATALOGUE.length);
    const known = m.CATALOGUE.map((e) => e.bytes).filter((n) => n !== undefined);
    assert.deepEqual(known, [...known].sort((a, b) => a - b));
    for (const e of m.CATALOGUE) {
      assert.ok(e.license && e.goodFor && e.home === `https://huggingface.co/${e.repo}` && e.url.startsWith(`${e.home}/resolve/main/`), e.id);
      assert.ok(e.id === e.file.toLowerCase().replace(".gguf", "") && e.id.endsWith(e.quantization.toLowerCase()), e.id);
      assert.ok(e.sha256 === undefined || /^[0-9a-f]{64}$/.test(e.sha256), e.id);
      const { heads, kvHeads, headDim, contextLength } = e.outline;
      assert.ok(heads % kvHeads === 0 && headDim % 64 === 0 && contextLength % 4096 === 0, e.id);
    }
  });

  test("what is suggested in place of a model is smaller, and of its kind where there is one", () => {
    const ids = (source) => m.candidates(source).map((c) => c.id);
    assert.deepEqual(ids("qwen3-4b-q4_k_m"), ["qwen3-1.7b-q8_0", "qwen3-0.6b-q8_0"]);
    assert.deepEqual(ids("qwen2.5-coder-0.5b-instruct-q8_0")[0], "qwen2.5-0.5b-instruct-q8_0");
    assert.deepEqual(ids("qwen2.5-0.5b-instruct-q4_k_m"), []);
    assert.equal(ids("https://h.example/a.gguf").length, m.CATALOGUE.length);
  });
});

suite("streams", () => {
  test("give everything in order, then the error", async () => {
    const stream = m.Stream.start(async (push) => {
      push(1);
      await null;
      push(2);
      throw new m.QwenletError("gpu", "lost");
    }, () => assert.fail("nothing to cancel"));
    const got = [];
    await assert.rejects(async () => {
      for await (const n of stream) got.push(n);
    }, code("gpu"));
    assert.deepEqual(got, [1, 2]);
  });

  test("end what makes them when the loop is left, and wait for its end", async () => {
    let stop;
    const stopped = new Promise((resolve) => (stop = resolve));
    let ended = false;
    const stream = m.Stream.start(async (push) => {
      push(1);
      await stopped;
      await null;
      ended = true;
    }, () => stop());
    for await (const _ of stream) break;
    assert.equal(ended, true);
    await assert.rejects(async () => {
      for await (const _ of stream);
    }, TypeError);
  });
});

suite("answers", () => {
  const outcome = {
    ids: [5, 6], text: "ab", parts: [{ type: "text", value: "ab" }], finish: "length", prompt_tokens: 3, cached_tokens: 2,
    stats: { prefill_seconds: 0, prefill_tokens: 1, decode_seconds: 0, decode_tokens: 2 },
  };
  const logprob = (token) => ({ token, bytes: [97], logprob: -1, top: [{ token: "z", bytes: [122], logprob: -0.5 }] });

  test("chat, whole and in chunks", () => {
    const request = m.chatRequest({ messages: [{ role: "user", content: "" }], logprobs: true, return_token_ids: true });
    const format = m.chatFormat(request, "m");
    const whole = format.whole(outcome, [logprob("a"), logprob("b")]);
    assert.deepEqual(whole.usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 2 } });
    assert.deepEqual(whole.choices[0].token_ids, [5, 6]);
    assert.equal(whole.choices[0].finish_reason, "length");
    assert.deepEqual(whole.choices[0].logprobs.content.map((t) => [t.token, t.top_logprobs[0].token]), [["a", "z"], ["b", "z"]]);
    const chunk = format.piece({ text: "a", parts: [{ type: "text", value: "a" }], ids: [5], logprobs: [logprob("a")] });
    assert.deepEqual(chunk.choices[0].delta, { content: "a" });
    assert.equal(chunk.choices[0].logprobs.content.length, 1);
    assert.equal(format.last(outcome).choices[0].finish_reason, "length");
    assert.equal(chunk.id, whole.id);
  });

  test("thoughts and calls of tools stand apart", () => {
    const parts = [
      { type: "thinking", value: "Hm." },
      { type: "toolCall", value: { name: "f", arguments: '{"b":9007199254740993,"2":1.0,"1":"x"}' } },
      { type: "toolCall", value: { name: "g", arguments: "{}" } },
    ];
    const format = m.chatFormat(m.chatRequest({ messages: [{ role: "user", content: "" }] }), "m");
    const [choice] = format.whole({ ...outcome, parts }, []).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.content, null);
    assert.equal(choice.message.reasoning_content, "Hm.");
    assert.deepEqual(choice.message.tool_calls.map((c) => [c.type, c.function.name, c.function.arguments]), [
      ["function", "f", '{"b":9007199254740993,"2":1.0,"1":"x"}'], ["function", "g", "{}"],
    ]);
    const deltas = parts.map((part) => format.piece({ text: "?", parts: [part], ids: [1], logprobs: [] }).choices[0].delta);
    assert.deepEqual(deltas[0], { content: "", reasoning_content: "Hm." });
    assert.deepEqual(deltas.slice(1).map((d) => [d.tool_calls[0].index, d.tool_calls[0].function.name]), [[0, "f"], [1, "g"]]);
    assert.notEqual(deltas[1].tool_calls[0].id, deltas[2].tool_calls[0].id);
    assert.equal(format.last({ ...outcome, finish: "stop", parts }).choices[0].finish_reason, "tool_calls");
    assert.equal(format.last({ ...outcome, finish: "stop" }).choices[0].finish_reason, "stop");
  });

  test("a completion's offsets go on from chunk to chunk", () => {
    const format = m.completionFormat(m.completionRequest({ prompt: "x", logprobs: 1 }), "m");
    format.piece({ text: "a", parts: [], ids: [5], logprobs: [logprob("a")] });
    const { logprobs } = format.piece({ text: "b", parts: [], ids: [6], logprobs: [logprob("b")] }).choices[0];
    assert.deepEqual(logprobs, { tokens: ["b"], token_logprobs: [-1], top_logprobs: [{ z: -0.5, b: -1 }], text_offset: [1] });
  });
});

suite("workers", () => {
  test("each has its own name: webpack makes one script of those that share one, which then runs them all", () => {
    const source = readFileSync(join(pkg, "src/workers.ts"), "utf8");
    const workers = [...source.matchAll(/"\.\/worker-([\w-]+)\.js", import\.meta\.url\), \{ type: "module", name: "([^"]+)" \}/g)];
    assert.deepEqual(workers.map(([, build, name]) => [build, name]), BUILDS.map((build) => [build, `qwenlet-${build}`]));
  });
});

suite("readers", () => {
  test("keep nothing of what they have read, and reject what is under way when they fail", async () => {
    const workers = [];
    globalThis.self = globalThis;
    globalThis.location = { href: "file:///worker.js" };
    globalThis.Worker = class extends EventTarget {
      constructor() {
        super();
        workers.push(this);
      }
      postMessage({ id, argumentList: [, , key] }) {
        const value = new Uint8Array(1 << 20);
        if (key.value !== "never") queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("message"), { data: { id, type: "RAW", value } })));
      }
      terminate() {}
    };
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc");
    const read = async () => {
      const value = await m.readElsewhere("database", "store", "key");
      assert.equal(value.length, 1 << 20);
      return new WeakRef(value);
    };
    const values = [];
    for (let i = 0; i < 8; i++) values.push(await read());
    await new Promise((resolve) => setTimeout(resolve)); // what was read in this turn stays until its end
    gc();
    assert.deepEqual(values.map((value) => value.deref()?.length), values.map(() => undefined));

    const under = [m.readElsewhere("database", "store", "never"), m.readElsewhere("database", "store", "never")];
    for (const worker of workers) worker.dispatchEvent(Object.assign(new Event("error"), { message: "broken" }));
    for (const way of under) await assert.rejects(way, /broken/);
    await assert.rejects(m.readElsewhere("database", "store", "key"), /broken/);
  });
});

suite("errors", () => {
  test("the codes are those of the Rust side", () => {
    const rust = readFileSync(join(root, "crate/error.rs"), "utf8");
    const names = [...rust.matchAll(/Code::\w+ => "([a-z-]+)"/g)].map((match) => match[1]);
    assert.deepEqual([...m.ERROR_CODES], names);
  });

  test("cross as plain objects and come back", () => {
    const plain = structuredClone(m.toPlain(new m.QwenletError("network", "gone", { cause: new Error("why") })));
    const back = m.QwenletError.from(plain);
    assert.equal(back.code, "network");
    assert.equal(back.message, "gone");
    assert.match(back.cause, /why/);
    assert.equal(m.QwenletError.from(new RangeError("x")).code, "internal");
  });
});
