import { withClerk } from "./clerk.js";
import { persist, transfer } from "./download.js";
import { QwenletError } from "./errors.js";
import { WorkerHandle } from "./rpc.js";
import type { CachedModel, DownloadOptions, ModelSource, StorageUse, Verified } from "./types.js";

/** `crate/source/cache/idb.rs` makes it with the first model. */
const DATABASE = "qwenlet";

/** Whether there is no store at all, as far as the browser tells: then no worker has to look into it. */
async function nothingStored(): Promise<boolean> {
  try {
    return !(await indexedDB.databases()).some(({ name }) => name === DATABASE);
  } catch {
    return false; // an older browser, or storage is switched off: the worker says what is the matter
  }
}

/** Runs a long call in a worker of its own. */
async function once<T>(run: (worker: WorkerHandle) => Promise<T>): Promise<T> {
  const worker = new WorkerHandle();
  try {
    return await run(worker);
  } finally {
    worker.terminate(new QwenletError("unloaded", "Done."));
  }
}

/** The models in the browser's storage (of this origin). */
export const Cache = {
  /** All models, last used first; incomplete downloads too, marked as such. */
  async list(): Promise<CachedModel[]> {
    if (await nothingStored()) return [];
    return withClerk((worker) => worker.call((api) => api.cacheList()));
  },

  /**
   * Fetches a model without loading it, and verifies it; what an earlier download left is used. Returns the id by which
   * `{ cached: id }` loads it. Fails where it cannot be kept, or not be found again (a Blob without a name,
   * a `blob:` address without an `id`); what has arrived by then stays for the next time.
   */
  download(source: ModelSource, options: DownloadOptions = {}): Promise<string> {
    return once((worker) => transfer(worker, source, options, "required",
      (api, job, request, fetcher) => api.download(job, request, fetcher)));
  },

  /** Reads a model and compares every piece with what was stored. */
  verify(id: string, options: { signal?: AbortSignal } = {}): Promise<Verified> {
    return once((worker) => worker.job(options.signal, (api, job) => api.cacheVerify(job, id)));
  },

  /** Deletes a model; false where there was none of this id. */
  delete(id: string): Promise<boolean> {
    return withClerk((worker) => worker.call((api) => api.cacheDelete(id)));
  },

  /**
   * Deletes the models that were not used for longest until so many bytes are freed, or none is left; returns those deleted.
   * What a tab is downloading stays.
   */
  async evict(bytes: number): Promise<CachedModel[]> {
    if (!(bytes >= 0)) throw new QwenletError("invalid-argument", "bytes: must be a number of at least 0.");
    return withClerk((worker) => worker.call((api) => api.cacheEvict(bytes)));
  },

  /** Asks the browser to keep this site's storage when space gets scarce; whether it will. */
  persist: (): Promise<boolean> => persist(),

  /** What is used and what there is; undefined where the browser does not say. */
  async estimate(): Promise<StorageUse | undefined> {
    const storage = globalThis.navigator.storage as StorageManager | undefined;
    if (!storage) return undefined;
    try {
      const [{ usage, quota }, persisted] = await Promise.all([storage.estimate(), storage.persisted()]);
      return usage === undefined || quota === undefined ? undefined : { usage, quota, persisted };
    } catch {
      return undefined; // an opaque origin, such as a sandboxed frame's
    }
  },
};
