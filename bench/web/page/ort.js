// onnxruntime-web's WebAssembly and WebGPU providers, which transformers.js runs on: a decoder with key/value inputs.
import { ids } from "./prompts.js";

/** `model.onnx` beside its external data `model.data`; the shape of the caches is read from the model. */
export async function open({ source, threads, backend = "cpu" }) {
  const gpu = backend === "webgpu";
  const ort = await import(`/node_modules/onnxruntime-web/dist/ort.${gpu ? "webgpu" : "wasm"}.min.mjs`);
  ort.env.wasm.wasmPaths = `${location.origin}/node_modules/onnxruntime-web/dist/`;
  ort.env.wasm.numThreads = threads;
  const data = new Uint8Array(await (await fetch(`${source}model.data`)).arrayBuffer());
  const session = await ort.InferenceSession.create(`${source}model.onnx`, {
    executionProviders: [gpu ? "webgpu" : "wasm"], externalData: [{ path: "model.data", data }], graphOptimizationLevel: "all",
    ...(gpu ? { preferredOutputLocation: "gpu-buffer" } : {}), // the caches stay where they are computed
  });
  const caches = session.inputMetadata.filter(({ name }) => name.startsWith("past_key_values."));
  const integers = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const empty = () => {
    const at = (dim, i) => (i === 0 ? 1 : i === 2 ? 0 : dim);
    return Object.fromEntries(caches.map(({ name, shape }) => [name, new ort.Tensor("float32", new Float32Array(0), shape.map(at))]));
  };

  /** Appends `tokens` to a state `{ past, length }`; gives the next state and the likeliest token. */
  async function step({ past, length }, tokens) {
    const all = length + tokens.length;
    const mask = integers(Array(all).fill(1));
    const out = await session.run({ input_ids: integers(tokens), attention_mask: mask, ...past });
    const logits = await out.logits.getData(true);
    const last = logits.subarray(logits.length - out.logits.dims.at(-1));
    const next = last.reduce((best, value, i) => (value > last[best] ? i : best), 0);
    const kept = caches.map(({ name }) => [name, out[name.replace("past_key_values", "present")]]);
    return { past: Object.fromEntries(kept), length: all, next };
  }

  /** Gives back what the GPU holds of a state. */
  const release = ({ past }) => Object.values(past).forEach((cache) => cache.dispose());

  async function timed(tokens, run) {
    const start = performance.now();
    await run();
    return { tokens, seconds: (performance.now() - start) / 1000 };
  }

  let prompt;
  return {
    info: { threads },
    prefill: (n, seed) => timed(n, async () => {
      if (prompt) release(prompt);
      prompt = await step({ past: empty(), length: 0 }, ids(n, seed));
    }),
    decode: (n) => timed(n, async () => {
      let state = prompt;
      for (let i = 0; i < n; i++) {
        const before = state;
        state = await step(before, [before.next]);
        if (before !== prompt) release(before);
      }
      release(state);
    }),
    close: () => session.release(),
  };
}
