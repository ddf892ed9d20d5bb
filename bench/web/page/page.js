// The page that one opens by hand: wall times of each engine, one after another.
import { open } from "./engines.js";

const ROWS = [
  ["qwenlet", { engine: "qwenlet", threads: 1 }],
  ["qwenlet, as the page would load it", { engine: "qwenlet" }],
  ["wllama, 1 thread", { engine: "wllama", threads: 1 }],
  ["candle", { engine: "candle" }],
];

const element = (id) => document.getElementById(id);
const number = (id) => Number(element(id).value);

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

async function measure(options) {
  const start = performance.now();
  const engine = await open(options.engine, options);
  const load = (performance.now() - start) / 1000;
  await engine.prefill(16, 1);
  await engine.decode(8);
  const rates = { prefill: [], decode: [] };
  for (let rep = 0; rep < number("reps"); rep++) {
    for (const [verb, ...args] of [["prefill", number("pp"), 100 + rep], ["decode", number("tg")]]) {
      const { tokens, seconds } = await engine[verb](...args);
      rates[verb].push(tokens / seconds);
    }
  }
  await engine.close();
  return [median(rates.prefill).toFixed(1), median(rates.decode).toFixed(1), load.toFixed(1)];
}

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  element("rows").replaceChildren();
  const source = new URL(`/models/${encodeURIComponent(element("model").value)}`, location.href).href;
  for (const [name, options] of ROWS) {
    element("state").textContent = `Measuring ${name} …`;
    const row = element("rows").insertRow();
    row.insertCell().textContent = name;
    const values = await measure({ ...options, source }).catch((error) => [String(error)]);
    for (const value of values) row.insertCell().textContent = value;
  }
  element("state").textContent = "Done.";
  button.disabled = false;
});

for (const name of await (await fetch("/models.json")).json()) element("model").add(new Option(name));
