// Downloads and the cache, as a program uses them: what is resumed, what is verified, what is told.

import type { Page } from "@playwright/test";
import { expect, test, type Api } from "./fixtures.ts";
import { tinyGguf } from "./gguf.ts";
import { serveHooked } from "./hooked.ts";
import { damage, storedBytes, storedForms } from "./stored.ts";

const NAME = "download.gguf";
const CHUNK = 64 << 10;
const TRANSFER = { attempts: 4, retryDelay: 0.05, stallTimeout: 1, chunkBytes: CHUNK };
const file = tinyGguf(100_000, 7);

test.beforeEach(async ({ page, hub, site }) => {
  hub.put(NAME, file);
  hub.plan(NAME, []);
  await page.goto(`${site.url}pkg/index.js`);
});

type Options = NonNullable<Parameters<Api["Cache"]["download"]>[1]>;
interface Told {
  id?: string;
  code?: string;
  message?: string;
  progress: Parameters<NonNullable<Options["onProgress"]>>[0][];
  warnings: string[];
}

/** Downloads in the page, and returns all that it was told. */
function download(page: Page, source: object, options: object = {}): Promise<Told> {
  return page.evaluate(async ([source, options]) => {
    const { Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const told: Told = { progress: [], warnings: [] };
    await Cache.download(source as { url: string }, {
      ...options, onProgress: (p) => told.progress.push(p), onWarning: (w) => told.warnings.push(w.code),
    }).then((id) => (told.id = id), (e: { code: string; message: string }) => Object.assign(told, { code: e.code, message: e.message }));
    return told;
  }, [source, { transfer: TRANSFER, ...options }] as const);
}

const cache = <T>(page: Page, run: (cache: Api["Cache"]) => Promise<T>): Promise<T> =>
  page.evaluate(`import("/pkg/index.js").then(({ Cache }) => (${run})(Cache))`) as Promise<T>;

test("a connection that breaks, stalls or is refused is taken up where it ended", async ({ page, hub }) => {
  hub.plan(NAME, [
    { fault: "reset", after: 100_000 }, { fault: "stall", after: 50_000 }, { fault: "expired" }, { fault: "busy", wait: 1 },
    { fault: "cut", after: 100_000 },
  ]);
  const told = await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(told).toMatchObject({ id: "m", warnings: [] });
  expect(hub.sent(NAME)).toBe(file.length); // no byte twice
  expect(new Set(told.progress.map((p) => p.waiting))).toEqual(new Set([undefined, "retry", "server"]));
  expect(told.progress.at(-1)).toMatchObject({ phase: "ready", bytes: file.length, total: file.length, from: "network" });
  const ranges = hub.log.filter((r) => r.range).map((r) => Number(/\d+/.exec(r.range!)![0]));
  expect(ranges).toEqual([...ranges].sort((a, b) => a - b));
});

test("an ended download goes on with what is stored, and says so", async ({ page, hub }) => {
  hub.plan(NAME, Array.from({ length: 8 }, (_, i) => ({ fault: "reset", after: i === 0 ? 200_000 : 0 })));
  const first = await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(first).toMatchObject({ code: "network", message: expect.stringContaining("broke off after 200000 of") });
  expect(await cache(page, (c) => c.list())).toMatchObject([{ id: "m", complete: false, bytes: 200_000, total: file.length }]);
  hub.plan(NAME, []);
  hub.log.length = 0;
  const second = await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(second.id).toBe("m");
  expect(hub.sent(NAME)).toBe(file.length - 200_000);
  expect(second.progress.at(-1)).toMatchObject({ resumedFrom: 200_000, bytes: file.length });
  expect(second.progress.map((p) => p.from)).toContain("cache");
  expect(await cache(page, (c) => c.list())).toMatchObject([{ complete: true, bytes: file.length, sha256: [hub.sha256(NAME)] }]);
});

test("two readers at once, and nothing is left of a model that is deleted", async ({ page, hub }) => {
  await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(file.equals((await storedBytes(page, "m"))!)).toBe(true);
  const both = await Promise.all([download(page, { cached: "m" }), download(page, { cached: "m" })]);
  expect(both).toMatchObject([{ id: "m", warnings: [] }, { id: "m", warnings: [] }]);
  expect(await cache(page, (c) => c.delete("m"))).toBe(true);
  expect(await storedBytes(page, "m")).toBeUndefined();
});

test("pieces are blobs, and are read by other workers than the engine's", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const { get } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.get = function (key) {
      if (Array.isArray(key) && key.length === 3 && self.name !== "qwenlet reader") throw new Error("a piece read by the engine's worker");
      return get.call(this, key);
    };
  });
  await page.goto(`${site.url}pkg/index.js`);
  await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(await storedForms(page, "m")).toEqual(["Blob"]);
  expect(await download(page, { cached: "m" })).toMatchObject({ id: "m", warnings: [] });
  expect(file.equals((await storedBytes(page, "m"))!)).toBe(true);
  await site.close();
});

for (const [how, hooks] of [
  ["at once", () => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (value instanceof Blob) throw new DOMException("no blobs here", "DataCloneError");
      return put.call(this, value, key);
    };
  }],
  // As WebKit's private windows do: first the request fails, then the transaction ends. A key that is there already does so too.
  ["later", () => {
    const { put, add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (!(value instanceof Blob)) return put.call(this, value, key);
      add.call(this, 0, key);
      return add.call(this, 0, key);
    };
  }],
] as const) test(`where the browser refuses blobs ${how}, pieces are stored as bytes`, async ({ page, hub }) => {
  const site = await serveHooked(hooks);
  await page.goto(`${site.url}pkg/index.js`);
  expect(await download(page, { url: hub.hubUrl(NAME), id: "m" })).toMatchObject({ id: "m", warnings: [] });
  expect(await storedForms(page, "m")).toEqual(["Uint8Array"]);
  expect(await download(page, { cached: "m" })).toMatchObject({ id: "m", warnings: [] });
  await site.close();
});

test("a piece that cannot be stored as a blob is stored as bytes, and so are those after it", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      // What a browser makes of a first one, of three bytes, need not hold for the others.
      if (value instanceof Blob && value.size > 3) throw new DOMException("not this one", "UnknownError");
      return put.call(this, value, key);
    };
  });
  await page.goto(`${site.url}pkg/index.js`);
  expect(await download(page, { url: hub.hubUrl(NAME), id: "m" })).toMatchObject({ id: "m", warnings: [] });
  expect(await storedForms(page, "m")).toEqual(["Uint8Array"]);
  await site.close();
});

test("connections to the storage that are lost are opened again, by the engine's worker and by those that read", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const { transaction } = IDBDatabase.prototype;
    let n = 0;
    IDBDatabase.prototype.transaction = function (...of: Parameters<typeof transaction>) {
      if (++n % 5 === 0) this.close();
      return transaction.apply(this, of);
    };
  });
  await page.goto(`${site.url}pkg/index.js`);
  expect(await download(page, { url: hub.hubUrl(NAME), id: "m" })).toMatchObject({ id: "m", warnings: [] });
  expect(await download(page, { url: hub.hubUrl(NAME), id: "m" })).toMatchObject({ id: "m", warnings: [] });
  expect(hub.sent(NAME)).toBe(file.length);
  expect(await cache(page, (c) => c.verify("m"))).toMatchObject({ ok: true, bytes: file.length });
  await site.close();
});

test("a stored model is read though not a byte can be written", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (value.complete && value.lastUsed !== value.created) throw new DOMException("the disk is full", "QuotaExceededError");
      return put.call(this, value, key);
    };
  });
  await page.goto(`${site.url}pkg/index.js`);
  await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(await download(page, { cached: "m" })).toMatchObject({ id: "m", warnings: [] });
  await site.close();
});

test("a tab that is suspended while it stores a model is not waited for", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    // A minute in two seconds.
    const [now, after] = [Performance.prototype.now, self.setTimeout];
    Performance.prototype.now = function () { return 30 * now.call(this); };
    self.setTimeout = ((run: TimerHandler, ms = 0) => after(run, ms / 30)) as typeof setTimeout;
  });
  await page.goto(`${site.url}pkg/index.js`);
  await page.evaluate(() => void navigator.locks.request("qwenlet:m", () => new Promise(() => {})).catch(() => {}));
  const told = await download(page, { url: hub.hubUrl(NAME), id: "m" }, { transfer: { ...TRANSFER, stallTimeout: 600 } });
  expect(told).toMatchObject({ id: "m", warnings: [] });
  expect(told.progress.map((p) => p.waiting)).toContain("other-tab");
  await site.close();
});

test("storage that the browser does not answer for is none to wait for", async ({ page, hub }) => {
  await page.evaluate(() => {
    navigator.storage.persist = () => new Promise(() => {});
    navigator.storage.estimate = () => Promise.reject(new TypeError("an opaque origin"));
  });
  expect(await download(page, { url: hub.hubUrl(NAME), id: "m" }, { persist: true })).toMatchObject({ id: "m" });
  expect(await page.evaluate(async () => {
    const { Cache, Engine } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    navigator.storage.persist = () => Promise.reject(new TypeError("an opaque origin"));
    return [await Cache.persist(), await Cache.estimate(), (await Engine.probe()).storage];
  })).toEqual([false, undefined, { indexedDb: true }]);
});

test("a piece that cannot be written ends the storing with an error, not the engine", async ({ page, hub }) => {
  const site = await serveHooked(() => {
    const { put, add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (!Array.isArray(key) || key.length !== 3) return put.call(this, value, key);
      add.call(this, 0, key);
      return add.call(this, 0, key);
    };
  });
  await page.goto(`${site.url}pkg/index.js`);
  expect(await download(page, { url: hub.hubUrl(NAME), id: "m" })).toMatchObject({ code: "cache", message: expect.stringContaining("storing failed") });
  expect(await storedForms(page, "m")).toEqual([]);
  await site.close();
});

for (const [what, hooks] of [
  ["can be started", () => { if (self.name !== "qwenlet reader") self.Worker = class { constructor() { throw new Error("no workers here"); } } as unknown as typeof Worker; }],
  ["runs", () => { if (self.name === "qwenlet reader") throw new Error("not today"); }],
  ["answers", () => { if (self.name === "qwenlet reader") self.addEventListener("message", (event) => event.stopImmediatePropagation()); }],
] as const) test(`a cached model is read by the engine's worker where no other ${what}`, async ({ page, hub }) => {
  const site = await serveHooked(hooks);
  await page.goto(`${site.url}pkg/index.js`);
  await download(page, { url: hub.hubUrl(NAME), id: "m" });
  hub.log.length = 0;
  expect(await download(page, { cached: "m" })).toMatchObject({ id: "m", warnings: [] });
  expect(await cache(page, (c) => c.verify("m"))).toMatchObject({ ok: true, bytes: file.length });
  expect(hub.log).toEqual([]);
  await site.close();
});

test("a damaged piece is found, and fetched again alone", async ({ page, hub }) => {
  await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(await cache(page, (c) => c.verify("m"))).toEqual({ ok: true, bytes: file.length, damagedBytes: 0, sha256: [hub.sha256(NAME)] });
  await damage(page, "m", 2 * CHUNK + 5);
  expect(await cache(page, (c) => c.verify("m"))).toMatchObject({ ok: false, damagedBytes: CHUNK });
  hub.log.length = 0;
  expect((await download(page, { url: hub.hubUrl(NAME), id: "m" })).id).toBe("m");
  expect(hub.sent(NAME)).toBe(CHUNK);
  expect(await cache(page, (c) => c.verify("m"))).toMatchObject({ ok: true });
  await damage(page, "m", CHUNK);
  const alone = await download(page, { cached: "m" });
  expect(alone).toMatchObject({ code: "cache", message: expect.stringContaining("damaged") });
});

test("a file is held to its SHA-256 and size, and to what the hub states", async ({ page, hub }) => {
  const url = hub.hubUrl(NAME);
  expect(await download(page, { url, id: "m", sha256: "0".repeat(64) })).toMatchObject({ code: "integrity" });
  expect(await cache(page, (c) => c.list())).toEqual([]);
  expect(await download(page, { url, id: "m", bytes: 5 })).toMatchObject({ code: "integrity", progress: [] });
  hub.plan(NAME, [{ fault: "flip", after: 300_000 }]);
  const flipped = await download(page, { url, id: "m" });
  expect(flipped).toMatchObject({ code: "integrity", message: expect.stringContaining("the hub states") });
  expect(await cache(page, (c) => c.list())).toEqual([]);
  expect(await download(page, { url, id: "m", sha256: hub.sha256(NAME), bytes: file.length })).toMatchObject({ id: "m" });
  expect(await download(page, { url, sha256: "zz" })).toMatchObject({ code: "invalid-argument" });
});

test("a file that changes on the server is fetched anew", async ({ page, hub }) => {
  const bytes = tinyGguf(90_000, 8);
  hub.plan(NAME, [{ fault: "reset", after: 200_000 }, { fault: "change", bytes }]);
  const told = await download(page, { url: hub.hubUrl(NAME), id: "m" });
  expect(told).toMatchObject({ id: "m", warnings: ["file-changed"] });
  expect(await cache(page, (c) => c.list())).toMatchObject([{ complete: true, bytes: bytes.length, sha256: [hub.sha256(NAME)] }]);
});

test("servers without ranges: the beginning is compared, not trusted", async ({ page, hub }) => {
  for (const etag of ["strong", "weak", "none"]) {
    hub.put(NAME, file, { etag, ranges: false, listed: false });
    hub.plan(NAME, [{ fault: "reset", after: 150_000 }]);
    hub.log.length = 0;
    expect(await download(page, { url: hub.directUrl(NAME), id: etag })).toMatchObject({ id: etag, warnings: [] });
    expect(hub.sent(NAME)).toBe(150_000 + file.length);
  }
  hub.put(NAME, file, { etag: "none", ranges: false, listed: false });
  const bytes = tinyGguf(100_000, 9); // of the same size, and nothing but its bytes tells it apart
  hub.plan(NAME, [{ fault: "reset", after: 150_000 }, { fault: "change", bytes }]);
  expect(await download(page, { url: hub.directUrl(NAME), id: "changed" })).toMatchObject({ id: "changed", warnings: ["file-changed"] });
});

test("hosts that compress, hide their headers, refuse ranges, or name the same file anew", async ({ page, hub }) => {
  for (const how of [{ compress: true }, { compress: true, exposes: false }, { compress: true, ranges: false }, { refuses: true }, { etag: "fresh", listed: true }]) {
    hub.put(NAME, file, { listed: false, ...how });
    hub.plan(NAME, [{}, { fault: "reset", after: 150_000 }].slice(how.refuses ? 0 : 1)); // the first answer is of no use there
    hub.log.length = 0;
    const told = await download(page, { url: hub.hubUrl(NAME), id: "m" });
    expect(told, JSON.stringify(how)).toMatchObject({ id: "m", warnings: [] });
    expect(await cache(page, (c) => c.list())).toMatchObject([{ complete: true, sha256: [hub.sha256(NAME)] }]);
    if (how.etag) expect(hub.sent(NAME)).toBe(file.length);
    await cache(page, (c) => c.delete("m"));
  }
});

test("a caller's own fetch and headers make the requests", async ({ page, hub }) => {
  hub.plan(NAME, [{ fault: "reset", after: 100_000 }]);
  const got = await page.evaluate(async ([url, transfer]) => {
    const { Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    const asked: Record<string, string>[] = [];
    const fetcher = (address: string, init: { headers: Record<string, string>; signal: AbortSignal }): Promise<Response> => {
      asked.push(init.headers);
      return fetch(address.replace("private:", "http:"), { ...init, headers: init.headers.Range ? { Range: init.headers.Range } : {} });
    };
    const source = { url, id: "m", headers: { "X-Token": "secret" }, fetch: fetcher };
    const id = await Cache.download(source, { transfer });
    const abort = new AbortController();
    const never = Cache.download({ ...source, id: "n", fetch: () => new Promise<Response>(() => {}) }, { transfer: { ...transfer, stallTimeout: 60 }, signal: abort.signal });
    setTimeout(() => abort.abort(), 300);
    const aborted = await never.then(() => "none", (e: { code: string }) => e.code);
    const failed = await Cache.download({ ...source, id: "o", fetch: () => Promise.reject(new Error("no such thing")) }, { transfer })
      .then(() => "none", (e: { code: string }) => e.code);
    return { id, asked, aborted, failed };
  }, [hub.directUrl(NAME), TRANSFER] as const);
  expect(got).toMatchObject({ id: "m", aborted: "aborted", failed: "network" });
  // Nothing that would need a preflight.
  expect(got.asked).toEqual(["bytes=0-", "bytes=100000-"].map((Range) => ({ "X-Token": "secret", Range })));
  expect(hub.sent(NAME)).toBe(file.length);
});

test("two tabs download one file once, and both show how far it is", async ({ context, page, hub, site }) => {
  hub.put(NAME, tinyGguf(400_000, 11));
  const other = await context.newPage();
  await other.goto(`${site.url}pkg/index.js`);
  const url = hub.hubUrl(NAME, "fault=slow&ms=20");
  const first = download(page, { url, id: "m" });
  await expect.poll(() => hub.sent(NAME)).toBeGreaterThan(0);
  const second = await download(other, { url, id: "m" });
  expect(await first).toMatchObject({ id: "m" });
  expect(second).toMatchObject({ id: "m", warnings: [] });
  expect(hub.sent(NAME)).toBe(hub.bytes(NAME).length);
  const waited = second.progress.filter((p) => p.waiting === "other-tab" && p.bytes > 0);
  expect(waited.length).toBeGreaterThan(2);
  expect(waited.at(-1)).toMatchObject({ phase: "waiting", total: hub.bytes(NAME).length });
  expect(second.progress.at(-1)).toMatchObject({ phase: "ready", from: "cache" });
});

test("a device that goes offline waits, and goes on when it is back", async ({ page, hub }) => {
  const offline = (is: boolean): Promise<void> => page.workers()[0]!.evaluate((is) => {
    // The browser's own emulation leaves workers out.
    Object.defineProperty(navigator, "onLine", { get: () => !is, configurable: true });
    if (!is) self.dispatchEvent(new Event("online"));
  }, is);
  hub.plan(NAME, [{ fault: "stall", after: 200_000 }, { fault: "mute" }]);
  const run = download(page, { url: hub.hubUrl(NAME), id: "m" });
  await expect.poll(() => hub.sent(NAME)).toBe(200_000);
  await offline(true);
  await page.waitForTimeout(1500); // longer than a connection may be silent
  hub.plan(NAME, []);
  await offline(false);
  const told = await run;
  expect(told).toMatchObject({ id: "m", warnings: [] });
  expect(told.progress.map((p) => p.waiting)).toContain("offline");
  expect(hub.sent(NAME)).toBe(file.length);
});

test("full storage: what could go is named, and goes only if the caller says so", async ({ page, hub, site }) => {
  const cdp = await page.context().newCDPSession(page);
  const quota = (quotaSize: number): Promise<unknown> => cdp.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize });
  hub.put(NAME, tinyGguf(1_000_000, 13));
  const get = (id: string, options: object = {}): Promise<Told> => download(page, { url: hub.hubUrl(NAME), id, name: id }, { transfer: { ...TRANSFER, chunkBytes: 1 << 20 }, ...options });
  await quota(13e6); // three of 4 MB fit, and no fourth; what the browser estimates knows nothing of it
  for (const id of ["oldest", "older", "newest"]) await get(id);
  const full = await get("m");
  expect(full).toMatchObject({ code: "quota-exceeded", message: expect.stringMatching(/oldest \(5 MB\), older \(5 MB\), newest \(5 MB\)/) });
  expect((await cache(page, (c) => c.list())).filter((m) => m.complete)).toHaveLength(3);
  expect(await get("m", { evict: "lru" })).toMatchObject({ id: "m", warnings: ["quota-exceeded"] });
  expect((await cache(page, (c) => c.list())).map((m) => m.id)).toEqual(["m", "newest", "older"]);
  expect(await cache(page, (c) => c.evict(1))).toMatchObject([{ id: "older" }]);
  expect((await cache(page, (c) => c.list())).map((m) => m.id)).toEqual(["m", "newest"]);
  expect(typeof (await cache(page, (c) => c.persist()))).toBe("boolean");
  expect((await cache(page, (c) => c.estimate()))!.quota).toBeGreaterThan(0);
});

test("a cache of the first schema is taken over", async ({ page }) => {
  const id = "old";
  await page.evaluate(async ([id, file]) => {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("qwenlet", 1);
      request.onupgradeneeded = () => ["models", "chunks"].forEach((store) => request.result.createObjectStore(store));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const tx = database.transaction(["models", "chunks"], "readwrite");
    const half = 8 << 10;
    const part = { name: "old.gguf", total: file.length, stored: file.length, etag: "\"1\"" };
    const record = { id, name: "old.gguf", chunkBytes: half, created: 1, lastUsed: 2, complete: true, writer: "w", parts: [part] };
    tx.objectStore("models").put(record, id);
    for (let i = 0; i * half < file.length; i++) tx.objectStore("chunks").put(new Uint8Array(file.slice(i * half, (i + 1) * half)), [id, 0, i]);
    tx.objectStore("models").put({ ...record, id: "broken", complete: false, parts: [{ ...part, stored: half }] }, "broken");
    tx.objectStore("chunks").put(new Uint8Array(half), ["broken", 0, 0]);
    await new Promise<void>((resolve) => (tx.oncomplete = () => resolve()));
    database.close();
  }, [id, [...file.subarray(0)]] as const);
  expect(await download(page, { cached: id })).toMatchObject({ id, warnings: [] });
  expect(await cache(page, (c) => c.verify("old"))).toMatchObject({ ok: true, bytes: file.length });
  await damage(page, id, 5);
  expect(await cache(page, (c) => c.verify("old"))).toMatchObject({ ok: false, damagedBytes: 8 << 10 }); // it has sums now
});
