/**
 * Reads pieces out of the browser's storage in workers beside the engine's: to take a piece out costs a thread more than
 * the engine's own work on it.
 */
import * as Comlink from "comlink";
import { openDB, type IDBPDatabase } from "idb";

import { startKin } from "./kin.js";

/** Names a worker that reads. */
export const READER = "qwenlet reader";

/** As many as keep the engine busy. */
const READERS = 2;

/** Milliseconds without a read after which the workers end. */
const IDLE = 3000;

/** Milliseconds that a worker may take for its first answer: browsers have been seen that start one and never run it. */
const PATIENCE = 5000;

type Read = (database: string, store: string, key: IDBValidKey) => Promise<unknown>;

interface Reader {
  /** Rejects also where the worker cannot start, does not answer, or breaks down. */
  read: Read;
  /** From now on every read rejects, those under way too. */
  fail(why: unknown): void;
  end(): void;
  /** Ends the wait for the first answer; set with the first read. */
  timer?: ReturnType<typeof setTimeout>;
}

let readers: Reader[] = [];
let next = 0;
let reads = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Starts the workers, where a read may follow soon. */
export function expectReads(): void {
  clearTimeout(timer);
  while (readers.length < READERS) readers.push(startReader());
  if (reads === 0) timer = setTimeout(dismiss, IDLE);
}

/** The value of a key, the bytes of a blob; `undefined` where there is none. Rejects where no other worker can read it: then this one may try. */
export async function readElsewhere(...of: Parameters<Read>): Promise<unknown> {
  expectReads();
  clearTimeout(timer);
  const reader = readers[next++ % READERS]!;
  reader.timer ??= setTimeout(() => reader.fail(new Error("no answer")), PATIENCE);
  reads++;
  try {
    const value = await reader.read(...of);
    clearTimeout(reader.timer);
    return value;
  } finally {
    if (--reads === 0) timer = setTimeout(dismiss, IDLE);
  }
}

function startReader(): Reader {
  // Of the reads under way. One promise for all of them to race against would keep what each of them read as long as itself.
  const rejects = new Set<(why: unknown) => void>();
  let failure: { why: unknown } | undefined;
  const fail = (why: unknown): void => {
    if (failure) return;
    // Each read is made by the engine's worker then.
    console.warn("qwenlet: no reader beside the engine:", why);
    failure = { why };
    for (const reject of rejects) reject(why);
  };
  let worker: Worker | undefined;
  try {
    worker = startKin(READER);
    worker.addEventListener("error", (event) => {
      event.preventDefault(); // reading goes on without it
      fail(new Error(event.message));
    });
  } catch (thrown) {
    fail(thrown);
  }
  const remote = worker && (Comlink.wrap<Read>(worker) as Read);
  const read: Read = (...of) => new Promise((resolve, reject) => {
    if (failure || !remote) return reject(failure?.why);
    rejects.add(reject);
    remote(...of).then(resolve, reject).finally(() => rejects.delete(reject));
  });
  return { read, fail, end: () => worker?.terminate() };
}

function dismiss(): void {
  for (const reader of readers) reader.end();
  readers = [];
}

/** The whole life of a reader. */
export function beReader(): void {
  let database: Promise<IDBPDatabase> | undefined;
  const readBy = async (database: Promise<IDBPDatabase>, store: string, key: IDBValidKey): Promise<unknown> => {
    const found: unknown = await (await database).get(store, key);
    return found instanceof Blob ? new Uint8Array(await found.arrayBuffer()) : found;
  };
  const read: Read = async (name, store, key) => {
    const mine = (database ??= open(name));
    const value = await readBy(mine, store, key).catch(() => {
      // Browsers drop connections, those of tabs in the background above all: another one may do.
      if (database === mine) {
        database = undefined;
        mine.then((lost) => lost.close(), () => {});
      }
      return readBy(database ??= open(name), store, key);
    });
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
