import { serve, timed } from "./worker.js";

let wasm;

/** Imports that nothing calls (those of getrandom, mostly), and the one that reports errors. */
function imports(module) {
  const all = { bench: { fail(text, len) { throw new Error(new TextDecoder().decode(new Uint8Array(wasm.memory.buffer, text, len))); } } };
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const folder = (all[from] ??= {});
    if (kind === "table") folder[name] ??= new WebAssembly.Table({ initial: 128, element: "externref" });
    else folder[name] ??= () => {};
  }
  return all;
}

serve({
  async load(code, url) {
    const module = await WebAssembly.compileStreaming(fetch(code));
    wasm = (await WebAssembly.instantiate(module, imports(module))).exports;
    const response = await fetch(url);
    const bytes = Number(response.headers.get("content-length"));
    const file = wasm.room(bytes) >>> 0;
    let at = file;
    for await (const part of response.body) {
      new Uint8Array(wasm.memory.buffer).set(part, at);
      at += part.length;
    }
    wasm.load(file, bytes);
  },
  prefill(ids) {
    const room = wasm.room(4 * ids.length) >>> 0;
    new Uint32Array(wasm.memory.buffer, room, ids.length).set(ids);
    return timed(ids.length, () => wasm.prefill(room, ids.length));
  },
  decode: (n) => timed(n, () => wasm.decode(n)),
  memory: () => ({ wasmBytes: wasm.memory.buffer.byteLength }),
});
