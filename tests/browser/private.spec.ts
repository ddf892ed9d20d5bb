// Nothing leaves the page: which requests the whole browser makes, and what its policy forbids.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "@playwright/test";
import { ask, expect, fixSettings, loadUrl, ready, test } from "./fixtures.ts";
import { modelPath, QWEN3 } from "./models.ts";
import { CHROMIUM_ARGS, EXECUTABLE } from "./playwright.config.ts";

interface NetLog {
  constants: { logEventTypes: Record<string, number> };
  events: { type: number; params?: { url?: string; initiator?: string } }[];
}

test("from load to answer, the browser asks for the page's own files and the model, and nothing else", async ({ hub, site }) => {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-netlog-"));
  const log = join(folder, "net.json");
  // The browser's own log has every request, those of workers and of the service worker included.
  const browser = await chromium.launch({ args: [...CHROMIUM_ARGS, `--log-net-log=${log}`], ...(EXECUTABLE ? { executablePath: EXECUTABLE } : {}) });
  const page = await browser.newPage();
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 16, seed: 1 });
  await loadUrl(page, hub.hubUrl(QWEN3));
  await ready(page);
  await ask(page, "A secret that stays here");
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.reload();
  await ready(page);
  await browser.close();

  const { constants, events } = JSON.parse(readFileSync(log, "utf8")) as NetLog;
  rmSync(folder, { recursive: true });
  const start = constants.logEventTypes["URL_REQUEST_START_JOB"];
  const requests = events.filter((e) => e.type === start && /^(https?|wss?):/.test(e.params?.url ?? "")).map((e) => e.params!);
  // What no page started is the browser's own: its updates, its account check, its form filling.
  const urls = requests.filter((r) => r.initiator !== "not an origin" || r.url!.startsWith(site.url)).map((r) => r.url!);
  expect(requests.filter((r) => r.initiator === new URL(site.url).origin).length).toBeGreaterThan(0);
  expect(urls).toContain(site.url);
  const own = (url: string) => url.startsWith(site.url) && new URL(url).search === "";
  const model = [hub.hubUrl(QWEN3), `${hub.cdn}/cdn/${encodeURIComponent(QWEN3)}`];
  const list = `${hub.url}/api/models/test/models/tree/main`; // what the hub says the file's SHA-256 is
  expect(urls.filter((url) => !own(url) && !model.includes(url))).toEqual([list]);
  expect(urls.filter((url) => model.includes(url))).toEqual(model); // once, and not again after the reload
  expect(hub.log.every((r) => r.method === "GET")).toBe(true);
});

test("over plain http on a local network, where browsers offer less, a model still loads and answers", async ({ site }) => {
  const browser = await chromium.launch({ args: CHROMIUM_ARGS, ...(EXECUTABLE ? { executablePath: EXECUTABLE } : {}) });
  const page = await browser.newPage();
  await page.goto(site.url.replace("127.0.0.1", "lan.test"));
  expect(await page.evaluate(() => isSecureContext)).toBe(false);
  await fixSettings(page, { maxTokens: 8, seed: 1 });
  await page.locator("#file").setInputFiles(modelPath(QWEN3));
  await ready(page);
  await ask(page, "Hello");
  await page.reload();
  await ready(page); // from the cache
  await expect(page.locator(".message.assistant")).toHaveCount(1);
  await browser.close();
});

test("where the browser blocks site data, the demo answers all the same, and the page says that it keeps nothing", async ({ site }) => {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-blocked-"));
  mkdirSync(join(folder, "Default"));
  writeFileSync(join(folder, "Default/Preferences"), JSON.stringify({ profile: { default_content_setting_values: { cookies: 2 } } }));
  const context = await chromium.launchPersistentContext(folder, { args: CHROMIUM_ARGS, ...(EXECUTABLE ? { executablePath: EXECUTABLE } : {}) });
  const page = await context.newPage();
  const uncaught: Error[] = [];
  page.on("pageerror", (error) => uncaught.push(error));
  await page.goto(site.url);
  expect(await page.evaluate(() => navigator.locks.request("any", () => "held").catch((error: Error) => error.name))).toBe("SecurityError");
  await ready(page);
  await ask(page, "What is 17 + 25?");
  await expect(page.locator(".message.assistant .prose")).toContainText("42");
  await expect(page.locator(".notice")).toContainText("does not keep the conversation");
  await page.getByRole("button", { name: "New chat" }).click();
  await page.locator("#chats-button").click();
  await expect(page.locator("#chats-list .row-open")).toHaveText(["What is 17 + 25?"]);
  expect(uncaught).toEqual([]);
  await context.close();
  rmSync(folder, { recursive: true });
});

test("the policy is on, by header and in the page, for workers too", async ({ page, site, request }) => {
  for (const file of ["", "pkg/worker-relaxed.js", "sw.js"]) {
    const response = await request.get(site.url + file);
    expect(response.status()).toBe(200);
    const policy = response.headers()["content-security-policy"] ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self' 'wasm-unsafe-eval'");
    expect(policy).toContain("worker-src 'self'");
    expect(policy).not.toContain("'unsafe-inline'");
    expect(policy).not.toContain("'unsafe-eval'");
  }
  expect((await request.get(`${site.url}pkg/relaxed_bg.wasm`)).headers()["content-type"]).toBe("application/wasm");
  await page.goto(site.url);
  await expect(page.locator('meta[http-equiv="Content-Security-Policy"]')).toHaveAttribute("content", /default-src 'none'/);
});

test("the policy bites: no foreign host, no inline script, no eval", async ({ page, site, expected }) => {
  expected.push("Content Security Policy");
  await page.goto(site.url);
  const got = await page.evaluate(async () => {
    const violated: string[] = [];
    document.addEventListener("securitypolicyviolation", (e) => violated.push(e.effectiveDirective));
    const reached = await fetch("https://example.org/").then(() => true, () => false);
    const script = document.createElement("script");
    script.textContent = "window.inline = true";
    document.body.append(script);
    let evaluated = true;
    try {
      new Function("return 1")();
    } catch {
      evaluated = false;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { reached, inline: "inline" in window, evaluated, violated };
  });
  expect(got.reached).toBe(false);
  expect(got.inline).toBe(false);
  expect(got.violated).toEqual(expect.arrayContaining(["connect-src", "script-src-elem"]));
});
