// The chat page, as a visitor uses it.

import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, expect, fixSettings, loadUrl, openModels, ready, ROOT, serve, test } from "./fixtures.ts";
import { modelPath, QWEN2, QWEN3, splitPart } from "./models.ts";

test("first load from a hub that redirects: progress, a streamed answer, its speed", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("A language model, in this tab");
  await expect(page.locator("#catalogue-list li")).not.toHaveCount(0);
  await expect(page.locator("#catalogue-list")).toContainText("Apache-2.0");

  // The texts of the card while the file arrives slowly.
  await page.evaluate(() => {
    const texts: string[] = [];
    Object.assign(window, { texts });
    new MutationObserver(() => texts.push(document.querySelector(".loading")?.textContent ?? "")).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await loadUrl(page, hub.hubUrl(QWEN3, "fault=slow&ms=100"));
  await ready(page);
  const texts = (await page.evaluate(() => (window as unknown as { texts: string[] }).texts)).join("\n");
  expect(texts).toMatch(/Downloading · [\d.]+ (kB|MB) of [\d.]+ (kB|MB)/);
  expect(texts).toMatch(/\d+%/);
  expect(texts).toMatch(/[\d.]+ (kB|MB)\/s/);
  expect(hub.log.filter((r) => r.status === 302)).toHaveLength(1);
  expect(hub.sent()).toBe(statSync(modelPath(QWEN3)).size);

  await fixSettings(page, { maxTokens: 200, seed: 1 });
  await ready(page);
  // The answer grows in more than two steps: it is streamed, not shown at the end.
  await page.evaluate(() => {
    const lengths = new Set<number>();
    Object.assign(window, { lengths });
    new MutationObserver(() => lengths.add(document.querySelector(".message[aria-busy]")?.textContent?.length ?? 0)).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await ask(page, "Hello, who are you?");
  expect(await page.evaluate(() => (window as unknown as { lengths: Set<number> }).lengths.size)).toBeGreaterThan(3);
  await expect(page.locator(".message.user")).toHaveText("Hello, who are you?");
  await expect(page.locator(".message.assistant .stats")).toHaveText(/\d+ tokens · [\d.,]+ tok\/s · first after [\d.]+ s/);
});

test("on the GPU where that is asked for, and then on the processor", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 6, seed: 1 });
  await openModels(page);
  await page.getByText("GPU", { exact: true }).click();
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await expect(page.locator("#status")).toContainText("On the GPU");
  await ask(page, "Hello");
  await openModels(page);
  await expect(page.locator("#loaded-card")).toContainText("GPU, by WebGPU");
  await page.getByText("Processor", { exact: true }).first().click();
  await page.locator("#stored-list").getByRole("button", { name: /^Load/ }).click();
  await ready(page);
  await expect(page.locator("#status")).toContainText("On the processor");
  await ask(page, "Hello again");
  await expect(page.locator(".message.assistant .stats")).toHaveCount(2);
});

test("stop, regenerate, new chat, and back to the old one", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { seed: 3 });
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);

  // As soon as the first words are there, whatever the speed.
  await page.evaluate(() => {
    const observer = new MutationObserver(() => {
      if (!document.querySelector(".message[aria-busy] :is(.prose, .thought)")?.textContent) return;
      observer.disconnect();
      document.querySelector<HTMLButtonElement>("#stop")!.click();
    });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await ask(page, "Tell me everything you know.");
  await expect(page.locator(".message.assistant .stats")).toContainText("Stopped");
  const stopped = await page.locator(".message.assistant").last().innerText();

  await page.getByRole("button", { name: "Regenerate" }).click();
  await page.keyboard.press("Escape"); // stops as well
  await expect(page.locator(".message.assistant[aria-busy]")).toHaveCount(0);
  await expect(page.locator(".message.assistant")).toHaveCount(1);
  expect(stopped.length).toBeGreaterThan(0);

  await page.getByRole("button", { name: "New chat" }).click();
  await expect(page.locator(".message")).toHaveCount(0);
  await page.getByRole("button", { name: "Go back" }).click();
  await expect(page.locator(".message")).toHaveCount(2);
});

test("a reload with the network cut starts from the cache and answers, with no request", async ({ page, hub }) => {
  const site = await serve();
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 24, seed: 5 });
  await loadUrl(page, hub.hubUrl(QWEN3));
  await ready(page);
  await ask(page, "First question");
  const answer = await page.locator(".message.assistant .prose").innerText();
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));

  hub.reset();
  await site.close();
  await page.context().setOffline(true);
  await page.reload();
  await ready(page);
  await expect(page.locator(".message.user")).toHaveText("First question");
  expect(await page.locator(".message.assistant .prose").innerText()).toBe(answer);
  await ask(page, "Second question");
  await expect(page.locator(".message.assistant")).toHaveCount(2);
  expect(hub.log).toEqual([]);

  await openModels(page);
  await expect(page.locator("#loaded-card")).toContainText("Why");
  await page.locator("#stored-list").getByRole("button", { name: /^Delete/ }).click();
  await page.locator("#stored-list").getByRole("button", { name: /^Delete [\d.]+/ }).click();
  await expect(page.locator("#stored")).toBeHidden();
});

test("works from a sub-path", async ({ page, hub }) => {
  const site = await serve("--base", "/some/where/");
  expect(new URL(site.url).pathname).toBe("/some/where/");
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  await loadUrl(page, hub.directUrl(QWEN2));
  await ready(page);
  await ask(page, "Hello");
  await expect(page.locator(".message.assistant .stats")).toContainText("tokens");
  await site.close();
});

test("a dropped file and a chosen file", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  const data = await page.evaluateHandle((base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "dropped.gguf"));
    return transfer;
  }, readFileSync(modelPath(QWEN3)).toString("base64"));
  await page.dispatchEvent("#main", "dragenter", { dataTransfer: data });
  await expect(page.locator("#drop")).toBeVisible();
  await page.dispatchEvent("#main", "drop", { dataTransfer: data });
  await expect(page.locator("#drop")).toBeHidden();
  await ready(page);
  await expect(page.locator("#model-name")).toHaveText("dropped");
  await ask(page, "Hello");

  await openModels(page);
  await page.locator("#file").setInputFiles(modelPath(QWEN2));
  await expect(page.locator("#model-name")).toHaveText(QWEN2.replace(".gguf", ""));
  await ready(page);
  await ask(page, "Hello again");
  await expect(page.locator(".message.assistant")).toHaveCount(2);
  expect(hub.log).toEqual([]);
});

test("a model in three files: by the address of the first, and dropped together", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  await loadUrl(page, hub.hubUrl(splitPart(1)));
  await ready(page);
  await ask(page, "Hello");
  const answer = await page.locator(".message.assistant .prose").last().innerText();
  await openModels(page);
  await page.locator("#file").setInputFiles([3, 1, 2].map((n) => modelPath(splitPart(n))));
  await ready(page);
  await page.getByRole("button", { name: "Regenerate" }).click();
  await expect(page.locator(".message.assistant .stats")).toBeVisible();
  expect(await page.locator(".message.assistant .prose").last().innerText()).toBe(answer);
});

test("a drop of something else, an address without a file and a file that is no model leave what runs alone", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  const drop = async (name: string) => {
    const data = await page.evaluateHandle((name) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["These are notes."], name));
      return transfer;
    }, name);
    await page.dispatchEvent("#main", "drop", { dataTransfer: data });
  };
  await drop("notes.txt");
  await expect(page.locator("#file-error")).toContainText("files whose name ends in .gguf"); // among the models
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  const alive = async () => {
    await expect(page.locator("#model-name")).toHaveText(QWEN3.replace(".gguf", ""));
    await expect(page.locator("#model-dot")).toHaveAttribute("data-state", "ready");
  };

  await drop("notes.txt");
  await expect(page.locator(".notice")).toContainText("files whose name ends in .gguf");
  await alive();
  await drop("notes.gguf");
  await expect(page.locator('.notice.error[data-code="invalid-gguf"], .notice.error[data-code="truncated-file"]')).toBeVisible();
  await alive();
  await loadUrl(page, hub.directUrl("nothing.gguf"));
  const alert = page.locator('.notice.error[data-code="http-status"]');
  await expect(alert).toContainText("no file at this address (404)");
  await alive();
  await loadUrl(page, hub.directUrl("100%.gguf"));
  await expect(page.locator("#notices")).not.toContainText("Looking at");
  await expect(alert).toBeVisible();
  await ask(page, "Hello"); // by the same model
  await expect(page.locator(".message.assistant .stats")).toContainText("tokens");

  // Nor does any of it end a download.
  await loadUrl(page, hub.directUrl(QWEN2, "fault=stall&after=300000"));
  await expect(page.locator(".loading")).toContainText("%");
  await drop("notes.gguf");
  await expect(page.locator(".notice.error")).toBeVisible();
  await expect(page.locator(".loading")).toContainText("%");
});

test("a new version reloads the tab that asks for it, with its draft; others when they are told to", async ({ page, context }) => {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-site-"));
  cpSync(join(ROOT, "dist"), folder, { recursive: true });
  const site = await serve("--dir", folder);
  await page.goto(site.url);
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  const other = await context.newPage();
  for (const tab of [page, other]) {
    await tab.goto(site.url);
    await expect.poll(() => tab.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
    await tab.locator("#model-button").click(); // to the chat, where notices are
    await tab.evaluate(() => Object.assign(window, { before: true }));
  }
  await page.getByLabel("Message", { exact: true }).fill("Half a sen");
  writeFileSync(join(folder, "sw.js"), `${readFileSync(join(folder, "sw.js"), "utf8")}\n// newer`);
  await page.evaluate(async () => void (await (await navigator.serviceWorker.ready).update()));
  for (const tab of [page, other]) await expect(tab.locator(".notice")).toContainText("A new version of this page is ready.");
  await page.getByRole("button", { name: "Reload" }).click();
  await expect.poll(() => page.evaluate(() => "before" in window).catch(() => true)).toBe(false);
  await expect(page.getByLabel("Message", { exact: true })).toHaveValue("Half a sen");
  await expect(other.locator(".notice")).toHaveText(/Another tab went on with a new version/);
  expect(await other.evaluate(() => "before" in window)).toBe(true);
  await other.getByRole("button", { name: "Reload" }).click();
  await expect.poll(() => other.evaluate(() => "before" in window).catch(() => true)).toBe(false);
  await site.close();
  rmSync(folder, { recursive: true });
});

test("where a host has files of two versions the old one stays, and the new one comes once it is whole", async ({ page }) => {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-site-"));
  cpSync(join(ROOT, "dist"), folder, { recursive: true });
  const site = await serve("--dir", folder);
  await page.goto(site.url);
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.reload();
  await expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
  const style = readFileSync(join(folder, "style.css"));
  const update = () => page.evaluate(async () => {
    const registration = await (await navigator.serviceWorker.ready).update();
    const { installing } = registration as unknown as ServiceWorkerRegistration;
    if (installing) await new Promise((resolve) => installing.addEventListener("statechange", resolve, { once: true }));
    return installing?.state;
  });
  writeFileSync(join(folder, "style.css"), "/* Of another version. */");
  writeFileSync(join(folder, "sw.js"), `${readFileSync(join(folder, "sw.js"), "utf8")}\n// newer`);
  expect(await update()).toBe("redundant");
  expect(await page.evaluate(async () => (await fetch("style.css")).text())).toBe(style.toString());
  writeFileSync(join(folder, "style.css"), style);
  expect(await update()).toBe("installed");
  await site.close();
  rmSync(folder, { recursive: true });
});

const FAILURES: [what: string, url: (hub: { directUrl(name: string, query?: string): string }) => string, code: string, says: RegExp][] = [
  ["a missing file", (hub) => hub.directUrl("nothing.gguf"), "http-status", /no file at this address \(404\)/],
  ["a server with a problem", (hub) => hub.directUrl(QWEN3, "fault=status&status=503"), "http-status", /The server has a problem \(503\)/],
  ["a file that ends too early", (hub) => hub.directUrl(QWEN3, "fault=truncate&after=200000"), "truncated-file", /ends too early/],
  ["a host without CORS", (hub) => hub.directUrl(QWEN3, "fault=no-cors"), "network", /connection failed/],
  ["a file that is no model", (hub) => hub.directUrl("notes.gguf"), "invalid-gguf", /not a GGUF model/],
];
for (const [what, url, code, says] of FAILURES) {
  test(`${what} is told in plain words`, async ({ page, hub, site }) => {
    await page.goto(site.url);
    await loadUrl(page, url(hub));
    const alert = page.locator(`.notice.error[data-code="${code}"]`);
    await expect(alert).toHaveText(says);
    await expect(alert.getByRole("button").first()).toBeVisible();
    await alert.getByRole("button", { name: "Choose a model" }).click();
    await expect(page.locator("#models")).toBeVisible();
  });
}

test("a connection reset halfway is taken up again", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  await loadUrl(page, hub.hubUrl(QWEN3, "fault=reset&after=300000&times=1"));
  await ready(page);
  expect(hub.sent(QWEN3)).toBe(hub.bytes(QWEN3).length);
  await ask(page, "Hello");
  await page.reload();
  await ready(page); // from the cache
});

test("a connection that breaks each time is reported and can be tried again", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  hub.plan(QWEN3, Array.from({ length: 7 }, (_, i) => ({ fault: "reset", after: i === 0 ? 300_000 : 0 })));
  await loadUrl(page, hub.hubUrl(QWEN3));
  const alert = page.locator('.notice.error[data-code="network"]');
  await expect(alert).toBeVisible();
  await expect(alert).toContainText("broke off");
  await alert.getByRole("button", { name: "Load again" }).click();
  await ready(page);
  await ask(page, "Hello");
  await page.reload();
  await ready(page); // the second download is whole: it starts from the cache
});

test("a load can be cancelled, and another chosen meanwhile", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await loadUrl(page, hub.directUrl(QWEN3, "fault=stall&after=300000"));
  await expect(page.locator(".loading")).toContainText("%");
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator(".loading")).toHaveCount(0);
  await expect(page.locator("#models")).toBeVisible();

  await loadUrl(page, hub.directUrl(QWEN3, "fault=stall&after=300000"));
  await expect(page.locator(".loading")).toContainText("%");
  await loadUrl(page, hub.directUrl(QWEN2));
  await ready(page);
  await expect(page.locator("#model-name")).toHaveText(QWEN2.replace(".gguf", ""));
  await expect(page.locator(".notice.error")).toHaveCount(0);
});

test("a full storage: the model runs all the same, and the page says that it is not kept", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 8, seed: 5 });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 100_000 });
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await expect(page.locator(".notice")).toContainText("not enough storage to keep this model");
  await ask(page, "Hello");
  await expect(page.locator(".message.assistant .stats")).toContainText("tokens");
  await cdp.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin });
});

test("an address on a host that the page may not reach", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await loadUrl(page, "https://models.example/some.gguf");
  await expect(page.locator("#url-error")).toContainText("may not connect to models.example");
  await expect(page.getByLabel("Address of a .gguf file")).toBeFocused();
  await loadUrl(page, "not an address.gguf");
  await expect(page.locator(".notice.error")).toBeVisible(); // a path on this site, where there is no such file
  expect(hub.log).toEqual([]);
});

test("an answer that ends where the context is full says so", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await page.evaluate(() => localStorage.setItem("qwenlet.settings", JSON.stringify({ sampling: { seed: 5 }, contextLength: 128 })));
  await page.reload();
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await ask(page, "one two three four five six seven ".repeat(3));
  await expect(page.locator(".message.assistant .stats")).toContainText("Ended where the context was full");
});

test("a conversation that does not fit can go on without its oldest part", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await page.evaluate(() => localStorage.setItem("qwenlet.settings", JSON.stringify({ sampling: { seed: 1, max_tokens: 8 }, contextLength: 128 })));
  await page.reload();
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await ask(page, "one two three four five six seven ".repeat(3));
  await ask(page, "one two three four five six seven ".repeat(30));
  const failed = page.locator(".message.assistant").last();
  await expect(failed).toContainText("too long for the model");
  await expect(page.locator(".message.user")).toHaveCount(2); // nothing is lost
  await failed.getByRole("button", { name: "New chat" }).click();
  await ask(page, "Hi");
  await expect(page.locator(".message.assistant .stats")).toContainText("tokens");
});
