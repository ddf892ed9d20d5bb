/** Threads of the engine: workers of the worker, with the same module and the same memory. */
import { initSync, help, thread_died } from "#wasm";
import { startKin } from "./kin.js";

/** Names the workers that are threads. */
export const THREAD = "qwenlet thread";

/** Enough for the kernels, whose buffers are small; a multiple of a page of WebAssembly. */
const STACK_BYTES = 256 * 1024;

/** Milliseconds that a worker may take until its script runs: browsers have been seen that start one and never run it. */
const PATIENCE = 5000;

/** What a thread says: that its script runs, that it computes, that it no longer does. */
type ThreadMessage = { here: true } | { started: true } | { died: string };

interface ThreadStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Address of what the pool's threads share. */
  pool: number;
}

/** Starts `n` threads; resolves, with how many of them run, when each has started or failed to. */
export async function startThreads(n: number, start: ThreadStart, onDeath: (message: string) => void): Promise<number> {
  const started = await Promise.all(Array.from({ length: n }, () => startThread(start, onDeath)));
  return started.filter(Boolean).length;
}

function startThread(start: ThreadStart, onDeath: (message: string) => void): Promise<boolean> {
  const worker = startKin(THREAD);
  return new Promise((resolve) => {
    let runs = false;
    const giveUp = (why: string): void => {
      clearTimeout(timer);
      console.warn(`qwenlet: a thread did not start: ${why}`);
      worker.terminate();
      resolve(false);
    };
    const timer = setTimeout(giveUp, PATIENCE, "no answer");
    worker.addEventListener("message", ({ data }: MessageEvent<ThreadMessage>) => {
      clearTimeout(timer);
      if ("here" in data) worker.postMessage(start); // whoever is given up before has never touched the shared memory
      else if ("started" in data) resolve((runs = true));
      else onDeath(data.died);
    });
    worker.addEventListener("error", (event) => {
      if (runs) return onDeath(event.message);
      event.preventDefault(); // else it is an error of this worker, and of the page's
      giveUp(event.message);
    });
  });
}

/** The whole life of a thread: it computes until its worker is terminated. */
export function beThread(): void {
  const say = (message: ThreadMessage): void => self.postMessage(message);
  self.addEventListener("message", ({ data }: MessageEvent<ThreadStart>) => {
    initSync({ module: data.module, memory: data.memory, thread_stack_size: STACK_BYTES });
    say({ started: true });
    try {
      help(data.pool);
    } catch (thrown) {
      // Whoever waits for this thread's work must not wait for ever.
      thread_died(data.pool);
      say({ died: String(thrown) });
    }
  }, { once: true });
  say({ here: true });
}
