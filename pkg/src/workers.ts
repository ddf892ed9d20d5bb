/** Starts the worker of a build. */
import type { Variant } from "./variant.js";

/** Each address is written out: bundlers look for this very form. */
const WORKERS: Record<Variant, (options: WorkerOptions) => Worker> = {
  simd: (options) => new Worker(new URL("./worker-simd.js", import.meta.url), { type: "module", ...options }),
  relaxed: (options) => new Worker(new URL("./worker-relaxed.js", import.meta.url), { type: "module", ...options }),
  "simd-threads": (options) => new Worker(new URL("./worker-simd-threads.js", import.meta.url), { type: "module", ...options }),
  "relaxed-threads": (options) => new Worker(new URL("./worker-relaxed-threads.js", import.meta.url), { type: "module", ...options }),
};

export function startWorker(variant: Variant): Worker {
  return WORKERS[variant]({ name: "qwenlet" });
}
