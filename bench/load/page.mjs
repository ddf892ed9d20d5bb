// What runs in the page: each function goes by itself, as text. Times are in milliseconds.

/** Runs `body`, the text of an async function, in a worker, as the engine does its work. */
export async function inWorker(body, ...args) {
  const source = `onmessage = async ({ data }) => postMessage(await (${body})(...data))`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const result = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
  worker.postMessage(args);
  return result.finally(() => worker.terminate());
}

/** Reads a body to its end and throws it away. */
export async function drain(url) {
  const start = performance.now();
  const reader = (await fetch(url, { cache: "no-store" })).body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read());
  return performance.now() - start;
}

/** Uploads as many bytes to GPU buffers, from memory that is already there, and waits for the GPU. */
export async function upload(bytes, piece) {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  const data = new Uint8Array(piece).fill(7);
  const buffers = [];
  const start = performance.now();
  for (let at = 0; at < bytes; at += piece) {
    const buffer = device.createBuffer({ size: piece, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(buffer, 0, data);
    buffers.push(buffer);
    if ((at / piece) % 4 === 3) await device.queue.onSubmittedWorkDone();
  }
  await device.queue.onSubmittedWorkDone();
  const time = performance.now() - start;
  device.destroy();
  return time;
}

/** Writes pieces one after the other, then reads them in order, `ahead` of them asked for beside the one that is due; in IndexedDB (as byte arrays or blobs) one transaction each, in OPFS by a synchronous handle. */
export async function store(kind, bytes, piece, ahead) {
  const data = new Uint8Array(piece);
  for (let i = 0; i < piece; i += 65536) crypto.getRandomValues(data.subarray(i, i + 65536));
  const n = Math.ceil(bytes / piece);
  const times = {};
  const timed = async (what, run) => {
    const start = performance.now();
    const queue = [];
    for (let next = 0, i = 0; i < n; i++) {
      while (next < n && queue.length <= (what === "read" ? ahead : 0)) queue.push(run(next++));
      await queue.shift();
    }
    times[what] = performance.now() - start;
  };
  if (kind === "opfs") {
    const root = await navigator.storage.getDirectory();
    const handle = await (await root.getFileHandle("bench", { create: true })).createSyncAccessHandle();
    await timed("write", (i) => {
      handle.write(data, { at: i * piece });
      handle.flush();
    });
    await timed("read", (i) => handle.read(data, { at: i * piece }));
    handle.close();
    await root.removeEntry("bench");
    return times;
  }
  const done = (request, event = "onsuccess") => new Promise((resolve, reject) => {
    request[event] = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const open = indexedDB.open("bench");
  open.onupgradeneeded = () => open.result.createObjectStore("pieces");
  const database = await done(open);
  await timed("write", (i) => {
    const transaction = database.transaction("pieces", "readwrite");
    transaction.objectStore("pieces").put(kind === "blobs" ? new Blob([data]) : data, i);
    return done(transaction, "oncomplete");
  });
  await timed("read", async (i) => {
    const value = await done(database.transaction("pieces").objectStore("pieces").get(i));
    return kind === "blobs" ? value.arrayBuffer() : value;
  });
  database.close();
  await done(indexedDB.deleteDatabase("bench"));
  return times;
}
