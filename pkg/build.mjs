// Bundles the package: src/*.ts and the generated wasm/ → dist/. `cargo xtask build` runs it.
import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
process.chdir(here);
rmSync("dist", { recursive: true, force: true });

await build({
  entryPoints: ["src/index.ts", "src/worker.ts"],
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  keepNames: false,
  sourcemap: "linked",
  legalComments: "linked",
  logLevel: "warning",
});
copyFileSync("wasm/qwenlet_bg.wasm", "dist/qwenlet_bg.wasm");
for (const license of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join("..", license), license); // for npm pack

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
execFileSync(process.execPath, [tsc, "-p", ".", "--emitDeclarationOnly"], { stdio: "inherit" });
