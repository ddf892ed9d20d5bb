/** What loads and downloads have in common: checked options, and what is reported on the way. */
import { QwenletError } from "./errors.js";
import { pageFetch } from "./fetcher.js";
import type { WorkerHandle } from "./rpc.js";
import { cacheFor, resolveSource } from "./source.js";
import type { DownloadOptions, FetchFunction, ModelSource, TransferOptions } from "./types.js";
import type { LoadEvent, PageFetch, WireDownload, WireTransfer } from "./wire.js";

type Api = Parameters<Parameters<WorkerHandle["job"]>[1]>[0];

/** Calls a verb of the worker that takes a model's bytes. */
export async function transfer<T>(
  worker: WorkerHandle, source: ModelSource, options: DownloadOptions, cache: WireDownload["cache"],
  verb: (api: Api, job: number, request: WireDownload, fetcher?: PageFetch) => Promise<T>,
): Promise<T> {
  const wire = resolveSource(source, globalThis.document?.baseURI ?? globalThis.location.href);
  const request: WireDownload = {
    source: wire, cache: cacheFor(wire, cache), evict: evictOption(options.evict), transfer: transferOptions(options.transfer),
  };
  const fetcher = fetchOf(source);
  const warn = options.onWarning ?? ((w) => console.warn(`qwenlet: ${w.message}`));
  const listener = (event: LoadEvent): void => {
    if (event.type === "warning") warn({ code: event.code, message: event.message });
    else if (options.onProgress) {
      const { type: _, ...progress } = event;
      options.onProgress(progress);
    }
  };
  if (options.signal?.aborted) throw QwenletError.aborted(options.signal);
  if (options.persist) void persist(); // a browser may ask the user, who may never answer
  return worker.job(options.signal, (api, job) => verb(api, job, request, fetcher && pageFetch(fetcher)), listener);
}

/** Asks the browser to keep this site's storage when space gets scarce; whether it will. */
export async function persist(): Promise<boolean> {
  // Workers cannot ask, an insecure context has no storage manager, and an opaque origin (a sandboxed frame) no storage.
  return (await globalThis.navigator.storage?.persist?.().catch(() => false)) ?? false;
}

/** The function of a source that makes its requests. */
export function fetchOf(source: ModelSource): FetchFunction | undefined {
  if (typeof source !== "object" || !("fetch" in source) || source.fetch === undefined) return undefined;
  if (typeof source.fetch !== "function") throw new QwenletError("invalid-argument", "fetch: must be a function of the form of `fetch`.");
  return source.fetch;
}

function evictOption(evict: unknown): boolean {
  if (evict === undefined || evict === "lru") return evict === "lru";
  throw new QwenletError("invalid-argument", 'evict: must be "lru" or left out.');
}

const DEFAULTS: WireTransfer = { attempts: 6, retryDelay: 0.5, stallTimeout: 20, chunkBytes: 8 << 20 };

export function transferOptions(options: TransferOptions = {}): WireTransfer {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const all: WireTransfer = { ...DEFAULTS, ...given };
  const positive = (name: keyof WireTransfer): void => {
    const value: unknown = all[name];
    if (typeof value !== "number" || !(value > 0 && value < 2 ** 31)) throw new QwenletError("invalid-argument", `transfer.${name}: must be a number above 0.`);
  };
  (Object.keys(DEFAULTS) as (keyof WireTransfer)[]).forEach(positive);
  if (!Number.isInteger(all.attempts)) throw new QwenletError("invalid-argument", "transfer.attempts: must be a whole number.");
  if (!Number.isInteger(all.chunkBytes / 64)) throw new QwenletError("invalid-argument", "transfer.chunkBytes: must be a multiple of 64.");
  return all;
}
