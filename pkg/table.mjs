// Writes the README's table of models from the catalogue, or says that it differs: node table.mjs QWENLET [--check]
// QWENLET is the native tool, which reckons what a model needs. `cargo xtask readme` runs this.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const readme = join(here, "../README.md");
const [START, END] = ["<!-- models: made by `cargo xtask readme` -->\n", "<!-- /models -->\n"];

const bundle = await build({ entryPoints: [join(here, "src/catalogue.ts")], bundle: true, format: "esm", write: false });
const { CATALOGUE } = await import(`data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].text).toString("base64")}`);

/** What the engine reckons for every entry. */
function reckon(tool) {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-"));
  try {
    const outlines = join(folder, "outlines.json");
    writeFileSync(outlines, JSON.stringify(CATALOGUE.map(({ id, outline }) => ({ id, outline }))));
    return JSON.parse(execFileSync(tool, ["fit", "--outlines", outlines], { encoding: "utf8", maxBuffer: 1 << 24 }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${Math.round(bytes / 1e6)} MB`);

function table(needs) {
  const context = needs[0].cpu.contextLength;
  const heads = ["model", "id", "download", "good for", "CPU", "WebGPU", "1,000 tokens more", "licence"];
  // A page of 64 positions more than the context is held.
  const thousand = ({ needs: n, contextLength }) => Math.round((n.kv / (Math.ceil(contextLength / 64) * 64 + 64)) * 1000);
  const rows = CATALOGUE.map((e, i) => {
    const { cpu, webgpu, fileBytes } = needs[i];
    const kv = [cpu, webgpu].map((fit) => size(thousand(fit)));
    return [
      `[${e.name}](${e.home})`, `\`${e.id}\``, e.bytes === undefined ? `about ${size(fileBytes)}` : size(e.bytes), e.goodFor,
      size(cpu.needs.wasm), size(webgpu.needs.gpu), kv[0] === kv[1] ? kv[0] : kv.join(" / "), e.license,
    ];
  });
  const lines = [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return `${lines.join("\n")}\n\nMemory for a context of ${context.toLocaleString("en")} tokens: WebAssembly memory on the CPU, GPU memory on WebGPU (beside 70 MB of WebAssembly memory).\n`;
}

const [tool, check] = process.argv.slice(2);
const text = readFileSync(readme, "utf8");
const [start, end] = [text.indexOf(START), text.indexOf(END)];
if (start < 0 || end < start) throw new Error(`README.md has no part between ${START.trim()} and ${END.trim()}`);
const made = text.slice(0, start + START.length) + table(reckon(tool)) + text.slice(end);
if (made === text) console.log("README.md has the catalogue's table");
else if (check === "--check") {
  console.error("README.md: the table of models is not the catalogue's; run `cargo xtask readme`");
  process.exitCode = 1;
} else writeFileSync(readme, made);
