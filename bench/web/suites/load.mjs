// From the browser's storage to the first token, against reading the same bytes from the same storage; and peak memory.
import { Browser } from "../lib/browser.mjs";
import { summary } from "../lib/stats.mjs";

export async function load(run, model) {
  const browser = await Browser.start(run.url, { executable: run.chromium });
  const source = `${run.url}models/${encodeURIComponent(model.name)}`;
  // What a load from the network takes at most, which also fills the cache.
  const fresh = await browser.withPage(run.url, (page) => page.evaluate(loadAndAnswer, { source }));
  const reads = [];
  const loads = [];
  for (let rep = 0; rep < run.reps; rep++) {
    reads.push(await browser.withPage(run.url, (page) => page.evaluate(readStored)));
    loads.push(await browser.withPage(run.url, (page) => page.evaluate(loadAndAnswer, { source: { cached: fresh.cacheId } })));
    run.progress(`${model.name}: ${rep + 1} of ${run.reps}`);
  }
  await browser.close();
  for (const { bytes } of reads) {
    if (bytes < model.bytes) throw new Error(`the browser's storage has ${bytes} bytes of ${model.bytes}`);
  }
  const common = { model: model.name, engine: "qwenlet", bytes: model.bytes };
  run.line({
    figure: "load", ...common, firstTokenSeconds: summary(loads.map((l) => l.firstToken)), loadSeconds: summary(loads.map((l) => l.loaded)),
    readSeconds: summary(reads.map((r) => r.seconds)), ratio: summary(loads.map((l, i) => l.firstToken / reads[i].seconds)),
  });
  const all = [fresh, ...loads];
  run.line({
    figure: "memory", ...common, wasmBytesAtLoad: Math.max(...all.map((l) => l.atLoad)), wasmBytes: Math.max(...all.map((l) => l.after)),
    context: fresh.context,
  });
}

/** In the page: a load with the options that a user has who gives none, and an answer to a prompt of 16 tokens, then one of 128. */
async function loadAndAnswer({ source }) {
  const { open } = await import("/qwenlet.js");
  const start = performance.now();
  const engine = await open({ source, cache: "required" });
  const loaded = (performance.now() - start) / 1000;
  const atLoad = (await engine.memory()).wasmBytes;
  const asked = performance.now();
  await engine.prefill(16, 1);
  const firstToken = loaded + (performance.now() - asked) / 1000;
  await engine.prefill(128, 2);
  await engine.decode(4);
  const after = (await engine.memory()).wasmBytes;
  const { cacheId, contextLength } = engine.info;
  await engine.close();
  return { loaded, firstToken, atLoad, after, cacheId, context: contextLength };
}

/** In the page: reads every value that its origin has stored, one after another, whatever holds the bytes. */
async function readStored() {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const bytesOf = async (value) => {
    if (value instanceof Blob) return (await value.arrayBuffer()).byteLength;
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value.byteLength;
    if (value === null || typeof value !== "object") return 0;
    let sum = 0;
    for (const part of Object.values(value)) sum += await bytesOf(part);
    return sum;
  };
  const start = performance.now();
  let bytes = 0;
  for (const { name } of await indexedDB.databases()) {
    const database = await done(indexedDB.open(name));
    for (const store of database.objectStoreNames) {
      const keys = await done(database.transaction(store).objectStore(store).getAllKeys());
      for (const key of keys) bytes += await bytesOf(await done(database.transaction(store).objectStore(store).get(key)));
    }
    database.close();
  }
  return { bytes, seconds: (performance.now() - start) / 1000 };
}
