// Bundles the package: src/*.ts and the generated wasm/ → dist/. `cargo xtask build` runs it.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
process.chdir(here);
rmSync("dist", { recursive: true, force: true });

const common = {
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  keepNames: false,
  sourcemap: "linked",
  legalComments: "linked",
  logLevel: "warning",
};
// The demo model, and the module that names it, pinned to these very bytes.
const demo = readFileSync("../tools/demo-model/qwenlet-demo.gguf");
const pin = { DEMO_BYTES: String(demo.length), DEMO_SHA256: JSON.stringify(createHash("sha256").update(demo).digest("hex")) };
await build({ ...common, entryPoints: ["src/index.ts", "src/coi.ts", "src/demo.ts"], define: pin });
writeFileSync("dist/qwenlet-demo.gguf", demo);
await build({ ...common, entryPoints: ["src/coi-sw.ts"], format: "iife" });

// Each build of the module has a worker script of its own, so that a page loads the bindings of no other.
for (const file of readdirSync("wasm").filter((f) => f.endsWith("_bg.wasm"))) {
  const variant = file.replace("_bg.wasm", "");
  const bindings = { name: "bindings", setup: (b) => b.onResolve({ filter: /^#wasm$/ }, () => ({ path: join(here, "wasm", `${variant}.js`) })) };
  await build({ ...common, entryPoints: [{ in: "src/worker.ts", out: `worker-${variant}` }], plugins: [bindings] });
  copyFileSync(join("wasm", file), join("dist", file));
}
for (const license of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join("..", license), license); // for npm pack

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
execFileSync(process.execPath, [tsc, "-p", ".", "--emitDeclarationOnly"], { stdio: "inherit" });
