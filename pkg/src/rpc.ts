/** The page's end of the worker: starts it, calls it, and notices when it dies. */
import * as Comlink from "comlink";

import { QwenletError } from "./errors.js";
import { chooseVariant, withoutThreads, type Variant } from "./variant.js";
import type { EventMessage, FatalMessage, WorkerApi } from "./wire.js";
import { startWorker } from "./workers.js";

type Remote = Comlink.Remote<WorkerApi>;

export class WorkerHandle {
  readonly #worker: Worker;
  readonly #api: Remote;
  readonly #dead: Promise<never>;
  #die!: (error: QwenletError) => void;
  #nextJob = 1;
  /** Of jobs that are running. */
  readonly #listeners = new Map<number, (event: never) => void>();
  /** Why the worker is gone, once it is. */
  gone: QwenletError | undefined;

  constructor(variant: Variant = chooseVariant(1)) {
    this.#dead = new Promise((_, reject) => (this.#die = reject));
    this.#dead.catch(() => {}); // every call races against it; without a call there is nobody to tell
    this.#worker = startWorker(variant);
    this.#worker.addEventListener("message", ({ data }: MessageEvent<Partial<FatalMessage & EventMessage> | null>) => {
      if (data?.fatal) this.terminate(QwenletError.from(data.fatal));
      else if (data?.job !== undefined) this.#tell(data.job, data.event as never);
    });
    this.#worker.addEventListener("error", (event) => {
      const what = event.message || "its script could not be loaded (are the package's worker scripts served beside index.js, and does the page's CSP allow worker-src 'self'?)";
      this.terminate(new QwenletError("internal", `The worker failed: ${what}`, { cause: event.error }));
    });
    this.#worker.addEventListener("messageerror", () => {
      this.terminate(new QwenletError("internal", "A message to or from the worker could not be copied."));
    });
    this.#api = Comlink.wrap<WorkerApi>(this.#worker);
  }

  /** A worker for a model. Where the browser gives no shared memory (phones, above all), it is one without threads. */
  static async start(variant: Variant): Promise<WorkerHandle> {
    const worker = new WorkerHandle(variant);
    if (withoutThreads(variant) === variant) return worker;
    try {
      await worker.call((api) => api.boot());
      return worker;
    } catch (thrown) {
      const error = QwenletError.from(thrown);
      worker.terminate(error);
      if (error.code !== "out-of-memory") throw error;
      return new WorkerHandle(withoutThreads(variant));
    }
  }

  /** Calls a verb. Rejects, whatever the verb is doing, when the worker dies. */
  async call<T>(verb: (api: Remote) => Promise<T>): Promise<T> {
    if (this.gone) throw unloaded(this.gone);
    try {
      return await Promise.race([verb(this.#api), this.#dead]);
    } catch (thrown) {
      // The worker's own errors cross as plain objects: this one is of what the caller passed.
      if (thrown instanceof DOMException && thrown.name === "DataCloneError") {
        throw new QwenletError("invalid-argument", `What was passed cannot be sent to the worker: ${thrown.message}`, { cause: thrown });
      }
      throw QwenletError.from(thrown);
    }
  }

  /** Calls a verb that the signal can cancel. `listener` gets its events, all of them before its result. */
  async job<T, E = never>(signal: AbortSignal | undefined, verb: (api: Remote, job: number) => Promise<T>, listener?: (event: E) => void): Promise<T> {
    if (signal?.aborted) throw QwenletError.aborted(signal);
    const job = this.#nextJob++;
    if (listener) this.#listeners.set(job, listener);
    const cancel = (): void => void this.call((api) => api.cancel(job)).catch(() => {}); // a dead worker is as good as cancelled
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await this.call((api) => verb(api, job));
    } finally {
      this.#listeners.delete(job);
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** An exception in a listener is the page's own, and is reported as such. */
  #tell(job: number, event: never): void {
    try {
      this.#listeners.get(job)?.(event);
    } catch (thrown) {
      reportError(thrown);
    }
  }

  /** Ends the worker and frees all that it holds; pending calls reject with `why`. */
  terminate(why: QwenletError): void {
    if (this.gone) return;
    this.gone = why;
    this.#worker.terminate();
    this.#die(why);
  }
}

function unloaded(why: QwenletError): QwenletError {
  if (why.code === "unloaded") return why;
  return new QwenletError("unloaded", "An earlier failure ended this engine; load it again.", { cause: why });
}
