/**
 * A worker without a model, for short calls: the store and the engine's reckoning live on the worker's side. Calls share
 * it; it ends when it has been idle.
 */
import { QwenletError } from "./errors.js";
import { WorkerHandle } from "./rpc.js";

/** Milliseconds: a page that asks for every model of a list starts one worker. */
const IDLE = 3000;

let worker: WorkerHandle | undefined;
let calls = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

export async function withClerk<T>(run: (worker: WorkerHandle) => Promise<T>): Promise<T> {
  clearTimeout(timer);
  if (worker?.gone) worker = undefined;
  const mine = (worker ??= new WorkerHandle());
  calls++;
  try {
    return await run(mine);
  } finally {
    if (--calls === 0) timer = setTimeout(dismiss, IDLE);
  }
}

function dismiss(): void {
  worker?.terminate(new QwenletError("unloaded", "Done."));
  worker = undefined;
}
