// What the CPU path is to reach. A model is known by its file's name.
const MODELS = [/0\.5b.*q4_0/i, /0\.5b.*q8_0/i, /0\.5b.*q4_k_m/i, /qwen3-0\.6b.*q4_k_m/i];

/** Times a peer's rate, one number a model of `MODELS`. */
const TIMES = [
  { figure: "decode", engine: "qwenlet", peer: "wllama", least: [4.5, 3, 4.5, 2.5] },
  { figure: "decode", engine: "qwenlet", peer: "candle", least: [1.9, 1.6, 4, 2.5] },
  { figure: "prefill", engine: "qwenlet", peer: "wllama", least: [20, 16, 18, 11] },
  { figure: "prefill", engine: "qwenlet", peer: "candle", least: [7, 6, 20, 10] },
  { figure: "prefill", engine: "qwenlet", peer: "onnxruntime", least: [5] },
  { figure: "prefill", engine: "qwenlet", peer: "llama.cpp native", least: [1] },
  { figure: "decode", engine: "qwenlet", peer: "llama.cpp native", least: [1] },
  { figure: "decode", engine: "qwenlet simd128", peer: "wllama", least: [2.5, 2.5, 2.5, 2.5] },
  { figure: "prefill", engine: "qwenlet simd128", peer: "wllama", least: [10, 10, 10, 10] },
  { figure: "prefill", engine: "qwenlet without VNNI", peer: "wllama", least: [15, 15, 15, 15] },
];

/** `{ what, value, target, ok }` of every target that `lines` have figures for. */
export function verdicts(lines) {
  const found = [];
  const least = (what, value, limit) => found.push({ what, value, target: `at least ${limit}`, ok: value >= limit });
  const most = (what, value, limit) => found.push({ what, value, target: `at most ${limit}`, ok: value <= limit });
  const line = (figure, model, engine, more = () => true) =>
    lines.find((l) => l.figure === figure && l.model === model && l.engine === engine && more(l));
  for (const model of new Set(lines.map((l) => l.model).filter(Boolean))) {
    const kind = MODELS.findIndex((name) => name.test(model));
    for (const { figure, engine, peer, least: limits } of TIMES) {
      const [ours, theirs] = [line(figure, model, engine), line(figure, model, peer)];
      if (ours && theirs && limits[kind]) least(`${model}: ${figure}, ${engine} over ${peer}`, ours.perCpuSecond.median / theirs.perCpuSecond.median, limits[kind]);
    }
    const [read, decode] = [line("read", model, "memory read"), line("decode", model, "qwenlet")];
    if (read && decode && kind <= 1) least(`${model}: decode's reading over a plain read`, decode.perCpuSecond.median * decode.bytesPerToken / read.perCpuSecond.median, 0.55);
    for (const of of ["prefill", "decode"]) {
      const pairs = line("threads", model, "qwenlet 2 threads", (l) => l.of === of);
      if (pairs) least(`${model}: ${of}, 2 threads over 1`, pairs.quietest, 1.8);
    }
    const memory = line("memory", model, "qwenlet");
    if (memory) most(`${model}: peak memory over the file`, Math.max(memory.wasmBytes, memory.wasmBytesAtLoad) / memory.bytes, 1.15);
    const load = line("load", model, "qwenlet");
    if (load && kind === 0) most(`${model}: first token from the cache over reading`, load.ratio.median, 2.5);
    const [near, far] = [128, 4096].map((n) => line("context", model, "qwenlet", (l) => l.context === n));
    if (near && far) most(`${model}: a token at 4096 over one at 128`, near.perCpuSecond.median / far.perCpuSecond.median, 1.6);
    for (const exact of lines.filter((l) => l.figure === "exact" && l.model === model && l.engine !== "qwenlet simd128")) least(`${model}: ${exact.engine} is bit-exact`, Number(exact.same), 1);
  }
  return found;
}
