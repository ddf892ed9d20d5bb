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

/** Reads the stored pieces of a model, as many ahead as the engine does, and throws them away. */
export async function readStored(id, ahead) {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const database = await done(indexedDB.open("qwenlet"));
  const record = await done(database.transaction("models").objectStore("models").get(id));
  const start = performance.now();
  let bytes = 0;
  for (const [part, { stored }] of record.parts.entries()) {
    const n = Math.ceil(stored / record.chunkBytes);
    const get = (index) => done(database.transaction("chunks").objectStore("chunks").get([id, part, index]));
    const queue = [];
    for (let next = 0, read = 0; read < n; read++) {
      while (next < n && queue.length <= ahead) queue.push(get(next++));
      bytes += (await queue.shift()).byteLength;
    }
  }
  const time = performance.now() - start;
  database.close();
  return { time, bytes };
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
