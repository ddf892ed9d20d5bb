/** Which build of the WebAssembly module, and how many threads: what this browser and this page can make the most of. */
import { QwenletError } from "./errors.js";
import { RELAXED_SIMD, SIMD, validates } from "./features.js";

/** `xtask/src/build.rs` makes one module and one worker script of each. */
export type Variant = "simd" | "relaxed" | "simd-threads" | "relaxed-threads";

/** More would wait for memory, not compute. */
const MOST_THREADS = 8;

/** Whether threads can share memory here: the page must be cross-origin isolated. */
export function canShareMemory(): boolean {
  return globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
}

/** What a page without shared memory can do about it. */
export function howToGetThreads(): string {
  if (globalThis.crossOriginIsolated === true) return "This browser shares no memory between threads, though the page is cross-origin isolated, so one thread computes.";
  return "This page is not cross-origin isolated, so one thread computes. Serve it with the headers Cross-Origin-Opener-Policy: same-origin and "
    + "Cross-Origin-Embedder-Policy: require-corp, or, where headers cannot be set, use the service worker of qwenlet/coi.";
}

/** What there is to say where fewer threads run than were asked for; undefined where as many do. */
export function threadsHint(run: number, wanted: number): string | undefined {
  if (run >= wanted) return undefined;
  if (!canShareMemory()) return howToGetThreads();
  return `Threads that run: ${run} of ${wanted}. The browser gave no memory for them to share, or did not start their workers; then the console says why.`;
}

/** The build for `threads` threads, and with `wanted` the form of SIMD that it has. */
export function chooseVariant(threads: number, wanted?: "simd" | "relaxed"): Variant {
  if (!validates(SIMD)) {
    throw new QwenletError("internal", "This browser's WebAssembly has no SIMD; every browser has had it since 2023. Update it.");
  }
  const form = wanted ?? (validates(RELAXED_SIMD) ? "relaxed" : "simd");
  return threads > 1 && canShareMemory() ? `${form}-threads` : form;
}

/** The build that a page of this browser runs, isolated or not, where the caller does not say. */
export function usualVariant(isolated: boolean): Variant {
  const form = validates(RELAXED_SIMD) ? "relaxed" : "simd";
  return isolated && defaultThreads() > 1 ? `${form}-threads` : form;
}

/** The same build without threads. */
export function withoutThreads(variant: Variant): Variant {
  return variant.replace("-threads", "") as Variant;
}

/**
 * Threads to use where the caller does not say. A browser tells logical processors, which on most machines with more than
 * four are two a core, and a second one on a core gains nothing here.
 */
export function defaultThreads(): number {
  const logical = globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.min(MOST_THREADS, logical <= 4 ? logical : Math.ceil(logical / 2));
}
