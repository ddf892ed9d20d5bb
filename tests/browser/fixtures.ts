// What every browser test gets: a served site, a hub, and a check that the page broke no rule of its own.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test as base, expect, type Page } from "@playwright/test";
import { startHub } from "./hub.mjs";
import { modelPath, models, QWEN3 } from "./models.ts";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
export type Hub = Awaited<ReturnType<typeof startHub>>;
export type Api = typeof import("../../pkg/src/index.ts");

export interface Site {
  url: string;
  close(): Promise<void>;
}

/** Serves `dist/` with the server that `cargo xtask serve` uses. */
export async function serve(...options: string[]): Promise<Site> {
  const args = [join(ROOT, "xtask/serve/serve.mjs"), "--dir", join(ROOT, "dist"), "--port", "0", ...options];
  const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise<string>((resolve, reject) => {
    let text = "";
    server.stdout.on("data", (data: Buffer) => {
      text += data.toString();
      const found = /Serving at (http:\/\/\S+)/.exec(text);
      if (found) resolve(found[1]!.replace("localhost", "127.0.0.1"));
    });
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
  return {
    url,
    close: () => new Promise((resolve) => {
      server.once("exit", () => resolve());
      server.kill();
    }),
  };
}

/** A model that claims to be trained for more tokens than any memory has room for. */
export const BOUNDLESS = "boundless.gguf";

function boundless(): Buffer {
  const bytes = readFileSync(modelPath(QWEN3));
  const key = "qwen3.context_length";
  // The key, the type of its value (a u32), the value.
  const at = bytes.indexOf(key) + key.length;
  if (bytes.readUInt32LE(at) !== 4) throw new Error(`${key} is no u32`);
  bytes.writeUInt32LE(1 << 22, at + 4);
  return bytes;
}

interface TestFixtures {
  /** Whether the page opens as for somebody who was never there, and loads its demo; else it begins with the list of models. */
  firstVisit: boolean;
  left: void;
  /** Problems that a test expects, as parts of the console's messages. */
  expected: string[];
  watched: void;
}

interface WorkerFixtures {
  hub: Hub;
  site: Site;
}

export const test = base.extend<TestFixtures, WorkerFixtures>({
  hub: [async ({}, use) => {
    const hub = await startHub({ ...(await models()), [BOUNDLESS]: boundless(), "notes.gguf": Buffer.from("These are notes, not a model.\n".repeat(200)) });
    await use(hub);
    await hub.close();
  }, { scope: "worker" }],
  site: [async ({}, use) => {
    const site = await serve();
    await use(site);
    await site.close();
  }, { scope: "worker" }],
  firstVisit: [false, { option: true }],
  left: [async ({ context, firstVisit }, use) => {
    // What the page keeps of a visitor who has unloaded the demo.
    if (!firstVisit) await context.addInitScript(() => location.protocol.startsWith("http") && (localStorage["qwenlet.model"] ??= '"none"'));
    await use();
  }, { auto: true }],
  expected: async ({}, use) => use([]),
  // Errors nobody caught and violations of the page's own policy fail any test.
  watched: [async ({ context, hub, expected }, use) => {
    hub.reset();
    const problems: string[] = [];
    context.on("weberror", (error) => problems.push(String(error.error())));
    context.on("console", (message) => {
      if (/content security policy|unhandled|panicked/i.test(message.text())) problems.push(message.text());
    });
    await use();
    expect(problems.filter((problem) => !expected.some((part) => problem.includes(part)))).toEqual([]);
  }, { auto: true }],
});

export { expect };

/** Opens the page's list of models, types an address, presses Load. */
export async function loadUrl(page: Page, url: string): Promise<void> {
  await openModels(page);
  await page.getByLabel("Address of a .gguf file").fill(url);
  await page.locator("#url-form").getByRole("button", { name: "Load" }).click();
}

export async function openModels(page: Page): Promise<void> {
  const list = page.locator("#models");
  // The page may be about to open it by itself, and a click then closes it.
  await expect(async () => {
    if (await list.isHidden()) await page.locator("#model-button").click();
    await expect(list).toBeVisible({ timeout: 1000 });
  }).toPass();
}

export async function ready(page: Page): Promise<void> {
  await expect(page.locator("#model-dot")).toHaveAttribute("data-state", "ready", { timeout: 90_000 });
}

/** Sends a message and waits for the end of the answer. */
export async function ask(page: Page, text: string): Promise<void> {
  const before = await page.locator(".message.assistant").count();
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
  await expect(page.locator(".message.assistant")).toHaveCount(before + 1);
  await expect(page.locator(".message.assistant[aria-busy]")).toHaveCount(0, { timeout: 90_000 });
}

/** Fixed sampling, so that an answer is the same each time, and has the wanted length at most. */
export async function fixSettings(page: Page, settings: { maxTokens?: number; seed?: number; backend?: "auto" | "cpu" | "webgpu" }): Promise<void> {
  await page.evaluate(({ maxTokens, seed, backend }) => {
    const sampling = { ...(maxTokens ? { max_tokens: maxTokens } : {}), ...(seed === undefined ? {} : { seed }) };
    localStorage.setItem("qwenlet.settings", JSON.stringify({ sampling, ...(backend ? { backend } : {}) }));
  }, settings);
  await page.reload();
}
