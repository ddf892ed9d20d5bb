// The Markdown of a run: `node table.mjs RESULTS.jsonl [--readme README.md]` prints it, or puts it between the README's marks.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { verdicts } from "./targets.mjs";

const BEGIN = "<!-- bench/web/table.mjs writes what is below -->";
const END = "<!-- bench/web/table.mjs wrote what is above -->";

const LABELS = {
  "qwenlet": "**qwenlet**",
  "qwenlet simd128": "qwenlet, `simd128` only",
  "qwenlet without VNNI": "qwenlet, relaxed SIMD without AVX-VNNI",
  "candle": "candle, `simd128`",
  "onnxruntime": "onnxruntime-web, q4",
  "llama.cpp native": "llama.cpp, native, AVX2",
};
const label = (engine) => LABELS[engine] ?? engine;
const title = (model) => model.replace(/\.gguf$/, "");
const digits = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (head, rows) => [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");
const unique = (list) => [...new Set(list)];

/** The latest line of each kind: a run that repeats one replaces it. */
function latest(lines) {
  const key = ({ figure, model, engine, of, context }) => JSON.stringify([figure, model, engine, of, context]);
  return [...new Map(lines.map((line) => [key(line), line])).values()];
}

function rates(lines, figure) {
  const found = lines.filter((line) => line.figure === figure);
  const models = unique(found.map((line) => line.model));
  const at = (engine, model) => found.find((line) => line.engine === engine && line.model === model)?.perCpuSecond;
  const rows = unique(found.map((line) => line.engine)).map((engine) => [label(engine), ...models.map((model) => {
    const [rate, ours] = [at(engine, model), at("qwenlet", model)];
    if (!rate) return "–";
    const times = ours && !engine.startsWith("qwenlet") ? `, ${(ours.median / rate.median).toFixed(1)}×` : "";
    return `${digits(rate.median)} (${digits(rate.min)}–${digits(rate.max)})${times}`;
  })]);
  return table([`${figure}, tok per CPU second`, ...models.map(title)], rows);
}

function others(lines) {
  const rows = [];
  const spread = (s, unit = "") => `${digits(s.median)}${unit} (${digits(s.min)}–${digits(s.max)})`;
  for (const line of lines) {
    const add = (what, value) => rows.push([what, title(line.model), value]);
    if (line.figure === "threads" && line.of === "read") {
      add(`2 threads against 1, a plain read of memory: quietest of ${line.ratio.n} pairs`, `${line.quietest.toFixed(2)}× (all pairs ${spread(line.ratio)}); ${(line.perSecond.median / 1e9).toFixed(1)} GB/s`);
    } else if (line.figure === "threads") {
      add(`2 threads against 1, ${line.of}, wall time: quietest of ${line.ratio.n} pairs`, `${line.quietest.toFixed(2)}× (all pairs ${spread(line.ratio)}); ${spread(line.perSecond)} tok/s`);
    } else if (line.figure === "load") {
      add("load from the cache to the first token, s", `${spread(line.firstTokenSeconds)}; reading the same bytes ${spread(line.readSeconds)}: ${digits(line.ratio.median)}×`);
    } else if (line.figure === "memory") {
      const share = (bytes) => (bytes / line.bytes).toFixed(2);
      add(`peak WebAssembly memory over the file, context ${line.context}`, `${share(line.wasmBytesAtLoad)} at load, ${share(line.wasmBytes)} after answers`);
    } else if (line.figure === "exact") {
      add(`same tokens and log-probabilities: ${line.engine}`, line.same ? "bit for bit" : "NO");
    } else if (line.figure === "context" && line.context > 128) {
      const near = lines.find((l) => l.figure === "context" && l.model === line.model && l.context === 128);
      if (near) add(`a token behind ${line.context} against one behind ${near.context}`, `${digits(near.perCpuSecond.median / line.perCpuSecond.median)}× the time: ${spread(line.perCpuSecond)} against ${spread(near.perCpuSecond)} tok per CPU second`);
    } else if (line.figure === "read") {
      const ours = lines.find((l) => l.figure === "decode" && l.model === line.model && l.engine === "qwenlet");
      if (ours) {
        const bytes = ours.perCpuSecond.median * ours.bytesPerToken;
        add("weights that decoding reads, against a plain read of memory", `${(bytes / 1e9).toFixed(1)} of ${(line.perCpuSecond.median / 1e9).toFixed(1)} GB/s: ${(100 * bytes / line.perCpuSecond.median).toFixed(0)} %`);
      }
    }
  }
  return rows.length ? table(["", "model", ""], rows) : "";
}

function described({ cpu, family, model, cores, virtual, browser, os, date, versions }) {
  const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const kind = family ? ` (family ${family}, model ${model})` : "";
  return `${cpu}${kind}, ${cores} cores${virtual ? " of a virtual machine" : ""}; Chromium ${browser}, ${os}; ${date.slice(0, 10)}. ${peers}. One thread but where it says two.`;
}

/** All tables of `lines`; with `check`, what the targets make of them too. */
export function markdown(all, { check = true } = {}) {
  const lines = latest(all);
  const machines = all.filter((line) => line.figure === "machine");
  const parts = [
    machines.length ? described(machines.at(-1)) : "",
    lines.some((line) => line.figure === "prefill") ? rates(lines, "prefill") : "",
    lines.some((line) => line.figure === "decode") ? rates(lines, "decode") : "",
    others(lines),
    ...(check ? [
      lines.filter((line) => line.figure === "left out").map(({ engine, model, reason }) => `Left out: ${engine}, ${title(model)}: ${reason}`).join("\n"),
      verdicts(lines).map(({ what, value, target, ok }) => `${ok ? "ok  " : "MISS"} ${what}: ${value.toFixed(2)}, target ${target}`).join("\n"),
    ] : []),
  ];
  return parts.filter(Boolean).join("\n\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { readme: { type: "string" } }, allowPositionals: true });
  if (positionals.length === 0) throw new Error("usage: node table.mjs RESULTS.jsonl... [--readme README.md]");
  const lines = positionals.flatMap((path) => readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line)));
  if (values.readme) {
    const text = readFileSync(values.readme, "utf8");
    const [before, rest] = text.split(BEGIN);
    const after = rest?.split(END)[1];
    if (after === undefined) throw new Error(`${values.readme} has no "${BEGIN}" with "${END}" behind it`);
    writeFileSync(values.readme, `${before}${BEGIN}\n\n${markdown(lines, { check: false })}\n\n${END}${after}`);
  } else {
    console.log(markdown(lines));
  }
}
