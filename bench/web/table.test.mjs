// `node --test`: what is made of the lines of a run.
import assert from "node:assert/strict";
import { test } from "node:test";

import { median, summary } from "./lib/stats.mjs";
import { markdown } from "./table.mjs";
import { verdicts } from "./targets.mjs";
import { mismatch } from "./variants.mjs";

const MODEL = "qwen2.5-0.5b-q4_0.gguf";
const rate = (figure, engine, ...values) => ({ figure, model: MODEL, engine, bytesPerToken: 1e9, perCpuSecond: summary(values) });

test("the median of an even number of values lies between two", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.deepEqual(summary([5, 1, 3]), { n: 3, median: 3, min: 1, max: 5, values: [5, 1, 3] });
});

test("the table tells rates with their spread, and how many times a peer's ours is", () => {
  const text = markdown([rate("decode", "qwenlet", 30, 29, 33), rate("decode", "wllama", 4, 5, 6)], { check: false });
  assert.match(text, /\| \*\*qwenlet\*\* \| 30\.0 \(29\.0–33\.0\) \|/);
  assert.match(text, /\| wllama \| 5\.00 \(4\.00–6\.00\), 6\.0× \|/);
});

test("a later line of the same figure replaces the earlier one", () => {
  const text = markdown([rate("decode", "qwenlet", 1), rate("decode", "qwenlet", 2)], { check: false });
  assert.match(text, /2\.00/);
  assert.doesNotMatch(text, /1\.00/);
});

test("a target is met or missed by what was measured", () => {
  const lines = (ours) => [rate("decode", "qwenlet", ours), rate("decode", "wllama", 10), { ...rate("read", "memory read", 100e9), bytesPerToken: undefined }];
  const by = (ours) => Object.fromEntries(verdicts(lines(ours)).map(({ what, ok }) => [what, ok]));
  assert.deepEqual(by(45), { [`${MODEL}: decode, qwenlet over wllama`]: true, [`${MODEL}: decode's reading over a plain read`]: false });
  assert.deepEqual(by(44), { [`${MODEL}: decode, qwenlet over wllama`]: false, [`${MODEL}: decode's reading over a plain read`]: false });
  assert.equal(by(55)[`${MODEL}: decode's reading over a plain read`], true);
  assert.deepEqual(verdicts([{ figure: "exact", model: MODEL, engine: "qwenlet 2 threads", same: false }]).map(({ ok }) => ok), [false]);
});

test("a variant that did not take effect is not measured under its name", () => {
  const info = (threads, ...features) => ({ backend: "cpu", why: "", threads, features });
  assert.equal(mismatch({ variant: "relaxed", threads: 1 }, info(1, "simd128", "relaxed-simd")), undefined);
  assert.match(mismatch({ variant: "relaxed", threads: 1 }, info(1, "simd128")), /no relaxed SIMD/);
  assert.match(mismatch({ variant: "simd", threads: 1 }, info(1, "simd128", "relaxed-simd")), /simd128 build/);
  assert.match(mismatch({ threads: 2 }, info(1, "simd128")), /1 thread/);
  assert.equal(mismatch({ threads: 2 }, info(2, "simd128")), undefined);
  assert.match(mismatch({ backend: "webgpu" }, info(1, "simd128")), /runs on cpu/);
});
