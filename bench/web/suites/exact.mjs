// Every form of the kernels gives the same tokens and the same log-probabilities, to the last bit.
import { openAll } from "../lib/opened.mjs";

const PROMPT = 64;
const TOKENS = 16;

export async function exact(run, model) {
  let reference;
  for (const name of ["qwenlet", "qwenlet without VNNI", "qwenlet simd128", "qwenlet 2 threads"]) {
    const [found] = await openAll(run, model, [name]);
    if (!found) continue;
    const trace = await found.browser.call("trace", PROMPT, 5, TOKENS);
    await found.browser.close();
    if (reference === undefined) {
      if (name !== "qwenlet" || trace.ids.length !== TOKENS) throw new Error(`${name} gave no reference`);
      reference = trace;
      continue;
    }
    const same = JSON.stringify(trace) === JSON.stringify(reference);
    run.line({ figure: "exact", model: model.name, engine: name, against: "qwenlet", features: found.info.features, tokens: TOKENS, same });
  }
}
