// How answers are shown, whatever a model says.

import type { Page } from "@playwright/test";
import { ask, expect, loadUrl, ready, test } from "./fixtures.ts";
import { requests, script, start, useScript, type Step } from "./scripted.ts";

useScript();

test("a growing answer keeps what is finished: only its end is rendered again", async ({ page, site }) => {
  await start(page, site);
  const paragraphs = Array.from({ length: 300 }, (_, i) => ({ text: `Paragraph **${i}** of the answer. 第${i}段。\n\n` }));
  await script(page, ...paragraphs.slice(0, 50), { wait: "half" }, ...paragraphs.slice(50), { wait: "all" }, { text: "[late link][end]\n\n[end]: https://example.org/" });
  await page.getByLabel("Message", { exact: true }).fill("Go on");
  await page.keyboard.press("Enter");
  const shown = page.locator(".message[aria-busy] .prose > p");
  await expect(shown).toHaveCount(50);
  await shown.first().evaluate((p) => p.setAttribute("data-mark", "early"));
  await page.evaluate(() => Object.assign(window, { half: true }));
  await expect(shown).toHaveCount(300);
  await expect(shown.first()).toHaveAttribute("data-mark", "early"); // the same node still
  await page.evaluate(() => Object.assign(window, { all: true }));
  const done = page.locator(".message.assistant:not([aria-busy]) .prose");
  await expect(done.locator("> p")).toHaveCount(301);
  await expect(done.locator("> p").nth(299)).toHaveText("Paragraph 299 of the answer. 第299段。");
  // Only the whole text tells where this one leads.
  await expect(done.getByRole("link", { name: "late link" })).toHaveAttribute("href", "https://example.org/");
});

test("a code block as it grows, with its language, and the blocks around it", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "Look:\n\n```ru" }, { text: "st\nfn main() {\n" }, { wait: "more" }, { text: "    // <b>&amp;</b>\n}\n```\n\n- one\n" }, { text: "- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n" });
  await page.getByLabel("Message", { exact: true }).fill("Code");
  await page.keyboard.press("Enter");
  await expect(page.locator(".message[aria-busy] .code code")).toHaveText("fn main() {");
  await expect(page.locator(".message[aria-busy] .code figcaption")).toContainText("rust");
  await page.evaluate(() => Object.assign(window, { more: true }));
  const prose = page.locator(".message.assistant:not([aria-busy]) .prose");
  await expect(prose.locator(".code code")).toHaveText("fn main() {\n    // <b>&amp;</b>\n}");
  await expect(prose.locator("li")).toHaveText(["one", "two"]);
  await expect(prose.locator("td")).toHaveText(["1", "2"]);
  await expect(page.locator(".message .stats")).toContainText("5 tok/s");
});

for (const [what, text] of [["dashes", "- ".repeat(1187)], ["quotes", ">".repeat(2000)]] as const) {
  test(`an answer of nothing but ${what} is shown, ends, and does not keep the page from opening again`, async ({ page, site }) => {
    await start(page, site);
    const half = text.length / 2;
    await script(page, { text: text.slice(0, half) }, { wait: "more" }, { text: text.slice(half) }, { text: "x" });
    await page.getByLabel("Message", { exact: true }).fill("Go on");
    await page.keyboard.press("Enter");
    await expect(page.locator(".message[aria-busy] .waiting")).toHaveCount(0);
    await page.evaluate(() => Object.assign(window, { more: true }));
    const answer = page.locator(".message.assistant:not([aria-busy]) .prose");
    await expect(answer).toHaveText(/x\s*$/);
    await expect(page.getByRole("button", { name: "Send" })).toBeVisible();
    await page.reload();
    await expect(answer).toHaveText(/x\s*$/);
    await start(page, site);
    await script(page, { text: "All is well." });
    await ask(page, "And now?");
    await expect(answer.last()).toHaveText("All is well.");
  });
}

test("thoughts stand apart from the answer, and are not sent again", async ({ page, site }) => {
  await start(page, site);
  await script(page, { thought: "I ponder " }, { thought: "this, then" }, { text: "The " }, { text: "answer." });
  await ask(page, "Think");
  await expect(page.locator(".message.assistant .prose")).toHaveText("The answer.");
  await page.locator(".thought summary").click();
  await expect(page.locator(".thought > div")).toHaveText("I ponder this, then");
  await script(page, { text: "<thinly> veiled" });
  await ask(page, "Again");
  await expect(page.locator(".message.assistant .prose").last()).toHaveText("<thinly> veiled");
  expect((await requests(page)).at(-1)).toMatchObject({
    enable_thinking: true,
    messages: [{ role: "user", content: "Think" }, { role: "assistant", content: "The answer." }, { role: "user", content: "Again" }],
  });
});

test("an engine that dies takes nothing along: the text stays, also after a reload, and can be tried again", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "Half an ans" }, { fail: ["device-lost", "The GPU is gone."] });
  await ask(page, "A question worth keeping");
  const answer = page.locator(".message.assistant");
  await expect(answer.locator(".prose")).toHaveText("Half an ans");
  await expect(answer.getByRole("alert")).toContainText("The graphics processor stopped working. Your conversation is safe.");
  await page.reload();
  await expect(page.locator(".message.user")).toHaveText("A question worth keeping");
  await expect(answer.locator(".prose")).toHaveText("Half an ans");

  await start(page, site);
  await script(page, { text: "Half" }, { fail: ["device-lost", "The GPU is gone."] });
  await answer.getByRole("button", { name: "Try again" }).click();
  await expect(answer.locator(".prose")).toHaveText("Half");
  await expect(page.locator("#model-dot")).toHaveAttribute("data-state", "none");
  await script(page, { text: "A whole answer." });
  await answer.getByRole("button", { name: "Try again" }).click(); // loads the model again by itself
  await expect(answer.locator(".prose")).toHaveText("A whole answer.");
  await expect(answer.getByRole("alert")).toHaveCount(0);
});

const answer = (page: Page) => page.locator(".message.assistant:not([aria-busy]) .prose");
const stepper = (page: Page) => page.locator(".versions");

test("an answer made anew keeps the one before it, and both stay after a reload", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "First answer." });
  await ask(page, "A question");
  await expect(stepper(page)).toHaveCount(0);
  await script(page, { text: "Second answer." });
  await page.getByRole("button", { name: "Regenerate" }).click();
  await expect(answer(page)).toHaveText("Second answer.");
  await expect(stepper(page)).toHaveText("2 of 2");
  await page.getByRole("button", { name: "Earlier version" }).click();
  await expect(answer(page)).toHaveText("First answer.");
  await expect(page.getByRole("button", { name: "Earlier version" })).toBeDisabled();
  await expect(page.getByRole("button", { name: "Later version" })).toBeFocused();
  await page.reload();
  await expect(answer(page)).toHaveText("First answer.");
  await expect(stepper(page)).toHaveText("1 of 2");
  await page.getByRole("button", { name: "Later version" }).click();
  await expect(answer(page)).toHaveText("Second answer.");
  // The model is shown the one that stands there.
  await page.getByRole("button", { name: "Earlier version" }).click();
  await start(page, site);
  await script(page, { text: "Third." });
  await ask(page, "Another question");
  expect((await requests(page)).at(-1)).toMatchObject({ messages: [{ content: "A question" }, { content: "First answer." }, { content: "Another question" }] });
});

test("an answer that is made anew and comes to nothing leaves the one before in its place", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "A good answer." });
  await ask(page, "A question");
  const regenerate = page.getByRole("button", { name: "Regenerate" });
  await script(page, { fail: ["context-full", "700 tokens, and there is room for 512."] });
  await regenerate.click();
  await expect(page.locator("#notices").getByRole("alert")).toContainText("too long for the model");
  await expect(answer(page)).toHaveText("A good answer.");
  await expect(stepper(page)).toHaveCount(0);

  await script(page, { wait: "more" }, { fail: ["aborted", "Stopped."] });
  await regenerate.click();
  await expect(page.locator(".message[aria-busy]")).toHaveCount(1);
  // What leaves the page at this point is not lost either.
  const kept = await page.evaluate(() => Object.entries(localStorage).find(([key]) => key.startsWith("qwenlet.chat."))![1] as string);
  expect(kept).toContain("A good answer.");
  await page.evaluate(() => Object.assign(window, { more: true }));
  await expect(answer(page)).toHaveText("A good answer.");
  await expect(page.locator(".message.assistant")).toHaveCount(1);
});

test("the last message can be edited; how it was stays a version, and a draft comes back", async ({ page, site }) => {
  const field = page.getByLabel("Message", { exact: true });
  await start(page, site);
  for (const text of ["One", "Two"]) {
    await script(page, { text: `About ${text}.` });
    await ask(page, text);
  }
  await expect(page.getByRole("button", { name: "Edit this message" })).toHaveCount(1);
  await field.fill("A draft");
  await page.getByRole("button", { name: "Edit this message" }).click();
  await expect(field).toHaveValue("Two");
  await expect(field).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(field).toHaveValue("A draft");
  await page.getByRole("button", { name: "Edit this message" }).click();
  await expect(page.locator("#editing")).toBeVisible();
  await field.fill("Three");
  await script(page, { text: "About Three." });
  await page.keyboard.press("Enter");
  await expect(page.locator(".message.user")).toHaveText(["One", "Three"]);
  await expect(answer(page)).toHaveText(["About One.", "About Three."]);
  await expect(field).toHaveValue("A draft");
  await expect(page.locator("#editing")).toBeHidden();
  expect((await requests(page)).at(-1)).toMatchObject({ messages: [{ content: "One" }, { content: "About One." }, { content: "Three" }] });
  await page.getByRole("button", { name: "Earlier version" }).click();
  await expect(page.locator(".message.user")).toHaveText(["One", "Two"]);
  await expect(answer(page)).toHaveText(["About One.", "About Two."]);

  // Stopped before a word came, the edited message stays.
  await page.getByRole("button", { name: "Edit this message" }).click();
  await field.fill("Four");
  await script(page, { fail: ["aborted", "Stopped."] });
  await page.keyboard.press("Enter");
  await expect(page.locator(".message.assistant .stats").last()).toHaveText("Stopped");
  await expect(page.locator(".message.user")).toHaveText(["One", "Four"]);
  await expect(stepper(page)).toHaveText("3 of 3");
});

test.describe("an answer made anew while the model is loading", () => {
  const loadWaits = (page: Page, waits: boolean) => page.evaluate((loadWaits) => Object.assign(window, { loadWaits }), waits);
  const contents = async (page: Page) => (await requests(page)).map(({ messages }) => (messages as { content: string }[]).map(({ content }) => content));

  /** A first answer, and a load that goes on until it is told to end, which "Regenerate" has begun. */
  async function begin(page: Page, site: { url: string }): Promise<void> {
    await start(page, site);
    await script(page, { text: "Old." });
    await ask(page, "One");
    await script(page, { fail: ["device-lost", "Gone."] });
    await page.getByRole("button", { name: "Regenerate" }).click();
    await expect(page.locator(".notice.error")).toContainText("stopped working");
    await script(page, { text: "New." });
    await loadWaits(page, true);
    await page.locator(".notice.error").getByRole("button", { name: "Try again" }).click();
    await expect(page.locator("#status")).toHaveText("Answered again as soon as the model is ready");
  }

  test("comes as soon as it is ready, once", async ({ page, site }) => {
    await begin(page, site);
    await page.getByRole("button", { name: "Regenerate" }).click();
    await loadWaits(page, false);
    await expect(answer(page)).toHaveText("New.");
    await expect(stepper(page)).toHaveText("2 of 2");
    expect(await contents(page)).toEqual([["One"], ["One"], ["One"]]);
  });

  test("comes where another load had begun", async ({ page, site }) => {
    await start(page, site);
    await script(page, { text: "Old." });
    await ask(page, "One");
    await page.reload();
    await script(page, { text: "New." });
    await loadWaits(page, true);
    await loadUrl(page, `${site.url}model.gguf`);
    await page.getByRole("button", { name: "Regenerate" }).click();
    await expect(page.locator("#status")).toHaveText("Answered again as soon as the model is ready");
    await loadWaits(page, false);
    await expect(answer(page)).toHaveText("New.");
    expect(await contents(page)).toEqual([["One"]]);
  });

  test("does not come in another chat, nor where a message was sent in its place", async ({ page, site }) => {
    await begin(page, site);
    await page.getByRole("button", { name: "New chat" }).click();
    await expect(page.locator("#status")).toHaveText("");
    await loadWaits(page, false);
    await ready(page);
    await ask(page, "Elsewhere");
    expect(await contents(page)).toEqual([["One"], ["One"], ["Elsewhere"]]);

    await begin(page, site);
    await page.getByLabel("Message", { exact: true }).fill("Two");
    await page.keyboard.press("Enter");
    await expect(page.locator("#status")).toHaveText("Sent as soon as the model is ready");
    await loadWaits(page, false);
    await expect(answer(page)).toHaveText(["New.", "Old.", "New."]);
    await expect(page.locator(".message[aria-busy]")).toHaveCount(0);
    expect((await contents(page)).at(-1)).toEqual(["Elsewhere", "New.", "One", "Old.", "Two"]);
  });
});

test("another model in the middle of an answer stops it: no failure", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "Half an ans" }, { wait: "unloaded" }, { fail: ["unloaded", "The engine was unloaded; load it again."] });
  await page.getByLabel("Message", { exact: true }).fill("A question");
  await page.keyboard.press("Enter");
  await expect(page.locator(".message[aria-busy]")).toContainText("Half an ans");
  await loadUrl(page, `${site.url}other.gguf`);
  await expect(page.locator(".message.assistant .stats")).toContainText("Stopped");
  await ready(page);
  await expect(answer(page)).toHaveText("Half an ans");
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(page.locator("#model-name")).toHaveText("other");
});

test("a model that fails after it took the place of another offers the way back", async ({ page, site }) => {
  await start(page, site);
  await page.evaluate(() => Object.assign(window, { loadFails: ["integrity", "Another file."] }));
  await loadUrl(page, `${site.url}other.gguf`);
  const alert = page.locator("#notices").getByRole("alert");
  await expect(alert).toContainText("This is not the file that it should be");
  await page.evaluate(() => Object.assign(window, { loadFails: undefined }));
  await alert.getByRole("button", { name: "Back to model" }).click();
  await ready(page);
  await expect(page.locator("#model-name")).toHaveText("model");
});

test("keys that belong to an input method neither send nor stop", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "An ans" }, { wait: "more" }, { text: "wer." });
  const field = page.getByLabel("Message", { exact: true });
  const press = (init: object) => field.evaluate((node, init) => void node.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init })), init);
  await field.fill("你好");
  await press({ key: "Enter", isComposing: true });
  await press({ key: "Enter", keyCode: 229 }); // as Safari ends a composition
  await expect(field).toHaveValue("你好");
  await press({ key: "Enter", keyCode: 13 });
  await expect(page.locator(".message.user")).toHaveText("你好");
  await expect(page.locator(".message[aria-busy]")).toContainText("An ans");
  await press({ key: "Escape", isComposing: true });
  await press({ key: "Escape", keyCode: 229 });
  await page.evaluate(() => Object.assign(window, { more: true }));
  await expect(answer(page)).toHaveText("An answer.");
  await expect(page.locator(".message.assistant .stats")).not.toContainText("Stopped");
});

test("text of each script runs in its own direction", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "מצוין\n\n- אחת\n- two\n\nPlain\n\n| א | b |\n|---|---|\n| 1 | 2 |\n\n`x = 1`\n\n```\ncode\n```" });
  await ask(page, "مرحبا، كيف حالك؟");
  const direction = (selector: string) => page.locator(selector).first().evaluate((node) => getComputedStyle(node).direction);
  expect(await direction(".message.user")).toBe("rtl");
  const answers = ".message.assistant .prose";
  const directions = [];
  for (const selector of ["> p", "> ul", "li:last-child", "> p ~ p", "table", "pre"]) directions.push(await direction(`${answers} ${selector}`));
  expect(directions).toEqual(["rtl", "rtl", "rtl", "ltr", "rtl", "ltr"]);
  await page.getByLabel("Message", { exact: true }).fill("שלום");
  expect(await direction("#message")).toBe("rtl");
  // The marks of a list stand on the side that it begins at.
  expect(await page.locator(`${answers} > ul`).evaluate((node) => parseFloat(getComputedStyle(node).paddingRight))).toBeGreaterThan(10);
});

test("settings reach the request", async ({ page, site }) => {
  await start(page, site);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Instructions to the model").fill("Be brief.");
  await page.getByLabel("Think before answering").uncheck();
  await page.getByText("Sampling", { exact: true }).click();
  await page.getByLabel("Temperature").fill("0.5");
  await page.getByLabel("Top k").fill("20");
  await page.getByRole("button", { name: "Done" }).click();
  await script(page, { text: "Yes." });
  await ask(page, "Long");
  const [first] = await requests(page);
  expect(first).toMatchObject({ temperature: 0.5, top_k: 20, enable_thinking: false, overflow: "error", messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Long" }] });
  expect(first).not.toHaveProperty("top_p");
});

const TOO_LONG: Step = { fail: ["context-full", "700 tokens, and there is room for 512."] };
const lastOverflow = async (page: Page) => (await requests(page)).at(-1)!["overflow"];

test("leaving out the oldest is the visitor's choice, asked for once a chat", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "One." });
  await ask(page, "First");
  await script(page, TOO_LONG);
  await ask(page, "Second");
  expect(await lastOverflow(page)).toBe("error");
  await script(page, { dropped: 1 }, { text: "Two." });
  await page.getByRole("button", { name: "Leave out the oldest" }).click();
  await expect(answer(page)).toHaveText(["One.", "Two."]);
  await expect(page.locator(".message .stats").last()).toContainText("without the oldest turn");
  expect(await lastOverflow(page)).toBe("drop-oldest");

  await page.reload();
  await start(page, site);
  await script(page, { text: "Three." });
  await ask(page, "Third");
  expect(await lastOverflow(page)).toBe("drop-oldest");
  await page.getByRole("button", { name: "New chat" }).click();
  await ask(page, "Another");
  expect(await lastOverflow(page)).toBe("error");
});

test("a single message that is too long can be edited; what cannot help is not offered", async ({ page, site }) => {
  await start(page, site);
  await script(page, TOO_LONG);
  await ask(page, "Very long");
  const failed = page.locator(".message.assistant").last();
  await expect(failed.getByRole("alert")).toContainText("This message is too long for the model");
  await expect(failed.getByRole("button", { name: "Leave out the oldest" })).toHaveCount(0);
  await failed.getByRole("button", { name: "Edit the message" }).click();
  await expect(page.getByLabel("Message", { exact: true })).toHaveValue("Very long");
  await page.getByLabel("Message", { exact: true }).fill("Short");
  await script(page, { text: "Yes." });
  await page.keyboard.press("Enter");
  await expect(answer(page)).toHaveText("Yes.");

  // Where all before it is left out already, it is the message too.
  await script(page, TOO_LONG);
  await ask(page, "Long");
  await failed.getByRole("button", { name: "Leave out the oldest" }).click();
  await expect(failed.getByRole("alert")).toContainText("This message is too long for the model");
  await expect(failed.getByRole("button", { name: "Edit the message" })).toBeVisible();
});

test("an answer for which there was no room offers to leave out the oldest; one that its limit ended does not", async ({ page, site }) => {
  await start(page, site);
  await script(page, { text: "Cut" }, { length: 40 });
  await ask(page, "First");
  await expect(page.locator(".message .stats")).toContainText("Ended at the length limit");
  await expect(page.locator(".message .notice")).toHaveCount(0);
  await script(page, { text: "Ten wor" }, { length: 512 });
  await ask(page, "Second");
  await expect(page.locator(".message .stats").last()).toContainText("Ended where the context was full");
  await script(page, { text: "Ten words." });
  await page.locator(".message .notice").getByRole("button", { name: "Leave out the oldest" }).click();
  await expect(answer(page)).toHaveText(["Cut", "Ten words."]);
  expect(await lastOverflow(page)).toBe("drop-oldest");
  await expect(stepper(page)).toHaveText("2 of 2");
});
