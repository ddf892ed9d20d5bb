// Conversations are never lost: each tab has its own, all are listed, and only the visitor deletes one.

import { readFileSync } from "node:fs";
import type { BrowserContext, Page } from "@playwright/test";
import { ask, expect, test } from "./fixtures.ts";
import { script, start, useScript } from "./scripted.ts";

useScript();

const shown = (page: Page) => page.locator(".message.user");
const rows = (page: Page) => page.locator("#chats-list li");
const note = (page: Page) => page.locator("#chats-note");

async function openChats(page: Page): Promise<void> {
  await page.locator("#chats-button").click();
  await expect(page.getByRole("dialog", { name: "Chats" })).toBeVisible();
}

/** Lets the model answer one question. */
async function say(page: Page, question: string): Promise<void> {
  await script(page, { text: `About: ${question}` });
  await ask(page, question);
}

async function newTab(context: BrowserContext, site: { url: string }): Promise<Page> {
  const page = await context.newPage();
  await page.goto(site.url);
  return page;
}

/** What a build before the list of chats left behind. */
const leave = (page: Page, chats: Record<string, [updated: number, question: string]>) => page.evaluate((chats) => {
  for (const [name, [updated, question]] of Object.entries(chats)) {
    const messages = [{ role: "user", content: question }, { role: "assistant", content: "An answer." }];
    localStorage.setItem(`qwenlet.chat.${name}`, JSON.stringify({ updated, messages }));
  }
}, chats);

test("two tabs keep their own conversations, and a reload shows a tab's own, not the newer one of a closed tab", async ({ page, context, site }) => {
  await start(page, site);
  await say(page, "In the first tab");
  const other = await newTab(context, site);
  await expect(other.locator(".message")).toHaveCount(0);
  await start(other, site);
  await say(other, "In the second tab");
  await other.close();
  await page.reload();
  await expect(shown(page)).toHaveText("In the first tab");
});

test("the last conversation is there in a new tab; one open elsewhere is not taken over", async ({ page, context, site }) => {
  await leave(page, { old: [1, "Long ago"], new: [2, "A while ago"] });
  const second = await newTab(context, site);
  await expect(shown(second)).toHaveText("A while ago");
  const third = await newTab(context, site);
  await expect(third.locator(".message")).toHaveCount(0);
  await openChats(third);
  await expect(rows(third)).toHaveCount(2);
  await expect(rows(third).first()).toContainText("In another tab");
  await rows(third).first().getByRole("button", { name: "A while ago", exact: true }).click();
  await expect(note(third)).toHaveText("It is open in another tab.");
  await rows(third).first().getByRole("button", { name: "Delete A while ago" }).click();
  await rows(third).first().getByRole("button", { name: "Delete it" }).click();
  await expect(note(third)).toHaveText("It is open in another tab.");
  await rows(third).last().getByRole("button", { name: "Long ago", exact: true }).click();
  await expect(shown(third)).toHaveText("Long ago");
  await expect(page.locator(".message")).toHaveCount(0); // which was open before there was any
});

test("over plain http, where nothing tells tabs apart, two that go on with one conversation each keep what they have", async ({ context, page, site }) => {
  const lan = { url: site.url.replace("127.0.0.1", "lan.test") };
  await page.goto(lan.url);
  expect(await page.evaluate(() => "locks" in navigator)).toBe(false);
  await leave(page, { shared: [1, "Begun"] });
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  const other = await newTab(context, lan);
  for (const tab of [page, other]) {
    await expect(shown(tab)).toHaveText("Begun");
    await start(tab, lan);
  }
  await say(page, "Gone on here");
  await say(other, "Gone on there");
  await other.close();
  await openChats(page);
  await expect(rows(page).locator(".row-open")).toHaveText(["Begun", "Begun"]);
  await rows(page).first().locator(".row-open").click();
  await expect(shown(page)).toHaveText(["Begun", "Gone on there"]);
  await page.reload();
  await openChats(page);
  await rows(page).last().locator(".row-open").click();
  await expect(shown(page)).toHaveText(["Begun", "Gone on here"]);
});

test("a reload waits for the page that it replaces to let go of the conversation", async ({ page, site }) => {
  await start(page, site);
  await say(page, "Still here");
  // As where the old document is slow to go.
  await page.addInitScript(() => {
    const request = LockManager.prototype.request as (this: LockManager, ...rest: unknown[]) => Promise<unknown>;
    let first = true;
    LockManager.prototype.request = async function (this: LockManager, name: string, ...rest: unknown[]) {
      if (first) {
        first = false;
        let free = (): void => {};
        void request.call(this, name, () => new Promise<void>((resolve) => (free = resolve)));
        setTimeout(() => free(), 300);
      }
      return request.call(this, name, ...rest);
    };
  });
  await page.reload();
  await expect(shown(page)).toHaveText("Still here");
});

test("a new chat keeps the old one: in the list, after a reload too, and not shown in its place", async ({ page, site }) => {
  await leave(page, { orphan: [1, "An orphan"] });
  await start(page, site);
  await say(page, "The old one");
  // At once: what is typed and sent in the same moment is not the old chat's.
  const left = await page.evaluate(() => {
    document.querySelector<HTMLElement>("#new-chat")!.click();
    return document.querySelectorAll(".message").length;
  });
  expect(left).toBe(0);
  await expect(page.getByLabel("Message", { exact: true })).toBeFocused();
  await page.reload();
  await expect(page.locator("#models")).toBeVisible();
  await expect(page.locator(".message")).toHaveCount(0);

  await openChats(page);
  await expect(rows(page).locator(".row-open")).toHaveText(["The old one", "An orphan"]);
  await expect(rows(page).first()).toContainText("2 messages · just now");
  await expect(page.getByRole("heading", { name: "Chats" })).toBeFocused();
  await page.keyboard.press("Tab"); // the button that closes it
  await page.keyboard.press("Tab");
  await expect(rows(page).first().locator(".row-open")).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(shown(page)).toHaveText("The old one");
  await openChats(page);
  await expect(rows(page).first().locator("[aria-current=true]")).toHaveText("The old one");
  await expect(rows(page).first()).toContainText("Shown now");
});

test("only a confirmed deletion deletes, the shown one too", async ({ page, site }) => {
  await leave(page, { orphan: [1, "An orphan"] });
  await start(page, site);
  await say(page, "To be deleted");
  await openChats(page);
  const row = rows(page).first();
  await row.getByRole("button", { name: "Delete To be deleted" }).click();
  await row.getByRole("button", { name: "Keep" }).click();
  await expect(rows(page)).toHaveCount(2);
  await row.getByRole("button", { name: "Delete To be deleted" }).click();
  await expect(row.getByRole("button", { name: "Delete it" })).toBeFocused();
  await row.getByRole("button", { name: "Delete it" }).click();
  await expect(rows(page).locator(".row-open")).toHaveText(["An orphan"]);
  await expect(note(page)).toContainText("“To be deleted” was deleted.");
  await expect(page.locator(".message")).toHaveCount(0);
  await page.keyboard.press("Escape");
  await page.reload();
  await expect(page.locator(".message")).toHaveCount(0);
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain("To be deleted");
  expect(await page.evaluate(() => JSON.stringify(localStorage))).toContain("An orphan");
});

/** A new chat while the answer in another has its first half; the second comes with `more`. */
async function leaveHalfWay(page: Page, site: { url: string }): Promise<void> {
  await start(page, site);
  await script(page, { text: "The first half" }, { wait: "more" }, { text: " and the second." });
  await page.getByLabel("Message", { exact: true }).fill("One");
  await page.keyboard.press("Enter");
  await expect(page.locator(".message[aria-busy]")).toContainText("The first half");
  await page.getByRole("button", { name: "New chat" }).click();
}

test("who leaves a chat in the middle of an answer finds what was written, in that chat", async ({ page, site }) => {
  await leaveHalfWay(page, site);
  await expect(page.locator(".message")).toHaveCount(0);
  // What is sent meanwhile waits for the engine.
  await page.getByLabel("Message", { exact: true }).fill("Two");
  await page.keyboard.press("Enter");
  await expect(page.locator("#status")).toHaveText("Sent as soon as the last answer has stopped");
  await page.evaluate(() => Object.assign(window, { more: true }));
  await expect(shown(page)).toHaveText("Two");
  await expect(page.locator(".message.assistant .stats")).toBeVisible();
  await page.getByRole("button", { name: "Go back" }).click();
  await expect(shown(page)).toHaveText("One");
  await expect(page.locator(".message.assistant .prose")).toHaveText("The first half and the second.");
  await openChats(page);
  await expect(rows(page).locator(".row-open")).toHaveText(["Two", "One"]);
});

test("who comes back while the answer is still ending sees its end", async ({ page, site }) => {
  await leaveHalfWay(page, site);
  await page.getByRole("button", { name: "Go back" }).click();
  await expect(page.locator(".message.assistant .prose")).toHaveText("The first half");
  await page.evaluate(() => Object.assign(window, { more: true }));
  await expect(page.locator(".message.assistant .prose")).toHaveText("The first half and the second.");
  await expect(page.getByRole("button", { name: "Send" })).toBeVisible();
});

test("what was exported as JSON can be imported again, once; Markdown has the words", async ({ page, site }) => {
  await leave(page, { orphan: [1, "An *old* question: why?"] });
  await start(page, site);
  await say(page, "A new question");
  await openChats(page);
  const saved = async (press: () => Promise<void>) => {
    const [download] = await Promise.all([page.waitForEvent("download"), press()]);
    return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
  };
  await rows(page).last().getByRole("button", { name: /^Export/ }).click();
  const markdown = await saved(() => rows(page).last().getByRole("button", { name: "Markdown" }).click());
  expect(markdown.name).toBe("An -old- question- why-.md");
  expect(markdown.text).toBe("# An *old* question: why?\n\n**You**\n\nAn *old* question: why?\n\n**Answer**\n\nAn answer.\n");
  const json = await saved(() => rows(page).last().getByRole("button", { name: "JSON" }).click());
  expect(JSON.parse(json.text)).toMatchObject({ chats: [{ updated: 1, messages: [{ content: "An *old* question: why?" }, { content: "An answer." }] }] });
  const all = await saved(() => page.getByRole("button", { name: "Export all" }).click());
  expect(all.name).toBe("qwenlet chats.json");

  const choose = (name: string, text: string) => page.locator("#chats-file").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
  await choose(all.name, all.text);
  await expect(note(page)).toHaveText("All of these were here.");
  await rows(page).last().getByRole("button", { name: /^Delete/ }).click();
  await rows(page).last().getByRole("button", { name: "Delete it" }).click();
  await expect(rows(page)).toHaveCount(1);
  await choose(all.name, all.text);
  await expect(note(page)).toHaveText("1 chat was added.");
  await expect(rows(page)).toHaveCount(2);
  for (const bad of ["notes", "[]", '{"chats": [{"updated": 1, "messages": [{"role": "user"}]}]}']) {
    await choose("bad.json", bad);
    await expect(note(page)).toHaveText("bad.json has no chats that this page exported as JSON.");
  }
  await rows(page).last().locator(".row-open").click();
  await expect(shown(page)).toHaveText("An *old* question: why?");
});

test("where storage is full, the page says so, loses nothing that it has, and can export it", async ({ page, site }) => {
  await page.evaluate(() => {
    for (let size = 4 << 20; size > 0; size >>= 1) {
      try {
        localStorage.setItem("filler", (localStorage.getItem("filler") ?? "") + "x".repeat(size));
      } catch {
        // Full for this size.
      }
    }
  });
  await start(page, site);
  await say(page, "Kept nowhere");
  await expect(page.locator(".notice")).toContainText("does not keep the conversation");
  await page.getByRole("button", { name: "New chat" }).click();
  await expect(page.locator(".message")).toHaveCount(0);
  await openChats(page);
  await rows(page).getByRole("button", { name: "Export Kept nowhere" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), rows(page).getByRole("button", { name: "JSON" }).click()]);
  expect(readFileSync(await download.path(), "utf8")).toContain("About: Kept nowhere");
  // With room again it is kept.
  await page.evaluate(() => localStorage.removeItem("filler"));
  await rows(page).locator(".row-open").click();
  await expect(shown(page)).toHaveText("Kept nowhere");
  await page.reload();
  await expect(shown(page)).toHaveText("Kept nowhere");
});
