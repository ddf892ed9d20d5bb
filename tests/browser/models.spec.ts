// The page's lists of models: what they need, what is stored, and what there is room for.

import { devices } from "@playwright/test";
import { BOUNDLESS, expect, loadUrl, openModels, ready, test } from "./fixtures.ts";
import { QWEN2, QWEN3 } from "./models.ts";
import { damage } from "./stored.ts";

const settings = (page: import("@playwright/test").Page, value: object) =>
  page.evaluate((text) => localStorage.setItem("qwenlet.settings", text), JSON.stringify(value)).then(() => page.reload());

test("every model says what it is for and what it needs; no request leaves for that", async ({ page, site }) => {
  const requests: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(site.url);
  const rows = page.locator("#catalogue-list li");
  for (const row of await rows.all()) {
    await expect(row.locator(".row-facts")).toContainText(/[\d.]+ [MG]B of memory/);
    await expect(row.locator(".size")).toHaveText(/^(about )?[\d.]+ [MG]B · [\d.]+ [MG]B of memory · $/);
  }
  await expect(page.locator('[data-id="qwen3-0.6b-q8_0"]')).toContainText("tools");
  await expect(page.locator('[data-id="qwen3-0.6b-q8_0"] .size')).toContainText("639 MB");
  expect(requests.filter((url) => !url.startsWith(site.url))).toEqual([]);
});

test("a model that is too large says why, and what would do", async ({ page, site }) => {
  await page.goto(site.url);
  await settings(page, { backend: "cpu", contextLength: 32_768 });
  const row = page.locator('[data-id="qwen3-4b-q4_k_m"]');
  await expect(row).toHaveAttribute("data-fits", "no");
  await expect(row).toContainText("Too large here");
  await expect(row.locator(".remark")).toContainText("WebAssembly has at most 4.3 GB of memory");
  await expect(row.getByRole("button")).toHaveCount(1);
  await expect(row.getByRole("button")).toHaveText(/^With [\d,]+ tokens$/);
  await expect(page.locator('[data-id="qwen2.5-0.5b-instruct-q4_k_m"]')).not.toHaveAttribute("data-fits");
});

test.describe("on a phone", () => {
  const { userAgent, viewport, hasTouch } = devices["iPhone 15"]!;
  test.use({ userAgent, viewport, hasTouch });
  test("what may be ended for its size is marked, and can be tried", async ({ page, site }) => {
    await page.goto(site.url);
    const row = page.locator('[data-id="qwen2.5-1.5b-instruct-q4_k_m"]');
    await expect(row).toHaveAttribute("data-fits", "maybe");
    await expect(row).toContainText("May be too large here");
    await expect(row.locator(".remark")).toContainText("iOS");
    await expect(row.getByRole("button", { name: /^Load/ }).last()).toHaveText("Load");
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
  });
});

test("stored models: sizes, deletion after a question, and the browser is asked to keep them", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await loadUrl(page, hub.directUrl(QWEN2));
  await ready(page);
  await openModels(page);
  const stored = page.locator("#stored-list li");
  await expect(stored).toHaveCount(2);
  await expect(stored.first()).toContainText(QWEN2);
  await expect(stored.first()).toContainText(/[\d.]+ (kB|MB) · used just now/);
  await expect(page.locator("#persist-row")).toBeVisible();
  await page.getByRole("button", { name: "Ask it to keep them" }).click();
  await expect(page.locator("#storage-note")).toHaveText(/did not agree|until you delete/);

  await stored.last().getByRole("button", { name: /^Delete/ }).click();
  const sure = stored.last().getByRole("button", { name: /^Delete [\d.]+/ });
  await expect(sure).toBeFocused();
  await sure.click();
  await expect(stored).toHaveCount(1);
  await expect(page.getByRole("heading", { level: 1 })).toBeFocused();
});

/** Keeps every text that the card shows. */
const watchCard = (page: import("@playwright/test").Page) => page.evaluate(() => {
  const texts: string[] = [];
  Object.assign(window, { texts });
  new MutationObserver(() => texts.push(document.querySelector(".loading .detail")?.textContent ?? "")).observe(document.body, { subtree: true, childList: true, characterData: true });
});
const cardTexts = (page: import("@playwright/test").Page) => page.evaluate(() => (window as unknown as { texts: string[] }).texts.join("\n"));

test("a slow download says how far it is, how fast, and how long it will take", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await watchCard(page);
  await loadUrl(page, hub.directUrl(QWEN3, "fault=slow&ms=150"));
  await ready(page);
  expect(await cardTexts(page)).toMatch(/Downloading · [\d.]+ (kB|MB) of [\d.]+ (kB|MB) · [\d.]+ (kB|MB)\/s · \d+ s left/);
});

test("a connection that breaks off: the page says so, and that it goes on", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await watchCard(page);
  // The worker reads nothing while it opens the GPU; what a browser has not handed out by then, a reset takes with it.
  await loadUrl(page, hub.directUrl(QWEN3, "fault=reset&after=300000&ms=1500&times=1"));
  await ready(page);
  const texts = await cardTexts(page);
  expect(texts).toMatch(/The connection broke off. Trying again · [\d.]+ (kB|MB) of/);
  await expect(page.locator("#announcer")).toContainText("The connection broke off. Trying again.");
});

test("a download that was left is taken up where it stopped, and says so", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await page.evaluate(async (url) => {
    const { Cache } = (await import(`${location.origin}/pkg/index.js`)) as typeof import("../../pkg/src/index.ts");
    const abort = new AbortController();
    const onProgress = ({ bytes }: { bytes: number }) => bytes > 300_000 && abort.abort();
    await Cache.download(url, { signal: abort.signal, onProgress, transfer: { chunkBytes: 64 << 10 } }).catch(() => {});
  }, hub.directUrl(QWEN3, "fault=slow&ms=50"));
  // Opened anew, the list has it.
  await page.locator("#model-button").click();
  await openModels(page);
  const row = page.locator("#stored-list li");
  await expect(row).toContainText("not complete");
  await watchCard(page);
  await row.getByRole("button", { name: /^Go on/ }).click();
  await ready(page);
  expect(await cardTexts(page)).toMatch(/[\d.]+ (kB|MB) were here already/);
  await openModels(page);
  await expect(row).not.toContainText("not complete");
});

test("a stored model is checked, and what is damaged is told", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await openModels(page);
  const row = page.locator("#stored-list li");
  await row.getByRole("button", { name: /^Check/ }).click();
  await expect(row.getByRole("status")).toHaveText("Every byte is as it was stored.");
  await expect(row.getByRole("button", { name: /^Delete/ })).toBeFocused();
  await damage(page, hub.directUrl(QWEN3), 1000);
  await row.getByRole("button", { name: /^Check/ }).click();
  await expect(row.getByRole("status")).toContainText(/[\d.]+ (kB|MB) of it are damaged/);
});

test("a load that does not fit offers what would", async ({ page, hub, site }) => {
  await page.addInitScript(() => localStorage.setItem("qwenlet.settings", JSON.stringify({ backend: "cpu", contextLength: 4_000_000 })));
  await page.goto(site.url);
  await loadUrl(page, hub.directUrl(BOUNDLESS));
  const alert = page.locator('.notice.error[data-code="out-of-memory"]');
  const way = alert.getByRole("button", { name: /^With [\d,]+ tokens$/ });
  await expect(way).toBeVisible();
  await way.click();
  await ready(page);
  await openModels(page);
  await expect(page.locator("#loaded-card")).toContainText("of 4,194,304 tokens");
});
