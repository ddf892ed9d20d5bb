// What is measured: an engine and how it is told to run. `flags` are V8's.

/** Older x86 and ARM have no dot product of 8-bit integers that V8 would use for relaxed SIMD. */
const NO_VNNI = "--no-enable-avx-vnni --no-enable-avx-vnni-int8";

export const VARIANTS = {
  "qwenlet": { engine: "qwenlet", threads: 1 },
  "qwenlet simd128": { engine: "qwenlet", threads: 1, variant: "simd" },
  "qwenlet without VNNI": { engine: "qwenlet", threads: 1, variant: "relaxed", flags: NO_VNNI },
  "qwenlet 2 threads": { engine: "qwenlet", threads: 2 },
  "wllama": { engine: "wllama", threads: 1 },
  "wllama 2 threads": { engine: "wllama", threads: 2 },
  "candle": { engine: "candle" },
  "onnxruntime": { engine: "ort", threads: 1 },
  "memory read": { engine: "read" },
  "memory read 2 threads": { engine: "read", threads: 2 },
  "qwenlet WebGPU": { engine: "qwenlet", backend: "webgpu" },
  "qwenlet WebGPU exact": { engine: "qwenlet", backend: "webgpu", precision: "exact" },
  // Its longer prompts end in an error on software adapters.
  "wllama WebGPU": { engine: "wllama", threads: 1, backend: "webgpu", pp: 4 },
  "onnxruntime WebGPU": { engine: "ort", threads: 1, backend: "webgpu" },
};

/** Why a loaded qwenlet is not the variant that was wished for; undefined where it is. */
export function mismatch({ variant, threads, backend = "cpu" }, info) {
  if (info.backend !== backend) return `it runs on ${info.backend}: ${info.why}`;
  const relaxed = info.features.includes("relaxed-simd");
  if (variant === "relaxed" && !relaxed) return "this browser has no relaxed SIMD";
  if (variant === "simd" && relaxed) return "the simd128 build was not loaded";
  if (threads && info.threads !== threads) return `it runs on ${info.threads} thread(s)`;
  return undefined;
}
