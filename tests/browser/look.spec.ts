// How the page looks and how it is used without a mouse.

import type { Page } from "@playwright/test";
import { ask, expect, fixSettings, loadUrl, openModels, ready, test } from "./fixtures.ts";
import { QWEN3 } from "./models.ts";

const QUESTION = "Why is the sky blue? Give me the numbers, and a line of code.";
const ANSWER = `Air scatters short waves of light **much more** than long ones.

| Colour | Wavelength | Scattering |
|---|---|---|
| Blue | 450 nm | 2.23 |
| Green | 550 nm | 1.00 |
| Red | 700 nm | 0.38 |

Relative to green, that is \`(550 / λ)⁴\`:

\`\`\`python
def scattering(wavelength_nm: float) -> float:
    return (550 / wavelength_nm) ** 4  # Rayleigh, relative to green, for wavelengths in nanometres
\`\`\`

1. Sunlight holds every colour.
2. Blue is scattered out of the direct light.
3. So blue reaches the eye from everywhere. 所以天空是蓝色的。`;

/** Puts a conversation where the page will find it. */
const keepChat = (page: Page, messages: object[]) => page.evaluate((kept) => {
  for (const key of Object.keys(localStorage)) if (key.startsWith("qwenlet.chat.")) localStorage.removeItem(key);
  sessionStorage.setItem("qwenlet.shown", JSON.stringify("qwenlet.chat.test"));
  addEventListener("pagehide", () => localStorage.setItem("qwenlet.chat.test", JSON.stringify({ updated: Date.now() + 1e9, messages: kept })));
}, messages);

const WIDTHS = [[1280, 800], [390, 844]] as const;

for (const [width, height] of WIDTHS) {
  for (const colorScheme of ["light", "dark"] as const) {
    test.describe(`${width} pixels, ${colorScheme}`, () => {
      test.use({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
      const shooter = (page: Page) => (name: string) => page.screenshot({ path: `../../test-results/screenshots/${name}-${width}-${colorScheme}.png` });
      const fitter = (page: Page) => async () => expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);

      test.describe("the demo", () => {
        test.use({ firstVisit: true });
        test("screenshots, and nothing wider than the window", async ({ page, site }) => {
          const [shot, fits] = [shooter(page), fitter(page)];
          await page.goto(site.url);
          await ready(page);
          await expect(page.locator(".real li")).not.toHaveCount(0);
          await fits();
          await shot("demo");
          await page.getByRole("button", { name: "What is 17 + 25?" }).click();
          await expect(page.locator(".message.assistant .stats")).toBeVisible();
          await ask(page, "How do you say good morning in Japanese?");
          await fits();
          await shot("demo-answer");
          await openModels(page);
          await expect(page.locator("#loaded-card")).toContainText("Runs on");
          await expect(page.locator("#catalogue-list .size").first()).toContainText("of memory");
          await fits();
          await shot("demo-models");
        });
      });

      test("screenshots, and nothing wider than the window", async ({ page, hub, site }) => {
        const [shot, fits] = [shooter(page), fitter(page)];
        await page.goto(site.url);
        await expect(page.locator("#run-note")).not.toBeEmpty();
        await expect(page.locator("html")).toHaveAttribute("data-theme", colorScheme);
        await fits();
        await shot("models");
        await fixSettings(page, { maxTokens: 60, seed: 2 });
        await loadUrl(page, hub.directUrl(QWEN3));
        await ready(page);
        await shot("ready");
        await ask(page, "Write a table of three colours, and a short program. 用中文回答。");
        await fits();
        await shot("answer");
        await keepChat(page, [{ role: "user", content: QUESTION }, { role: "assistant", content: ANSWER, stats: { tokens: 184, tokensPerSecond: 41.7, firstTokenSeconds: 0.4, model: "" } }]);
        await page.reload();
        await ready(page);
        await fits();
        await shot("conversation");
        await page.getByRole("button", { name: "Settings" }).click();
        await shot("settings");
        await page.keyboard.press("Escape");
        await page.locator("#model-button").click();
        await expect(page.locator("#loaded-card")).toContainText("Runs on");
        await expect(page.locator("#stored-list li")).toHaveCount(1);
        await fits();
        await shot("loaded");
        await loadUrl(page, hub.directUrl("nothing.gguf"));
        await expect(page.locator(".notice.error")).toBeVisible();
        await fits();
        await shot("error");
      });
    });
  }
}

test("with the keyboard alone", async ({ page, hub, site }) => {
  await page.goto(site.url);
  await fixSettings(page, { maxTokens: 12, seed: 2 });
  await expect(page.locator("#models")).toBeVisible();
  // The first stop of Tab is the way past the bar.
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toBeFocused();
  await page.getByLabel("Address of a .gguf file").focus();
  await page.keyboard.insertText(hub.directUrl(QWEN3));
  await page.keyboard.press("Enter");
  await ready(page);
  // Once the model is there, the message field has the focus.
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  await page.keyboard.insertText("two");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.insertText("lines");
  await page.keyboard.press("Enter");
  await expect(page.locator(".message.user")).toHaveText("two\nlines");
  await expect(page.locator(".message.assistant .stats")).toBeVisible();
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  // What was written is said to a screen reader, politely, and that it is complete.
  await expect(page.locator("#announcer")).toHaveAttribute("aria-live", "polite");
  await expect(page.locator("#announcer")).toContainText("Answer complete.");
});

test("the focus goes along where a view takes the place of another, and what loads is said", async ({ page, hub, site }) => {
  const [field, title] = [page.getByLabel("Message", { exact: true }), page.locator("#models-title")];
  await page.goto(site.url);
  await loadUrl(page, hub.directUrl(QWEN3, "fault=stall&after=300000"));
  await expect(field).toBeFocused();
  await expect(page.locator("#announcer")).toContainText(`Loading ${QWEN3.replace(".gguf", "")}.`);
  await page.getByRole("button", { name: "Cancel" }).press("Enter");
  await expect(title).toBeFocused();
  await loadUrl(page, hub.directUrl("nothing.gguf"));
  await page.locator(".notice.error").getByRole("button", { name: "Choose a model" }).press("Enter");
  await expect(title).toBeFocused();
  await loadUrl(page, hub.directUrl(QWEN3));
  await ready(page);
  await openModels(page);
  await page.getByRole("button", { name: "Unload" }).press("Enter");
  await expect(title).toBeFocused();
});

test.describe("on a touch screen", () => {
  test.use({ hasTouch: true, isMobile: true });
  test("the focus stays away from the field, which would bring up a keyboard", async ({ page, hub, site }) => {
    await page.goto(site.url);
    await loadUrl(page, hub.directUrl(QWEN3, "fault=stall&after=300000"));
    await expect(page.locator("#scroll")).toBeFocused();
  });
});

test("the theme can be chosen and stays", async ({ page, site }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(site.url);
  await page.getByRole("button", { name: "Dark theme" }).click();
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await expect(page.getByRole("button", { name: "Dark theme" })).toHaveAttribute("aria-pressed", "true");
});

test.describe("before the script has run", () => {
  test.use({ serviceWorkers: "block" });
  for (const [colorScheme, ground] of [["light", "rgb(250, 249, 246)"], ["dark", "rgb(21, 20, 18)"]] as const) {
    test(`the page is ${colorScheme} where the system is`, async ({ page, site }) => {
      await page.route("**/app.js", (route) => route.abort());
      await page.emulateMedia({ colorScheme });
      await page.goto(site.url);
      await expect(page.locator("html")).not.toHaveAttribute("data-theme");
      await expect(page.locator("body")).toHaveCSS("background-color", ground);
      await expect(page.locator("html")).toHaveCSS("color-scheme", colorScheme);
    });
  }

  test("the chosen theme waits for nothing", async ({ page, site }) => {
    await page.addInitScript(() => {
      localStorage["qwenlet.theme"] = '"dark"';
      LockManager.prototype.request = () => new Promise(() => {}); // the conversation never opens
    });
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto(site.url);
    await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  });
});

test("what a model writes cannot become anything but text and safe links", async ({ page, site }) => {
  await page.goto(site.url);
  const hostile = [
    "<img src=x onerror=alert(1)> <script>alert(1)</script>",
    "[a](javascript:alert(1)) [b](https://example.org/x) ![pixel](https://evil.example/p.png)",
    "<iframe src='https://evil.example'></iframe>",
    "<svg onload=alert(1)>",
    "```html\n<b onclick=alert(1)>code</b>\n```",
    "[c]: https://example.org/late\n[late][c]",
  ].join("\n\n");
  await keepChat(page, [{ role: "user", content: "<b>me</b>" }, { role: "assistant", content: hostile }]);
  const requests: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.reload();
  const prose = page.locator(".message.assistant .prose");
  await expect(prose).toContainText("<script>alert(1)</script>");
  await expect(page.locator(".message.user")).toHaveText("<b>me</b>");
  for (const tag of ["script", "img", "iframe", "svg:not(.button svg)"]) await expect(prose.locator(tag)).toHaveCount(0);
  expect(await prose.evaluate((node) => [...node.querySelectorAll("*")].flatMap((e) => e.getAttributeNames()).filter((name) => name.startsWith("on")))).toEqual([]);
  const links = await prose.locator("a[href]").evaluateAll((list) => list.map((a) => [a.getAttribute("href"), a.getAttribute("rel"), a.getAttribute("target")]));
  expect(links.map(([href]) => href)).toEqual(["https://example.org/x", "https://evil.example/p.png", "https://example.org/late"]);
  for (const [, rel, target] of links) expect([rel, target]).toEqual(["noopener noreferrer nofollow", "_blank"]);
  expect(requests.filter((url) => !url.startsWith(site.url))).toEqual([]);
});

test("a list goes on with its number, tasks have boxes, columns their alignment", async ({ page, site }) => {
  await page.goto(site.url);
  const answer = "1. First\n\n```\ncode\n```\n\n2. Second\n\n---\n\n- [x] Done\n- [ ] Open\n\n| Name | Size |\n|---|---:|\n| a | 1 |";
  await keepChat(page, [{ role: "user", content: "Show me" }, { role: "assistant", content: answer }]);
  await page.reload();
  const prose = page.locator(".message.assistant .prose");
  expect(await prose.locator("ol").evaluateAll((lists) => lists.map((list) => (list as HTMLOListElement).start))).toEqual([1, 2]);
  const boxes = prose.getByRole("checkbox");
  await expect(boxes).toHaveCount(2);
  await expect(boxes.first()).toBeChecked();
  await expect(boxes.last()).not.toBeChecked();
  for (const box of await boxes.all()) await expect(box).toBeDisabled();
  const alignments = await prose.locator("td").evaluateAll((cells) => cells.map((cell) => getComputedStyle(cell).textAlign));
  expect(alignments[0]).toBe("start");
  expect(alignments[1]).toMatch(/right$/);
});

test("a long conversation is shown at once", async ({ page, site }) => {
  await page.goto(site.url);
  const paragraphs = Array.from({ length: 2000 }, (_, i) => `Paragraph ${i} with **bold** text and \`code\`. 这是中文。`);
  await keepChat(page, [{ role: "assistant", content: paragraphs.join("\n\n") }]);
  await page.reload();
  await expect(page.locator(".message.assistant .prose > p")).toHaveCount(2000, { timeout: 5000 });
});
