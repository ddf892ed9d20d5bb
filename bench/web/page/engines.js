// One module an engine. `open(options)` gives `{ info, prefill(n, seed), decode(n), memory?, close }`; rates are
// `{ tokens, seconds }`. `decode` goes on behind the last `prefill`.
const ENGINES = ["qwenlet", "wllama", "candle", "ort", "read"];

export async function open(engine, options) {
  if (!ENGINES.includes(engine)) throw new Error(`there is no engine "${engine}"`);
  return (await import(`./${engine}.js`)).open(options);
}
