/**
 * Reads pieces out of the browser's storage in a worker beside the engine's: to take a piece out costs a thread about as
 * much as the engine's own work on it, so the two go on at the same time.
 */
import * as Comlink from "comlink";
import { openDB, type IDBPDatabase } from "idb";

/** Names the worker that reads. */
export const READER = "qwenlet reader";

/** Milliseconds without a read after which the worker ends. */
const IDLE = 3000;

type Read = (database: string, store: string, key: IDBValidKey) => Promise<unknown>;

interface Reader {
  worker: Worker;
  read: Comlink.Remote<Read>;
  /** Rejects where the worker cannot start or breaks down. */
  failed: Promise<never>;
}

let reader: Reader | undefined;
let reads = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** The value of a key, `undefined` where there is none. Rejects where no other worker can read it: then this one may try. */
export async function readElsewhere(...of: Parameters<Read>): Promise<unknown> {
  clearTimeout(timer);
  const { read, failed } = (reader ??= startReader());
  reads++;
  try {
    return await Promise.race([read(...of), failed]);
  } finally {
    if (--reads === 0) timer = setTimeout(dismiss, IDLE);
  }
}

function startReader(): Reader {
  // This very script, wherever a bundler put it: it finds by its name what it is.
  const worker = new Worker(self.location.href, { type: "module", name: READER });
  const failed = new Promise<never>((_, reject) => {
    worker.addEventListener("error", (event) => reject(new Error(event.message)));
  });
  failed.catch(() => {}); // each read races against it
  return { worker, read: Comlink.wrap<Read>(worker), failed };
}

function dismiss(): void {
  reader?.worker.terminate();
  reader = undefined;
}

/** The whole life of a reader. */
export function beReader(): void {
  let database: Promise<IDBPDatabase> | undefined;
  const read: Read = async (name, store, key) => {
    const value: unknown = await (await (database ??= open(name))).get(store, key);
    return value instanceof Uint8Array ? Comlink.transfer(value, [value.buffer]) : value;
  };
  Comlink.expose(read);
}

/** Opens a database that is there already, as it is. */
function open(name: string): Promise<IDBPDatabase> {
  return openDB(name, undefined, {
    // It was deleted meanwhile: what is opened here must not become another one, without its stores.
    upgrade: (_database, _from, _to, transaction) => transaction.abort(),
    blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(),
  });
}
