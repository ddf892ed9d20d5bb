import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

/** A software GPU, so that WebGPU is tested on every machine; nothing of the browser's own goes to the network. */
export const CHROMIUM_ARGS = [
  "--no-sandbox", "--headless=new", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU",
  "--disable-quic", "--host-resolver-rules=MAP lan.test 127.0.0.1", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

const installed = process.env["QWENLET_CHROMIUM"] ?? "/usr/bin/chromium";
export const EXECUTABLE = existsSync(installed) ? installed : undefined; // else Playwright's own

const TIMED = ["gpu.spec.ts", "realsize.spec.ts", "download.spec.ts"];

export default defineConfig({
  testDir: ".",
  outputDir: "../../test-results",
  globalSetup: "./models.ts",
  workers: 3,
  timeout: 360_000, // the self-checks compile for most of two minutes where other tests run beside them
  expect: { timeout: 30_000 },
  // Most tests wait for the network or the software GPU half of their time. Those of rates, and of what has arrived when a
  // connection breaks, have the machine for themselves: `cargo xtask test browser` runs one project after the other.
  projects: [
    { name: "beside", testIgnore: TIMED, workers: 3 },
    { name: "alone", testMatch: TIMED, workers: 1 },
  ],
  forbidOnly: process.env["CI"] !== undefined,
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    launchOptions: { args: CHROMIUM_ARGS, ...(EXECUTABLE ? { executablePath: EXECUTABLE } : {}) },
    screenshot: "only-on-failure", // a trace of each test takes a third of the processor
  },
});
