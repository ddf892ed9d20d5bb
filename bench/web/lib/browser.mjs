// A browser of its own for each engine: what its renderer spends is what the engine spends.
import { existsSync, readFileSync, readdirSync } from "node:fs";

import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--headless=new", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
];

/** The software adapter: seconds of the CPU are what the GPU's work costs there. */
const SOFTWARE_GPU = ["--disable-gpu-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU", "--ignore-gpu-blocklist"];

/** Seconds that the threads of a process have run, to the scheduler's own accuracy. Linux only. */
function scheduled(pid) {
  let sum = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // The thread ended meanwhile.
    }
  }
  return sum / 1e9;
}

export class Browser {
  #browser;
  #session;
  #process;
  page;

  /** `flags` are V8's; with `gpu` there is a software adapter, and the process that runs it is the one measured. */
  static async start(url, { executable, flags = "", gpu = false }) {
    const browser = new Browser();
    browser.#process = gpu ? "GPU" : "renderer";
    const args = [...FLAGS, ...(gpu ? SOFTWARE_GPU : []), ...(flags ? [`--js-flags=${flags}`] : [])];
    browser.#browser = await chromium.launch({ executablePath: executable, args, timeout: 120_000 });
    browser.#session = await browser.#browser.newBrowserCDPSession();
    browser.page = await (await browser.#browser.newContext()).newPage();
    browser.page.setDefaultTimeout(0);
    browser.page.on("pageerror", (error) => console.error(String(error)));
    await browser.page.goto(`${url}blank.html`);
    return browser;
  }

  version() {
    return this.#browser.version();
  }

  /** CPU seconds so far: of all renderers, which are all threads of the page and of its workers, or of the GPU's process. */
  async cpu() {
    const { processInfo } = await this.#session.send("SystemInfo.getProcessInfo");
    const measured = processInfo.filter(({ type }) => type === this.#process);
    const exact = existsSync("/proc/self/task");
    return measured.reduce((sum, { id, cpuTime }) => sum + (exact ? scheduled(id) : cpuTime), 0);
  }

  async open(engine, options) {
    return this.page.evaluate(async ({ engine, options }) => {
      const { open } = await import("/engines.js");
      globalThis.engine = await open(engine, options);
      return globalThis.engine.info;
    }, { engine, options });
  }

  call(verb, ...args) {
    return this.page.evaluate(({ verb, args }) => globalThis.engine[verb](...args), { verb, args });
  }

  /** A verb's result with the CPU seconds that it took. */
  async measured(verb, ...args) {
    const before = await this.cpu();
    const result = await this.call(verb, ...args);
    return { ...result, cpu: (await this.cpu()) - before };
  }

  /** Another page of this browser, which shares its storage: `run(page)` with it. */
  async withPage(url, run) {
    const page = await this.page.context().newPage();
    try {
      page.setDefaultTimeout(0);
      await page.goto(`${url}blank.html`);
      return await run(page);
    } finally {
      await page.close();
    }
  }

  close() {
    return this.#browser.close();
  }
}
