/** Threads of the engine: workers of the worker, with the same module and the same memory. */
import { initSync, help, thread_died } from "#wasm";
import { startKin } from "./kin.js";

/** Names the workers that are threads. */
export const THREAD = "qwenlet thread";

/** Enough for the kernels, whose buffers are small; a multiple of a page of WebAssembly. */
const STACK_BYTES = 256 * 1024;

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
    worker.addEventListener("message", ({ data }: MessageEvent<{ started?: true; died?: string }>) => {
      if (data.started) resolve((runs = true));
      if (data.died !== undefined) onDeath(data.died);
    });
    worker.addEventListener("error", (event) => {
      if (runs) return onDeath(event.message);
      event.preventDefault(); // else it is an error of this worker, and of the page's
      console.warn(`qwenlet: a thread did not start: ${event.message}`);
      worker.terminate();
      resolve(false);
    });
    worker.postMessage(start);
  });
}

/** The whole life of a thread: it computes until its worker is terminated. */
export function beThread(): void {
  self.addEventListener("message", ({ data }: MessageEvent<ThreadStart>) => {
    initSync({ module: data.module, memory: data.memory, thread_stack_size: STACK_BYTES });
    self.postMessage({ started: true });
    try {
      help(data.pool);
    } catch (thrown) {
      // Whoever waits for this thread's work must not wait for ever.
      thread_died(data.pool);
      self.postMessage({ died: String(thrown) });
    }
  }, { once: true });
}
