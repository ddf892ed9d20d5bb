// Engines with a model, each in a browser of its own.
import { mismatch, VARIANTS } from "../variants.mjs";
import { Browser } from "./browser.mjs";

/** Opens the named variants; one that cannot be had is said and left out. `more` are further options of `open`. */
export async function openAll(run, model, names, more = {}) {
  const opened = [];
  for (const name of names) {
    const { engine, flags, ...wish } = VARIANTS[name];
    const gpu = wish.backend === "webgpu";
    const browser = await Browser.start(run.url, { executable: gpu ? run.gpuChromium : run.chromium, flags, gpu });
    const source = engine === "ort" ? `${run.url}onnx/` : `${run.url}models/${encodeURIComponent(model.name)}`;
    let reason;
    let info;
    try {
      info = await browser.open(engine, { source, bytes: model.bytes, ...wish, ...more });
      reason = engine === "qwenlet" ? mismatch(wish, info) : undefined;
    } catch (error) {
      reason = String(error.message).split("\n")[0];
    }
    if (reason) {
      run.line({ figure: "left out", model: model.name, engine: name, reason });
      await browser.close();
    } else {
      opened.push({ name, browser, info });
    }
  }
  return opened;
}
