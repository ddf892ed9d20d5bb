/** Starts the worker of a build. */
import type { Variant } from "./variant.js";

/** Addresses and options are written out: bundlers look for this very form. webpack makes one file of workers of one name. */
const WORKERS: Record<Variant, () => Worker> = {
  simd: () => new Worker(new URL("./worker-simd.js", import.meta.url), { type: "module", name: "qwenlet-simd" }),
  relaxed: () => new Worker(new URL("./worker-relaxed.js", import.meta.url), { type: "module", name: "qwenlet-relaxed" }),
  "simd-threads": () => new Worker(new URL("./worker-simd-threads.js", import.meta.url), { type: "module", name: "qwenlet-simd-threads" }),
  "relaxed-threads": () => new Worker(new URL("./worker-relaxed-threads.js", import.meta.url), { type: "module", name: "qwenlet-relaxed-threads" }),
};

export function startWorker(variant: Variant): Worker {
  return WORKERS[variant]();
}
