// The package replaced by one that answers by script, so that the page meets whatever a model may say.

import type { Page } from "@playwright/test";
import { loadUrl, ready, test } from "./fixtures.ts";

export type Step = { text: string } | { thought: string } | { wait: string } | { dropped: number } | { length: number } | { fail: [code: string, message: string] };

const SCRIPTED_PACKAGE = `
  export class QwenletError extends Error {
    constructor(code, message) { super(message); this.code = code; }
  }
  export const CATALOGUE = [];
  export const Cache = { list: async () => [], delete: async () => true };
  async function* answer({ onEvent }) {
    let finish_reason = "stop";
    let usage = [];
    for (const step of window.steps) {
      if (step.wait) while (!window[step.wait]) await new Promise((resolve) => setTimeout(resolve, 10));
      if (step.fail) throw new QwenletError(...step.fail);
      if (step.dropped) onEvent({ type: "dropped", turns: step.dropped });
      if (step.length) {
        finish_reason = "length";
        usage = [{ choices: [], usage: { total_tokens: step.length } }];
      }
      if (step.thought) yield { choices: [{ index: 0, delta: { reasoning_content: step.thought }, finish_reason: null, token_ids: [1] }] };
      if (step.text) yield { choices: [{ index: 0, delta: { content: step.text }, finish_reason: null, token_ids: [1] }] };
    }
    yield { choices: [{ index: 0, delta: {}, finish_reason }], stats: { decode_tokens: 10, decode_seconds: 2 } };
    yield* usage;
  }
  export class Engine {
    info = { architecture: "qwen3", quantization: "Q8_0", parameters: 1e6, contextLength: 512, trainedContextLength: 512, backend: "cpu",
      adapter: "scripted", why: "Scripted.", memoryBytes: 1, features: [], supportsTools: false, supportsThinking: true };
    chat = { completions: { create: async (request, options) => { window.requests.push(request); return answer(options); } } };
    static async load() {
      while (window.loadWaits) await new Promise((resolve) => setTimeout(resolve, 10));
      if (window.loadFails) throw new QwenletError(...window.loadFails);
      window.loads = (window.loads ?? 0) + 1;
      return new Engine();
    }
    static async fits() { return { fits: true, problems: [], suggestions: [] }; }
    static async probe() { return { webgpu: { available: false, reason: "scripted" } }; }
    async unload() { window.unloaded = true; }
  }`;

/** In every page of the tests of a file, which all begin on the site. */
export function useScript(): void {
  test.use({ serviceWorkers: "block" });
  test.beforeEach(async ({ context, page, site }) => {
    await context.route("**/pkg/index.js", (route) => route.fulfill({ contentType: "text/javascript", body: SCRIPTED_PACKAGE }));
    await context.addInitScript(() => Object.assign(window, { requests: [], steps: [] }));
    await page.goto(site.url);
  });
}

export const script = (page: Page, ...steps: Step[]) => page.evaluate((s) => Object.assign(window, { steps: s }), steps);
export const requests = (page: Page) => page.evaluate(() => (window as unknown as { requests: Record<string, unknown>[] }).requests);

export async function start(page: Page, site: { url: string }): Promise<void> {
  await loadUrl(page, `${site.url}model.gguf`);
  await ready(page);
}
