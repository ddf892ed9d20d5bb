/** The page's end of the worker: starts it, calls it, and notices when it dies. */
import * as Comlink from "comlink";

import { QwenletError } from "./errors.js";
import { chooseVariant, withoutThreads, type Variant } from "./variant.js";
import type { EventMessage, FatalMessage, WorkerApi } from "./wire.js";
import { HOW_TO_SERVE, startWorker } from "./workers.js";

type Remote = Comlink.Remote<WorkerApi>;

/** Milliseconds that the worker has to end things in its own way: a cancelled download stores what has arrived. */
const PATIENCE = 2000;

export class WorkerHandle {
  readonly #worker: Worker;
  readonly #api: Remote;
  /** Reject the calls that are pending. A promise of the worker's end would keep a trace of every call that was raced against it. */
  readonly #pending = new Set<(why: QwenletError) => void>();
  #nextJob = 1;
  /** Of jobs that are running. */
  readonly #listeners = new Map<number, (event: never) => void>();
  /** Why the worker is gone, once it is. */
  gone: QwenletError | undefined;

  constructor(variant: Variant = chooseVariant(1)) {
    this.#worker = startWorker(variant);
    this.#worker.addEventListener("message", ({ data }: MessageEvent<Partial<FatalMessage & EventMessage> | null>) => {
      if (data?.fatal) this.terminate(QwenletError.from(data.fatal));
      else if (data?.job !== undefined) this.#tell(data.job, data.event as never);
    });
    this.#worker.addEventListener("error", (event) => {
      const what = event.message || `its script could not be loaded. ${HOW_TO_SERVE}`;
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
    let die!: (why: QwenletError) => void;
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#pending.add((die = reject));
        verb(this.#api).then(resolve, reject);
      });
    } catch (thrown) {
      // The worker's own errors cross as plain objects: this one is of what the caller passed.
      if (thrown instanceof DOMException && thrown.name === "DataCloneError") {
        throw new QwenletError("invalid-argument", `What was passed cannot be sent to the worker: ${thrown.message}`, { cause: thrown });
      }
      throw QwenletError.from(thrown);
    } finally {
      this.#pending.delete(die);
    }
  }

  /**
   * Calls a verb that the signal can cancel: it then rejects with `aborted`, soon even where the worker hangs, and whatever
   * else goes wrong meanwhile. `listener` gets its events, all of them before its result.
   */
  async job<T, E = never>(signal: AbortSignal | undefined, verb: (api: Remote, job: number) => Promise<T>, listener?: (event: E) => void): Promise<T> {
    if (signal?.aborted) throw QwenletError.aborted(signal);
    const job = this.#nextJob++;
    if (listener) this.#listeners.set(job, listener);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let giveUp!: () => void;
    const givenUp = new Promise<never>((_, reject) => (giveUp = () => reject(QwenletError.aborted(signal))));
    const cancel = (): void => {
      void this.call((api) => api.cancel(job)).catch(() => {}); // a dead worker is as good as cancelled
      timer = setTimeout(giveUp, PATIENCE);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await Promise.race([this.call((api) => verb(api, job)), givenUp]);
    } catch (thrown) {
      throw signal?.aborted ? QwenletError.aborted(signal) : thrown;
    } finally {
      clearTimeout(timer);
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

  /** What is pending fails, and so does what is called from now on. */
  #refuse(why: QwenletError): void {
    this.gone = why;
    for (const reject of this.#pending) reject(why);
  }

  /** Ends the worker and frees all that it holds; pending calls reject with `why`. */
  terminate(why: QwenletError): void {
    if (this.gone) return;
    this.#worker.terminate();
    this.#refuse(why);
  }

  /** The same, but the worker first gives back what it holds: a browser may be slow to take a GPU's memory from an ended one. */
  async retire(why: QwenletError): Promise<void> {
    if (this.gone) return;
    const released = this.#api.release().catch(() => {}); // the worker's end gives it back too
    this.#refuse(why);
    await Promise.race([released, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
    this.#worker.terminate();
  }
}

function unloaded(why: QwenletError): QwenletError {
  if (why.code === "unloaded") return why;
  return new QwenletError("unloaded", "An earlier failure ended this engine; load it again.", { cause: why });
}
