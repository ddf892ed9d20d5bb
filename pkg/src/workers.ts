/** Starts the worker of a build. */
import { QwenletError } from "./errors.js";
import type { Variant } from "./variant.js";

/** Starts the worker of a build of the engine: a worker that runs `worker-<build>.js` of this package. */
export type WorkerFactory = (build: Variant) => Worker;

/** Addresses and options are written out: bundlers look for this very form. webpack makes one file of workers of one name. */
const WORKERS: Record<Variant, () => Worker> = {
  simd: () => new Worker(new URL("./worker-simd.js", import.meta.url), { type: "module", name: "qwenlet-simd" }),
  relaxed: () => new Worker(new URL("./worker-relaxed.js", import.meta.url), { type: "module", name: "qwenlet-relaxed" }),
  "simd-threads": () => new Worker(new URL("./worker-simd-threads.js", import.meta.url), { type: "module", name: "qwenlet-simd-threads" }),
  "relaxed-threads": () => new Worker(new URL("./worker-relaxed-threads.js", import.meta.url), { type: "module", name: "qwenlet-relaxed-threads" }),
};
const besideThis: WorkerFactory = (build) => WORKERS[build]();

let factory = besideThis;

/**
 * Says how the workers of this page are started from now on, the cache's included. By default each one's script is taken
 * from beside the package's own, which does not do where that comes from another origin, a CDN say. The `*_bg.wasm` files
 * must lie beside the scripts, all of this package's version. Without an argument it is the default again.
 */
export function setWorkerFactory(start: WorkerFactory = besideThis): void {
  factory = start;
}

/** What to do about a worker that does not start. */
export const HOW_TO_SERVE = "Its script has to come from the page's own origin, from beside index.js, with the .wasm files, and the page's CSP has to allow "
  + "worker-src 'self'. Serve the package's files there, or say with setWorkerFactory where they are; a bundle of esbuild's has to be "
  + "a module (--format=esm, <script type=\"module\">), and Vite's dev server up to version 7 needs optimizeDeps: { exclude: [\"qwenlet\"] }.";

export function startWorker(variant: Variant): Worker {
  try {
    return factory(variant);
  } catch (cause) {
    throw new QwenletError("internal", `The worker could not be started: ${String(cause)} ${HOW_TO_SERVE}`, { cause });
  }
}
