// The demo model, which means what it says: it shows that the engine is right from end to end, on both backends.

import type { Page } from "@playwright/test";
import { ask, expect, loadUrl, openModels, ready, serve, test, type Api } from "./fixtures.ts";
import { QWEN3 } from "./models.ts";

type Demo = typeof import("../../pkg/src/demo.ts");
type Create = Parameters<Awaited<ReturnType<Api["Engine"]["load"]>>["chat"]["completions"]["create"]>[0];
type Request = Omit<Create, "stream">;
interface Choice {
  finish_reason: string;
  message: { content: string | null; reasoning_content?: string; tool_calls?: { id: string; type: "function"; function: { name: string; arguments: string } }[] };
}

const user = (content: string) => ({ role: "user" as const, content });
const assistant = (content: string) => ({ role: "assistant" as const, content });

/** One tool with one string as its argument. */
const tool = (name: string, description: string, argument: string) => ({
  type: "function" as const,
  function: { name, description, parameters: { type: "object", properties: { [argument]: { type: "string" } }, required: [argument] } },
});
const CALCULATOR = tool("calculator", "Computes an arithmetic expression", "expression");
const WEATHER = tool("get_weather", "Tells the weather of a city", "city");

for (const backend of ["cpu", "webgpu"] as const) {
  test.describe(backend, () => {
    let page: Page;

    // One load for all of its tests: what they ask does not depend on what was asked before.
    test.beforeAll(async ({ browser, site }) => {
      page = await browser.newPage();
      await page.goto(`${site.url}pkg/index.js`);
      await page.evaluate(async (backend) => {
        const { Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
        const { DEMO } = (await import(`${location.origin}/pkg/demo.js`)) as Demo;
        const engine = await Engine.load(DEMO, { backend, cache: false });
        if (engine.info.backend !== backend) throw new Error(engine.info.why);
        Object.assign(window, { engine });
      }, backend);
    });
    test.afterAll(() => page.close());

    /** Answers a request without a word on sampling: the file says itself that it is greedy. */
    const complete = (request: Request): Promise<Choice> => page.evaluate(async (request) => {
      const { engine } = window as unknown as { engine: Awaited<ReturnType<Api["Engine"]["load"]>> };
      const { choices } = await engine.chat.completions.create({ enable_thinking: false, max_tokens: 200, ...request });
      return choices[0]!;
    }, request);

    test("a sum, without thinking and with it", async () => {
      const straight = await complete({ messages: [user("What is 17 + 25?")] });
      expect(straight.message.content).toBe("17 + 25 = 42.");
      expect(straight.message.reasoning_content).toBeUndefined();
      expect(straight.finish_reason).toBe("stop");
      const thought = await complete({ messages: [user("What is 17 + 25?")], enable_thinking: true });
      expect(thought.message.content).toMatch(/\b42\b/);
      expect(thought.message.reasoning_content?.trim()).toBeTruthy();
      expect(thought.finish_reason).toBe("stop");
    });

    test("a tool is called, and its result told", async () => {
      for (const [question, call, args, result, answer] of [
        ["What is 384 * 27?", "calculator", { expression: "384 * 27" }, "10368", "384 * 27 = 10368."],
        ["What is the weather in Lisbon?", "get_weather", { city: "Lisbon" }, '{"temperature": 21, "condition": "sunny"}', "It is 21 °C and sunny in Lisbon."],
      ] as const) {
        const tools = [CALCULATOR, WEATHER].filter((t) => t.function.name === call);
        const asked = await complete({ messages: [user(question)], tools });
        expect(asked.finish_reason).toBe("tool_calls");
        const calls = asked.message.tool_calls!;
        expect(calls.map(({ function: { name, arguments: text } }) => [name, JSON.parse(text)])).toEqual([[call, args]]);
        const told = await complete({
          tools,
          messages: [
            user(question),
            { role: "assistant", content: null, tool_calls: calls },
            { role: "tool", tool_call_id: calls[0]!.id, content: result },
          ],
        });
        expect(told.message.content).toBe(answer);
        expect(told.finish_reason).toBe("stop");
      }
    });

    test("JSON that parses, with what was said", async () => {
      const { message } = await complete({ messages: [user("Give me JSON with name and age: Anna is 31 years old.")] });
      expect(JSON.parse(message.content!)).toEqual({ name: "Anna", age: 31 });
    });

    test("what was said earlier in the conversation", async () => {
      const greeted = await complete({ messages: [user("My name is Tom.")] });
      expect(greeted.message.content).toContain("Tom");
      const { message } = await complete({
        messages: [user("My name is Tom."), assistant(greeted.message.content!), user("What is 17 + 25?"), assistant("17 + 25 = 42."), user("What is my name?")],
      });
      expect(message.content).toBe("Your name is Tom.");
    });

    test("a word turned around", async () => {
      const { message } = await complete({ messages: [user("Reverse the word lantern.")] });
      expect(message.content).toMatch(/nretnal\W*$/);
    });

    test("it says what is beyond it, and names a model for that", async () => {
      const { message } = await complete({ messages: [user("Write an essay about the French Revolution.")] });
      expect(message.content).toMatch(/Qwen/);
    });

    test("text of other scripts is streamed in whole characters", async () => {
      for (const [question, answer] of [["How do you say good morning in Japanese?", "おはようございます"], ["How do you say good morning in Chinese?", "早上好"]] as const) {
        const messages = [user(question)];
        const whole = await complete({ messages });
        expect(whole.message.content).toContain(answer);
        const pieces = await page.evaluate(async (messages) => {
          const { engine } = window as unknown as { engine: Awaited<ReturnType<Api["Engine"]["load"]>> };
          const pieces: string[] = [];
          for await (const chunk of await engine.chat.completions.create({ messages, enable_thinking: false, max_tokens: 200, stream: true })) pieces.push(chunk.choices[0]?.delta.content ?? "");
          return pieces;
        }, messages);
        expect(pieces.join("")).toBe(whole.message.content);
        expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(1);
        for (const piece of pieces) expect(piece).not.toContain("\u{FFFD}");
      }
    });
  });
}

const DEMO_NAME = /Demo \([\d.]+ MB, answers a few kinds of question\)/;

/** From opening the page to the first word of an answer, on a machine that does nothing else; seconds. */
const WANTED = 2;
/** On one that tests share. */
const LIMIT = 20;

test.describe("the page", () => {
  test.use({ firstVisit: true });

  test("opens with the demo and answers what is clicked at once", async ({ page, site }) => {
    const foreign: string[] = [];
    page.on("request", (request) => request.url().startsWith(site.url) || foreign.push(request.url()));
    // Asked for as soon as it can be clicked, before the model is there.
    await page.addInitScript(() => {
      const times: Record<string, number> = {};
      Object.assign(window, { times });
      new MutationObserver(() => {
        const idea = [...document.querySelectorAll<HTMLButtonElement>(".ideas button")].find((b) => b.textContent === "What is 17 + 25?");
        if (idea && !("asked" in times)) {
          times["asked"] = performance.now();
          idea.click();
        }
        if (document.querySelector('[data-state="ready"]')) times["ready"] ??= performance.now();
        if (document.querySelector(".message.assistant :is(.prose, .thought > div)")?.textContent) times["answered"] ??= performance.now();
      }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
    });
    await page.goto(site.url);
    await expect(page.locator(".message.assistant .stats")).toBeVisible();
    await expect(page.locator(".message.assistant .prose")).toContainText("42");
    await expect(page.locator(".message.assistant .thought")).toHaveCount(1); // the page's models think where they can
    const times = await page.evaluate(() => (window as unknown as { times: Record<"asked" | "ready" | "answered", number> }).times);
    const seconds = (ms: number) => (ms / 1000).toFixed(2);
    console.log(`first word ${seconds(times.answered)} s after opening (model ready after ${seconds(times.ready)} s); wanted ${WANTED} s, limit on a shared machine ${LIMIT} s`);
    expect(times.answered).toBeLessThan(LIMIT * 1000);
    expect(foreign).toEqual([]);

    await expect(page.locator("#model-name")).toHaveText("Demo");
    await expect(page.locator("#toy")).toContainText("a few kinds of question only");
    await page.getByRole("button", { name: "Get a real model" }).click();
    await expect(page.locator("#loaded-card")).toContainText(DEMO_NAME);
    await expect(page.locator("#stored")).toBeHidden(); // it takes no room among the models
  });

  test("nothing that the page suggests is beyond it", async ({ page, site }) => {
    await page.goto(site.url);
    await ready(page);
    const ideas = await page.locator(".ideas button").allTextContents();
    expect(ideas.length).toBeGreaterThan(3);
    for (const idea of ideas) {
      await page.locator(".ideas").getByRole("button", { name: idea }).click();
      await expect(page.locator(".message.assistant .stats")).toBeVisible();
      await expect(page.locator(".message.assistant .prose")).toHaveText(/\S/);
      await expect(page.locator(".message.assistant .prose")).not.toContainText("beyond");
      console.log(`${idea} → ${await page.locator(".message.assistant .prose").innerText()}`);
      await page.getByRole("button", { name: "New chat" }).click();
    }
  });

  test("names real models for this device beside it", async ({ page, site }) => {
    await page.goto(site.url);
    await ready(page);
    await expect(page.locator(".empty")).toContainText("This is a demo, a toy of");
    const real = page.locator(".real li");
    await expect(real).not.toHaveCount(0);
    await expect(page.locator('.real [data-id="qwen3-0.6b-q8_0"]')).toContainText("639 MB");
    await expect(real.first().getByRole("button", { name: /^Load Qwen/ })).toBeVisible();
    await page.locator(".real").getByRole("button", { name: "All models" }).click();
    await expect(page.locator("#catalogue-list li").first()).toBeVisible();
  });

  test("the second visit needs no network", async ({ page }) => {
    const site = await serve();
    await page.goto(site.url);
    await ready(page);
    await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    await site.close();
    await page.context().setOffline(true);
    await page.reload();
    await ready(page);
    await expect(page.locator(".real li")).not.toHaveCount(0);
    await ask(page, "What is 17 + 25?");
    await expect(page.locator(".message.assistant .prose")).toContainText("42");
  });

  test("a damaged file is refused", async ({ page, site }) => {
    await page.route("**/qwenlet-demo.gguf", async (route) => {
      const response = await route.fetch();
      const body = await response.body();
      body[body.length - 1]! ^= 1;
      await route.fulfill({ response, body });
    });
    await page.goto(site.url);
    await expect(page.locator('.notice.error[data-code="integrity"]')).toBeVisible();
  });

  test("who unloads it begins with the list, and can have it again", async ({ page, site }) => {
    await page.goto(site.url);
    await ready(page);
    await openModels(page);
    await page.getByRole("button", { name: "Unload" }).click();
    await page.reload();
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("A language model, in this tab");
    await expect(page.locator("#demo-list")).toContainText(DEMO_NAME);
    await page.getByRole("button", { name: "Load the demo" }).click();
    await ready(page);
    await page.reload();
    await ready(page);
    await expect(page.locator("#model-name")).toHaveText("Demo");
  });

  test("who has chosen a model gets that again, and the demo where it is chosen anew", async ({ page, hub, site }) => {
    await page.goto(site.url);
    await ready(page);
    await loadUrl(page, hub.directUrl(QWEN3));
    await ready(page);
    await expect(page.locator(".empty")).not.toContainText("demo");
    await page.reload();
    await ready(page);
    await expect(page.locator("#model-name")).toHaveText(QWEN3.replace(".gguf", ""));
    // Stored, but not the one last chosen.
    await page.evaluate(() => localStorage.removeItem("qwenlet.model"));
    await page.reload();
    await expect(page.locator("#stored-list li")).toHaveCount(1);
    await expect(page.locator("#model-dot")).toHaveAttribute("data-state", "none");
    await page.getByRole("button", { name: "Load the demo" }).click();
    await ready(page);
    await page.reload();
    await ready(page);
    await expect(page.locator("#model-name")).toHaveText("Demo");
  });
});
