/** Whether a model will fit before any of its weights are fetched. The reckoning is `crate/engine/fit.rs`. */
import { CATALOGUE, catalogued } from "./catalogue.js";
import { withClerk } from "./clerk.js";
import { fetchOf, transferOptions } from "./download.js";
import { QwenletError } from "./errors.js";
import { pageFetch } from "./fetcher.js";
import { probe } from "./probe.js";
import { cacheFor, resolveSource } from "./source.js";
import type { Capabilities, LoadOptions, ModelSource } from "./types.js";
import type { WireCandidate, WireFit, WireLoad, WireSource } from "./wire.js";

export interface FitOptions extends Pick<LoadOptions, "backend" | "contextLength" | "cache" | "signal"> {
  /** What to judge by in place of this browser: an earlier {@link Engine.probe}, or what another device would say. */
  capabilities?: Capabilities;
}

/** In bytes. */
export interface FitNeeds {
  weights: number;
  /** Keys and values of the whole context. */
  kv: number;
  scratch: number;
  /** WebAssembly memory; on the CPU the three above are in it. */
  wasm: number;
  /** GPU memory, which is that of the device on most phones. */
  gpu: number;
  /** Storage, beside what is there already; undefined without the cache, or where the size is not known. */
  storage?: number;
}

/** What there is, as far as browsers say: bytes, undefined where unknown. GPU memory is something that none says. */
export interface FitMachine {
  gpu?: { adapter: string; software: boolean; maxBufferSize: number; maxStorageBufferBindingSize: number } | null;
  /** The most that WebAssembly's memory can grow to. */
  wasm?: number | null;
  /** Free for this site, as the browser puts it. Chromium says 10 GiB at most, and means the disk, not what it grants. */
  storage?: number | null;
  /** The browser's hint. */
  deviceMemory?: number | null;
  phone?: "ios" | "android" | null;
}

export type FitLimit =
  /** What the model was trained for. */
  | "context"
  /** There is no WebGPU. */
  | "webgpu"
  | "gpu-buffer"
  | "wasm-memory"
  /** What the system lets a tab have before it ends it. */
  | "tab-memory"
  | "storage";

export interface FitProblem {
  limit: FitLimit;
  /** Browsers do not tell this limit; it may be otherwise. */
  guess: boolean;
  text: string;
}

export type FitSuggestion =
  | { kind: "context"; contextLength: number }
  | { kind: "backend"; backend: "cpu" }
  /** An id of the catalogue. */
  | { kind: "model"; id: string }
  /** Free so many bytes, or load with `cache: false`. */
  | { kind: "storage"; bytes: number };

export interface Fit {
  fits: boolean;
  /** That it does not fit is a guess (of what a phone lets a tab have): `load` tries it all the same. What surely does not fit it refuses. */
  guess: boolean;
  backend: "webgpu" | "cpu";
  contextLength: number;
  needs: FitNeeds;
  has: FitMachine;
  /** Whether storage has room to keep it; undefined where that is not known. */
  keeps?: boolean;
  /** All of it in a sentence or two. */
  why: string;
  problems: FitProblem[];
  /** What would do, the closest to what was asked for first. */
  suggestions: FitSuggestion[];
}

export async function fits(
  source: ModelSource, options: FitOptions, checked: Omit<WireLoad["options"], "others"> & { cache: WireLoad["cache"] },
): Promise<Fit> {
  const entry = typeof source === "string" ? catalogued(source) : undefined;
  const wire = resolveSource(source, globalThis.document?.baseURI ?? globalThis.location.href);
  const cache = cacheFor(wire, checked.cache);
  const fetcher = fetchOf(source);
  if (options.signal?.aborted) throw QwenletError.aborted(options.signal);
  const capabilities = options.capabilities ?? (await probe());
  return withClerk(async (worker) => {
    const { contextLength, backend } = checked;
    const kept = cache === "off" && wire.kind !== "cached" ? undefined : await stored(worker, wire);
    const request: WireFit = {
      ...(entry ? { outline: entry.outline, ...(entry.bytes === undefined ? {} : { bytes: entry.bytes }) }
        // A whole copy has the header too, and asks nobody.
        : { source: kept?.complete ? { kind: "cached", id: kept.id } : wire }),
      transfer: transferOptions(), ...(cache === "off" ? {} : { stored: kept?.bytes ?? 0 }),
      options: { backend, mustStore: cache === "required", ...(contextLength === undefined ? {} : { contextLength }) },
      machine: machineOf(capabilities), others: candidates(source),
    };
    return worker.job(options.signal, (api, job) => api.fits(job, request, fetcher && pageFetch(fetcher)));
  });
}

/** What the cache has of a model. */
async function stored(worker: Parameters<Parameters<typeof withClerk>[0]>[0], wire: WireSource): Promise<{ id: string; bytes: number; complete: boolean } | undefined> {
  if (wire.id === undefined) return undefined;
  try {
    return (await worker.call((api) => api.cacheList())).find((model) => model.id === wire.id);
  } catch {
    return undefined; // no storage here: nothing is stored
  }
}

/** Models to suggest in place of this one, the largest first: of its kind, or of any where that is not known. */
export function candidates(source: ModelSource): WireCandidate[] {
  const entry = typeof source === "string" ? catalogued(source) : undefined;
  const smaller = entry ? CATALOGUE.slice(0, CATALOGUE.indexOf(entry)) : CATALOGUE;
  const alike = smaller.filter((e) => e.purpose === entry?.purpose);
  return (alike.length > 0 ? alike : smaller).map(({ id, outline }) => ({ id, outline })).reverse();
}

function machineOf({ webgpu, storage, device }: Capabilities): FitMachine {
  const { adapter = "", software = false, maxBufferSize, maxStorageBufferBindingSize } = webgpu;
  return {
    gpu: webgpu.available && maxBufferSize !== undefined && maxStorageBufferBindingSize !== undefined
      ? { adapter, software, maxBufferSize, maxStorageBufferBindingSize }
      : null,
    storage: storage.quota === undefined || storage.usage === undefined ? null : Math.max(0, storage.quota - storage.usage),
    deviceMemory: device.memory ?? null,
    phone: device.phone ?? null,
  };
}
