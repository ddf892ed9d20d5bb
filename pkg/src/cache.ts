import { QwenletError } from "./errors.js";
import { WorkerHandle } from "./rpc.js";
import type { CachedModel } from "./types.js";

/** Runs one call in a worker of its own: the store lives on the worker's side, and no engine need be loaded to ask it. */
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
  list(): Promise<CachedModel[]> {
    return once((worker) => worker.call((api) => api.cacheList()));
  },

  /** Deletes a model; false where there was none of this id. */
  delete(id: string): Promise<boolean> {
    return once((worker) => worker.call((api) => api.cacheDelete(id)));
  },
};
