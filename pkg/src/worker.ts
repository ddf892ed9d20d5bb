/** The worker: owns the WebAssembly instance and answers the page's calls. One worker holds at most one model. */
import * as Comlink from "comlink";

import init, { cache_delete, cache_evict, cache_list, cache_verify, download, fits, load, start, use_reader, use_threads, type Model } from "#wasm";
import { toPlain, type PlainError } from "./errors.js";
import { workerFetch } from "./fetcher.js";
import type { Fit } from "./fits.js";
import { beReader, expectReads, READER, readElsewhere } from "./reader.js";
import { beThread, startThreads, THREAD } from "./threads.js";
import type { CachedModel, EngineInfo, MemoryUse, Verified } from "./types.js";
import { mendWebGpu } from "./webgpu.js";
import type { EventMessage, FatalMessage, WireOutcome, WireSource, WorkerApi } from "./wire.js";

const jobs = new Map<number, { controller: AbortController; done: Promise<unknown> }>();
let model: Model | undefined;
let dead: PlainError | undefined;

/** A trap leaves the instance in no known state: tell the page, which ends this worker and rejects what is pending. */
function die(error: PlainError): void {
  if (dead) return;
  dead = error;
  self.postMessage({ fatal: error } satisfies FatalMessage);
}

function trapped(thrown: unknown): boolean {
  if (!(thrown instanceof WebAssembly.RuntimeError)) return false;
  // A panic has reported itself by now. Rust's other way to stop, without a word, is a failed allocation; Safari spells it with a capital.
  const memory = /unreachable/i.test(thrown.message);
  die(memory
    ? { code: "out-of-memory", message: "WebAssembly could not get more memory. Close other tabs, choose a smaller model or a shorter context, or use WebGPU.", cause: String(thrown) }
    : { code: "internal", message: `The engine stopped: ${thrown.message}.`, cause: thrown.stack });
  return true;
}

self.addEventListener("unhandledrejection", (event) => {
  if (trapped(event.reason)) event.preventDefault();
});
self.addEventListener("error", (event) => {
  if (trapped(event.error)) event.preventDefault();
});

/** What this worker is in place of an engine: a worker of the engine's. */
const helps = { [THREAD]: beThread, [READER]: beReader }[self.name];

if (!helps) mendWebGpu();

const ready: Promise<{ memory: WebAssembly.Memory }> = helps ? new Promise<never>(() => {}) : init().then(
  (wasm) => {
    start((message: string) => die({ code: "internal", message: `A bug in this package: ${message}. The engine is gone; load it again.` }));
    use_reader(readElsewhere);
    return wasm;
  },
  (cause: unknown) => {
    // No room for a shared memory, which has to be as large from the start as it may ever become.
    if (cause instanceof RangeError) throw { code: "out-of-memory", message: "The browser gives no memory to share between threads.", cause: String(cause) } satisfies PlainError;
    throw {
      code: "internal", cause: String(cause),
      message: "The WebAssembly module could not be started: are the package's .wasm files served beside its scripts, and does the page's CSP allow 'wasm-unsafe-eval'?",
    } satisfies PlainError;
  },
);
ready.catch(() => {}); // each call reports it

/** Runs a verb. What it throws crosses as a plain object: structured cloning drops an error's own properties. */
async function verb<T>(run: (wasm: { memory: WebAssembly.Memory }) => T | Promise<T>): Promise<T> {
  try {
    return await run(await ready);
  } catch (thrown) {
    trapped(thrown);
    throw toPlain(thrown);
  }
}

/** A verb that {@link WorkerApi.cancel} can end, and that may post events. */
function job<T>(id: number, run: (signal: AbortSignal, emit: (event: EventMessage["event"]) => void) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const done = verb(async () => {
    try {
      return await run(controller.signal, (event) => self.postMessage({ job: id, event } satisfies EventMessage));
    } finally {
      jobs.delete(id);
    }
  });
  jobs.set(id, { controller, done });
  return done;
}

function loaded(): Model {
  if (!model) throw { code: "unloaded", message: "No model is loaded." } satisfies PlainError;
  return model;
}

/** A request as the engine takes it: the files beside it. */
function transferred<R extends { source?: WireSource }>(request: R): [request: unknown, files: Blob[]] {
  const { source } = request;
  return source?.kind === "files" ? [{ ...request, source: { ...source, files: undefined } }, source.files] : [request, []];
}

/** Called where a model gets a CPU backend: `n` threads beside this one, for the pool at an address of the shared memory. */
function onThreads(n: number, pool: number, module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<number> {
  return startThreads(n, { module, memory, pool }, (message) => die({ code: "internal", message: `A thread of the engine stopped: ${message}. The engine is gone; load it again.` }));
}

const api: WorkerApi = {
  boot: () => verb(() => {}),
  fits: (id, request, fetcher) =>
    job(id, async (signal) => (await fits(...transferred(request), signal, fetcher && workerFetch(fetcher))) as Fit),
  load: (id, request, fetcher) => {
    if (request.cache !== "off" || request.source.kind === "cached") expectReads();
    return job(id, async (signal, emit) => {
      if (model) throw { code: "invalid-argument", message: "This worker has a model already." } satisfies PlainError;
      const { threads, ...options } = request.options;
      if (threads > 1) use_threads(threads, onThreads);
      model = await load(...transferred({ ...request, options }), signal, emit, fetcher && workerFetch(fetcher));
      return model.info() as EngineInfo;
    });
  },
  download: (id, request, fetcher) =>
    job(id, async (signal, emit) =>
      (await download(...transferred(request), signal, emit, fetcher && workerFetch(fetcher))) as string),
  generate: (id, prompt, options) =>
    job(id, async (signal, emit) => (await loaded().generate(prompt, options, signal, emit)) as WireOutcome),
  cancel: (id) => jobs.get(id)?.controller.abort(),
  tokenize: (text, special) => verb(() => [...loaded().tokenize(text, special)]),
  detokenize: (ids) => verb(() => loaded().detokenize(Uint32Array.from(ids))),
  countTokens: (request) => verb(() => loaded().count_tokens(request)),
  memory: () => verb((wasm): MemoryUse => ({ wasmBytes: wasm.memory.buffer.byteLength, backendBytes: loaded().backend_bytes() })),
  release: () => verb(async () => {
    for (const { controller } of jobs.values()) controller.abort();
    await Promise.allSettled([...jobs.values()].map(({ done }) => done));
    model?.free();
    model = undefined;
  }),
  cacheList: () => verb(async () => (await cache_list()) as CachedModel[]),
  cacheDelete: (id) => verb(() => cache_delete(id)),
  cacheEvict: (bytes) => verb(async () => (await cache_evict(bytes)) as CachedModel[]),
  cacheVerify: (id, model) => job(id, async (signal) => (await cache_verify(model, signal)) as Verified),
};

if (helps) helps();
else Comlink.expose(api);
