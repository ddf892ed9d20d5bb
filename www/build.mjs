// Builds the page into dist/ at the root of the repository, or another folder: node build.mjs [OUT]
// The folder holds the package already, as pkg/; `cargo xtask build` puts it there.
//
// The page imports the package as a user would, by name; here the name stands for ./pkg/index.js beside it.

import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "../dist");
await mkdir(out, { recursive: true });

const options = { bundle: true, minify: true, format: "esm", target: "es2022", legalComments: "linked", logLevel: "warning" };
const packageBesidePage = {
  name: "package-beside-page",
  setup(b) {
    b.onResolve({ filter: /^qwenlet$/ }, () => ({ path: "./pkg/index.js", external: true }));
    b.onResolve({ filter: /^qwenlet\/demo$/ }, () => ({ path: "./pkg/demo.js", external: true }));
  },
};
await build({ ...options, entryPoints: [join(here, "src/main.ts")], outfile: join(out, "app.js"), plugins: [packageBesidePage] });
await build({ ...options, entryPoints: [join(here, "style.css")], outfile: join(out, "style.css") });
for (const file of ["index.html", "icon.svg", "manifest.webmanifest"]) await copyFile(join(here, file), join(out, file));

// What a reload without a network needs: every file of the page, of the package what runs, and the demo model.
const RUNS = /\.(html|js|css|svg|wasm|webmanifest|gguf)$/;
const files = (await readdir(out, { recursive: true }))
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => RUNS.test(file) && file !== "sw.js")
  .sort();
const version = createHash("sha256");
const hashes = {};
for (const file of files) {
  const bytes = await readFile(join(out, file));
  version.update(file).update("\0").update(bytes).update("\0");
  hashes[file] = `sha256-${createHash("sha256").update(bytes).digest("base64")}`;
}
const page = await readFile(join(here, "index.html"), "utf8");
const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(page)?.[1];
if (!policy) throw new Error("index.html has no Content-Security-Policy meta tag");
// Of the builds of the module the service worker keeps those that this browser runs.
const oneOfSeveral = (file) => /^pkg\/(worker-[\w-]+\.js|[\w-]+_bg\.wasm)$/.test(file);
const withHashes = (some) => Object.fromEntries(some.map((file) => [file === "index.html" ? "./" : file, hashes[file]]));
const shell = {
  policy,
  version: version.digest("hex").slice(0, 16),
  files: withHashes(files.filter((file) => !oneOfSeveral(file))),
  builds: withHashes(files.filter(oneOfSeveral)),
};
await build({
  ...options,
  format: "iife",
  entryPoints: [join(here, "src/sw.ts")],
  outfile: join(out, "sw.js"),
  define: { SHELL: JSON.stringify(shell) },
  alias: { "qwenlet/coi": join(out, "pkg/coi.js") },
});
