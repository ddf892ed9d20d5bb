// The package as its users get it: packed, installed in an empty project, type-checked, bundled, run in a browser from a
// sub-path under a strict Content-Security-Policy.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const project = join(here, "project"); // below this folder, so that the tools and OpenAI's types are found
/** Builds of the module; a page loads one of them. */
const BUILDS = ["simd", "relaxed", "simd-threads", "relaxed-threads"];
const DEMO = "dist/qwenlet-demo.gguf";

before(() => {
  rmSync(project, { recursive: true, force: true });
  cpSync(join(here, "consumer"), project, { recursive: true });
});

test("npm pack has what is needed and nothing else", () => {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", project], join(root, "pkg")));
  const files = packed.files.map((f) => f.path);
  const builds = BUILDS.flatMap((build) => [`dist/worker-${build}.js`, `dist/${build}_bg.wasm`]);
  const demo = ["dist/demo.js", "dist/demo.d.ts", DEMO];
  for (const needed of ["package.json", "dist/index.js", "dist/index.d.ts", "dist/coi.js", "dist/coi-sw.js", ...demo, ...builds]) {
    assert.ok(files.includes(needed), `${needed} is missing of ${files}`);
  }
  assert.deepEqual(files.filter((f) => !/^(dist\/|package\.json$|README|LICENSE)/.test(f)), []);
});

test("it installs in an empty project", () => {
  const tarball = readdirSync(project).find((f) => f.endsWith(".tgz"));
  run("npm", ["install", "--no-audit", "--no-fund", "--no-save", `./${tarball}`], project);
  assert.equal(JSON.parse(readFileSync(join(project, "node_modules/qwenlet/package.json"))).name, "qwenlet");
  // What somebody may want to copy or bundle by name.
  const { resolve } = createRequire(join(project, "main.ts"));
  for (const file of BUILDS.flatMap((build) => [`worker-${build}.js`, `${build}_bg.wasm`])) {
    assert.equal(resolve(`qwenlet/${file}`), join(project, "node_modules/qwenlet/dist", file));
  }
});

test("code written for OpenAI's shapes type-checks", () => {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
  run(process.execPath, [tsc, "-p", "."], project);
});

test("Vite bundles it with its worker and its wasm", async () => {
  await build({ root: project, base: "./", logLevel: "warn", configFile: false });
  const assets = readdirSync(join(project, "dist/assets"));
  for (const build of BUILDS) {
    assert.equal(assets.filter((f) => new RegExp(`^${build}_bg-[^.]*\\.wasm$`).test(f)).length, 1, `${build}: ${assets}`);
    assert.equal(assets.filter((f) => new RegExp(`^worker-${build}-[\\w-]{8}\\.js$`).test(f)).length, 1, `${build}: ${assets}`);
  }
});

test("the demo model is in the bundle of who imports it, and of no one else", async () => {
  const models = (dir) => readdirSync(dir, { recursive: true }).filter((file) => file.endsWith(".gguf"));
  assert.deepEqual(models(join(project, "dist")), []);
  for (const file of readdirSync(join(project, "dist/assets")).filter((f) => f.endsWith(".js"))) {
    assert.ok(!readFileSync(join(project, "dist/assets", file), "utf8").includes("qwenlet-demo"), file);
  }
  await build({ root: join(project, "demo"), base: "./", logLevel: "warn", configFile: false });
  const [model, ...others] = models(join(project, "demo/dist"));
  assert.match(model, /^assets\/qwenlet-demo-[\w-]{8}\.gguf$/);
  assert.deepEqual(others, []);
  assert.ok(readFileSync(join(project, "demo/dist", model)).equals(readFileSync(join(project, "node_modules/qwenlet", DEMO))));
});

test("the bundle answers in a browser, from a sub-path, under a strict policy", { timeout: 120_000 }, async () => {
  const models = join(project, "models");
  mkdirSync(models);
  run("cargo", ["build", "--release", "--quiet", "--workspace", "--example", "make_test_models"], root);
  run(join(root, "target/release/examples/make_test_models"), [models, "--only", "Q8_0"], root);
  const model = readdirSync(models).find((f) => f.startsWith("qwen3"));
  cpSync(join(models, model), join(project, "dist/model.gguf"));
  await visit(join(project, "dist"), "/some/place/", async (page, url) => {
    const { phases, streamed, whole, info, after, cached } = await page.evaluate(() => window.answer);
    assert.deepEqual([...new Set(phases)], ["header", "weights", "prepare", "ready"]);
    assert.equal(info.architecture, "qwen3");
    assert.equal(info.backend, "cpu");
    assert.equal(whole.usage.completion_tokens, 8);
    assert.equal(whole.choices[0].token_ids.length, 8);
    assert.equal(whole.choices[0].finish_reason, "length");
    assert.equal(streamed, whole.choices[0].message.content);
    assert.equal(after, "unloaded");
    assert.deepEqual(cached.map((m) => [m.id, m.complete]), [[`${url}model.gguf`, true]]);
  });
});

test("the bundle with the demo model answers with nothing but its own files", { timeout: 120_000 }, async () => {
  await visit(join(project, "demo/dist"), "/some/place/", async (page) => {
    assert.equal(await page.evaluate(() => window.answer), "17 + 25 = 42.");
  });
});

/** Opens a bundle in a browser; nothing may go wrong, and no other host be asked. */
async function visit(dir, base, use) {
  const { server, url } = await serve(dir, base);
  const browser = await chromium.launch({
    executablePath: process.env.QWENLET_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--headless=new", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  try {
    const page = await browser.newPage();
    const trouble = [];
    page.on("console", (m) => m.type() === "error" && trouble.push(m.text()));
    page.on("pageerror", (e) => trouble.push(String(e)));
    page.on("request", (r) => /^https?:/.test(r.url()) && !r.url().startsWith(url) && trouble.push(r.url()));
    await page.goto(url);
    await use(page, url);
    assert.deepEqual(trouble, []);
  } finally {
    await browser.close();
    server.kill();
  }
}

function run(program, args, cwd) {
  try {
    return execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (e) {
    throw new Error(`${program} ${args.join(" ")} failed:\n${e.stdout}\n${e.stderr}`);
  }
}

async function serve(dir, base) {
  const script = join(root, "xtask/serve/serve.mjs");
  const server = spawn(process.execPath, [script, "--dir", dir, "--port", "0", "--base", base], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of server.stdout) {
    const url = /http:\S+/.exec(String(line))?.[0];
    if (url) return { server, url };
  }
  server.kill();
  throw new Error("the server did not start");
}
