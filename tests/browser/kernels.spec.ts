// The kernels' unit tests in each form of SIMD that a browser may have, each test in an instance of its own.

import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, extname, join } from "node:path";
import { chromium, expect, test, type Page } from "@playwright/test";
import { ROOT } from "./fixtures.ts";
import { CHROMIUM_ARGS, EXECUTABLE } from "./playwright.config.ts";

interface Checks {
  default(): Promise<unknown>;
  start(onPanic: (message: string) => void): void;
  checks(): string[];
  run_check(i: number): string;
}

const FOLDER = join(ROOT, "target/checks"); // `cargo xtask test browser` makes it
const TYPES: Record<string, string> = { ".js": "text/javascript", ".wasm": "application/wasm" };

let server: Server;
test.beforeAll(async () => {
  server = createServer((request, response) => {
    const name = basename(new URL(request.url!, "http://x").pathname);
    const file = join(FOLDER, name);
    response.setHeader("Content-Type", TYPES[extname(name)] ?? "text/html");
    if (existsSync(file) && extname(name) in TYPES) createReadStream(file).pipe(response);
    else response.end("<!doctype html>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
test.afterAll(() => void server.close());

/** Runs every test; gives the instruction set, and what failed. */
async function runChecks(page: Page, variant: string): Promise<{ n: number; simd: string[]; failures: string[] }> {
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return page.evaluate(async (variant) => {
    const fresh = (i: number): Promise<Checks> => import(`${location.origin}/${variant}.js?${i}`) as Promise<Checks>;
    const first = await fresh(-1);
    await first.default();
    const [names, simd, failures] = [first.checks(), new Set<string>(), [] as string[]];
    for (const [i, name] of names.entries()) {
      const checks = await fresh(i);
      await checks.default();
      let panic = "";
      checks.start((message) => (panic = message));
      try {
        simd.add(checks.run_check(i));
      } catch (thrown) {
        failures.push(`${name}: ${panic || String(thrown)}`);
      }
    }
    return { n: names.length, simd: [...simd], failures };
  }, variant);
}

for (const { variant, flags, simd } of [
  { variant: "simd", flags: [], simd: /^wasm simd128$/ },
  { variant: "relaxed", flags: [], simd: /^wasm relaxed-simd/ },
  // Where the machine has an instruction for it, the browser is told not to use it: older processors have none.
  { variant: "relaxed", flags: ["--js-flags=--no-enable-avx-vnni --no-enable-avx-vnni-int8"], simd: /^wasm relaxed-simd/ },
]) {
  test(`kernels match their references: ${[variant, ...flags].join(" ")}`, async () => {
    const browser = await chromium.launch({ args: [...CHROMIUM_ARGS, ...flags], ...(EXECUTABLE ? { executablePath: EXECUTABLE } : {}) });
    const result = await runChecks(await browser.newPage(), variant);
    await browser.close();
    expect(result.failures).toEqual([]);
    expect(result.n).toBeGreaterThan(5);
    expect(result.simd).toHaveLength(1);
    expect(result.simd[0]).toMatch(simd);
    if (flags.length > 0 && process.arch === "x64") expect(result.simd[0]).toBe("wasm relaxed-simd in pairs");
  });
}
