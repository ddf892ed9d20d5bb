// llama.cpp outside the browser, where `llama-bench` is there: the same verbs as a browser's page. `llama.mjs` builds one.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const exec = promisify(execFile);

export class Native {
  #program;
  #model;
  #prompt = 0;

  constructor(program, model) {
    this.#program = program;
    this.#model = model;
  }

  async call(verb, ...args) {
    await this.measured(verb, ...args);
  }

  /** One thread: its wall time stands for CPU time, which `llama-bench` does not tell apart from loading. */
  async measured(verb, n) {
    const what = verb === "prefill" ? ["-p", n, "-n", 0] : ["-p", 0, "-n", n, "-d", this.#prompt];
    if (verb === "prefill") this.#prompt = n;
    const args = ["-m", this.#model.path, "-t", 1, "-ngl", 0, "-r", 1, "-o", "json", ...what];
    const { stdout } = await exec(this.#program, args.map(String));
    const [{ avg_ts: rate }] = JSON.parse(stdout);
    return { tokens: n, seconds: n / rate, cpu: n / rate };
  }

  async close() {}
}
