// The demo model, which comes with the page: what is said of it, what it can be asked, and the real models named beside it.

import { CATALOGUE, Engine, type CatalogueEntry, type Fit } from "qwenlet";
import { DEMO } from "qwenlet/demo";
import { fromCatalogue, SUGGESTED, type Wishes } from "./catalogue.js";
import type { Welcome } from "./conversation.js";
import { button, el } from "./dom.js";
import * as format from "./format.js";
import type { Choice } from "./session.js";

/** The page tells choices apart, the same one made twice too. */
export const demoChoice = (): Choice => ({ source: DEMO, label: "Demo", demo: true });

const SIZE = format.bytes(DEMO.bytes);

/** Of the kinds that it was trained for. */
const IDEAS = [
  "What is 17 + 25?",
  "How do you say good morning in Japanese?",
  "Reverse the word lantern.",
  "Is my chat private?",
  "What can you do?",
];

/** What a new chat with it begins with. */
export const demoWelcome = (real: HTMLElement): Welcome => ({
  title: "Try it: this runs in your browser",
  text: `This is a demo, a toy of ${SIZE} that came with the page. It does small sums, plays with words, converts units, says a few phrases and tells about qwenlet; all else is beyond it. What you write never leaves your device.`,
  ideas: IDEAS,
  more: real,
});

/** What it is called where there is room. */
export const DEMO_NAME = `Demo (${SIZE}, answers a few kinds of question)`;

/** In the list of models. */
export const TOY = "A toy to try things with: for real answers load one of the models below.";

/** Its row there. */
export function demoRow(onChoose: (choice: Choice) => void): HTMLElement {
  const load = button("Load", () => onChoose(demoChoice()));
  load.setAttribute("aria-label", "Load the demo");
  return el("li", { data: { id: "demo" } },
    el("div", { className: "row-name" }, DEMO_NAME),
    el("div", { className: "row-facts" }, `Comes with this page. ${TOY}`),
    el("div", { className: "row-actions" }, load));
}

/** Weights that a processor can read for every token without making it a wait. */
const READ_BY_PROCESSOR = 2e9;

/** The real models for this device, named beside the demo. */
export class RealModels {
  private readonly list = el("ul", { className: "list" });
  readonly node: HTMLElement;

  constructor(private readonly onChoose: (choice: Choice) => void, onAll: () => void) {
    this.list.hidden = true;
    const all = el("button", { type: "button", className: "link", onclick: onAll }, "All models");
    this.node = el("section", { className: "real", aria: { label: "Real models" } },
      el("h2", {}, "The real thing, for this device"),
      el("p", { className: "note" }, "Downloaded once, kept here. ", all),
      this.list);
  }

  /** Asks the engine which of them fit, and shows a few. */
  async judge({ backend, contextLength }: Wishes): Promise<void> {
    try {
      const options = { backend, ...(contextLength ? { contextLength } : {}), capabilities: await Engine.probe() };
      const general = CATALOGUE.filter(({ purpose }) => purpose === "chat" || purpose === "reasoning");
      const judged = await Promise.all(general.map(async (entry) => ({ entry, fit: await Engine.fits(entry.id, options) })));
      const rows = choose(judged.filter(({ fit }) => fit.fits && fit.keeps !== false)).map((judgement) => this.row(judgement));
      this.list.replaceChildren(...rows);
      this.list.hidden = rows.length === 0;
    } catch (error) {
      // There is the way to all of them.
      console.warn("qwenlet: what fits is unknown", error);
    }
  }

  private row({ entry, fit }: Judgement): HTMLElement {
    const load = button("Load", () => this.onChoose(fromCatalogue(entry)));
    load.setAttribute("aria-label", `Load ${entry.name} ${entry.quantization}`);
    const size = entry.bytes === undefined ? `about ${format.bytes(fit.needs.storage ?? fit.needs.weights)}` : format.bytes(entry.bytes);
    return el("li", { data: { id: entry.id } },
      el("div", { className: "row-name" }, entry.name), el("div", { className: "row-facts" }, `${size} · ${entry.goodFor}`),
      el("div", { className: "row-actions" }, load));
  }
}

interface Judgement {
  entry: CatalogueEntry;
  fit: Fit;
}

/** The lightest, the one to start with, and the best that is still quick. */
function choose(fitting: Judgement[]): Judgement[] {
  const quick = fitting.filter(({ fit }) => fit.backend === "webgpu" || fit.needs.weights < READ_BY_PROCESSOR);
  const some = [fitting[0], fitting.find(({ entry }) => entry.id === SUGGESTED), quick.at(-1)];
  return [...new Set(some)].filter((judgement) => judgement !== undefined);
}
