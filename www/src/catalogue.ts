// The models that can be had: what each is for, how large it is, and whether this browser has room for it.

import { CATALOGUE, Engine, type Capabilities, type CatalogueEntry, type Fit, type FitSuggestion } from "qwenlet";
import { button, byId, el } from "./dom.js";
import * as format from "./format.js";
import type { Choice } from "./session.js";
import type { BackendWish } from "./store.js";

/** Good to start with. */
export const SUGGESTED = "qwen3-0.6b-q8_0";

/** What the page loads with. */
export interface Wishes {
  backend: BackendWish;
  contextLength?: number | undefined;
}

export class Catalogue {
  private readonly list = byId("catalogue-list");
  private rows = new Map<CatalogueEntry, HTMLElement>();

  constructor(private readonly onChoose: (choice: Choice) => void) {}

  /** Shows all but what is stored already. */
  show(stored: ReadonlySet<string>): void {
    this.rows = new Map(CATALOGUE.filter((entry) => !stored.has(entry.url)).map((entry) => [entry, this.row(entry)]));
    this.list.replaceChildren(...this.rows.values());
    this.list.closest("section")!.hidden = this.rows.size === 0;
  }

  /** Adds what the engine says of each. */
  async judge(wishes: Wishes, probed: Promise<Capabilities>): Promise<void> {
    const { rows } = this;
    const { backend, contextLength } = wishes;
    try {
      const options = { backend, ...(contextLength ? { contextLength } : {}), capabilities: await probed };
      await Promise.all([...rows].map(async ([entry, row]) => {
        const fit = await Engine.fits(entry.id, options);
        // The list may have been made anew meanwhile.
        if (rows === this.rows) this.tell(row, entry, fit);
      }));
    } catch (error) {
      // The list serves without: a load says by itself what does not fit.
      console.warn("qwenlet: what fits is unknown", error);
    }
  }

  private row(entry: CatalogueEntry): HTMLElement {
    const load = button("Load", () => this.onChoose(fromCatalogue(entry)));
    load.setAttribute("aria-label", `Load ${entry.name} ${entry.quantization}`);
    const name = el("div", { className: "row-name" }, entry.name);
    if (entry.id === SUGGESTED) name.append(el("span", { className: "tag" }, "Good to start with"));
    const home = el("a", { href: entry.home, target: "_blank", rel: "noopener noreferrer", className: "link" }, "About");
    home.setAttribute("aria-label", `About ${entry.name} (opens a new tab)`);
    const size = el("span", { className: "size" }, entry.bytes === undefined ? "" : `${format.bytes(entry.bytes)} · `);
    const facts = el("div", { className: "row-facts" },
      sentence(entry.goodFor), el("br"), size, `${entry.quantization} · ${entry.license} · `, home);
    return el("li", { data: { id: entry.id } }, name, facts, el("div", { className: "row-actions" }, load));
  }

  /** What needs the engine to know: the memory, and what is in the way. */
  private tell(row: HTMLElement, entry: CatalogueEntry, fit: Fit): void {
    const { needs, has } = fit;
    const size = entry.bytes === undefined && needs.storage !== undefined ? `about ${format.bytes(needs.storage)} · ` : row.querySelector(".size")!.textContent;
    row.querySelector(".size")!.textContent = `${size}${format.bytes(needs.wasm + needs.gpu)} of memory · `;
    if (fit.fits) {
      if (fit.keeps === false) this.remark(row, "", `Storage has ${format.bytes(has.storage ?? 0)} left, so it would be downloaded again each time.`);
      return;
    }
    row.dataset["fits"] = fit.guess ? "maybe" : "no";
    const problems = fit.problems.map(({ text }) => text).join("; ");
    this.remark(row, fit.guess ? "May be too large here" : "Too large here", sentence(problems));
    const instead = fit.suggestions.map((suggestion) => choiceOf(suggestion, fromCatalogue(entry))).find((choice) => choice !== undefined);
    const actions = row.querySelector(".row-actions")!;
    if (!fit.guess) actions.replaceChildren();
    if (instead && instead.source === entry.id) {
      const load = button(instead.how, () => this.onChoose(instead), "quiet");
      load.setAttribute("aria-label", `Load ${entry.name} ${entry.quantization}: ${instead.how}`);
      actions.prepend(load);
    }
  }

  private remark(row: HTMLElement, tag: string, text: string): void {
    if (tag) row.querySelector(".row-name")!.append(el("span", { className: "tag warn" }, tag));
    row.querySelector(".row-facts")!.append(el("div", { className: "remark" }, text));
  }
}

export function fromCatalogue(entry: CatalogueEntry): Choice {
  return { source: entry.id, label: `${entry.name} ${entry.quantization}` };
}

/** A choice that follows a suggestion, and what a button to it says. Room in storage is for the visitor to make. */
export function choiceOf(suggestion: FitSuggestion, choice: Choice): (Choice & { how: string }) | undefined {
  switch (suggestion.kind) {
    case "context":
      return { ...choice, contextLength: suggestion.contextLength, how: `With ${format.count(suggestion.contextLength)} tokens` };
    case "backend":
      return { ...choice, backend: suggestion.backend, how: "On the processor" };
    case "model": {
      const entry = CATALOGUE.find(({ id }) => id === suggestion.id);
      return entry && { ...fromCatalogue(entry), how: `Load ${entry.name}` };
    }
    case "storage":
      return undefined;
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
