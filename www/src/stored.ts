// The models in this browser's storage: how large, when used, and what can be done with each.

import { Cache, CATALOGUE, type CachedModel, type Capabilities } from "qwenlet";
import { fromCatalogue } from "./catalogue.js";
import { announce, button, byId, el } from "./dom.js";
import * as format from "./format.js";
import type { Choice } from "./session.js";

/** Chromium tells every site that so much is free, unless the disk has less. */
const TOLD_TO_ALL = 10 * 2 ** 30;

export class StoredModels {
  models: CachedModel[] = [];

  /** `onChange` is told when a model came or went by the visitor's doing here. */
  constructor(private readonly onChoose: (choice: Choice) => void, private readonly onChange: () => void) {
    byId("persist").onclick = () => void this.persist();
  }

  /** Reads the list anew and shows it. */
  async refresh(): Promise<void> {
    try {
      this.models = await Cache.list();
    } catch (error) {
      this.models = [];
      byId("stored").hidden = false;
      this.note(`Stored models cannot be read: ${told(error)}`);
      return;
    }
    byId("stored").hidden = this.models.length === 0;
    const rows = [...this.models].sort((a, b) => b.lastUsed - a.lastUsed).map((model) => this.row(model));
    byId("stored-list").replaceChildren(...rows);
    const sum = this.models.reduce((n, model) => n + model.bytes, 0);
    this.note(`${format.bytes(sum)} in this browser's storage. These start without a network.`);
  }

  /** How much room there is, and whether the browser may clear it. */
  showStorage({ storage: { usage, quota, persisted } }: Capabilities): void {
    const left = quota === undefined || usage === undefined ? Infinity : Math.max(0, quota - usage);
    const free = left < TOLD_TO_ALL ? `About ${format.bytes(left)} more can be stored.` : "";
    byId("storage-note").textContent = persisted ? `${free} The browser keeps it until you delete it.` : free;
    byId("persist-row").hidden = persisted !== false;
  }

  /** The address (or id) of every model that is here whole. */
  complete(): Set<string> {
    return new Set(this.models.filter((model) => model.complete).map((model) => model.id));
  }

  private row(model: CachedModel): HTMLElement {
    const entry = CATALOGUE.find((e) => e.url === model.id);
    const name = entry?.name ?? model.name;
    const size = model.complete ? format.bytes(model.bytes) : `${format.bytes(model.bytes)}${model.total ? ` of ${format.bytes(model.total)}` : ""}, not complete`;
    const facts = [entry?.quantization, size, `used ${format.ago(model.lastUsed)}`].filter(Boolean).join(" · ");
    const actions = el("div", { className: "row-actions" });
    const state = el("div", { className: "remark", role: "status" });
    const row = el("li", { data: { id: model.id } },
      el("div", { className: "row-name" }, name), el("div", { className: "row-facts" }, facts, state), actions);
    const choice = entry ? fromCatalogue(entry) : { source: sourceOf(model), label: model.name.replace(/\.gguf$/i, "") };
    const named = (label: string, run: () => void, style: string): HTMLButtonElement => {
      const node = button(label, run, style);
      node.setAttribute("aria-label", `${label} ${name}`);
      return node;
    };
    const offer = (): void => {
      actions.replaceChildren(named("Delete", confirm, "quiet"));
      if (model.complete) actions.append(named("Check", () => void check(), "quiet"));
      // An incomplete one is taken up where it stopped, if its address is known.
      if (model.complete || choice.source instanceof URL || entry) actions.append(named(model.complete ? "Load" : "Go on", () => this.onChoose(choice), ""));
    };
    const confirm = (): void => {
      const sure = button(`Delete ${format.bytes(model.bytes)}`, () => void this.remove(model, name));
      actions.replaceChildren(button("Keep", offer, "quiet"), sure);
      sure.focus();
    };
    const check = async (): Promise<void> => {
      const abort = new AbortController();
      const stop = named("Stop checking", () => abort.abort(), "quiet");
      actions.replaceChildren(stop);
      stop.focus();
      state.textContent = "Reading all of it";
      try {
        const { ok, damagedBytes } = await Cache.verify(model.id, { signal: abort.signal });
        state.textContent = ok ? "Every byte is as it was stored." : `${format.bytes(damagedBytes)} of it are damaged. Loading it fetches those again.`;
      } catch (error) {
        state.textContent = abort.signal.aborted ? "" : `It could not be checked: ${told(error)}`;
      }
      offer();
      actions.querySelector("button")!.focus();
    };
    offer();
    return row;
  }

  private async remove(model: CachedModel, name: string): Promise<void> {
    try {
      await Cache.delete(model.id);
      announce(`${name} was deleted.`);
      this.onChange();
      byId("models-title").focus();
    } catch (error) {
      this.note(`${name} could not be deleted: ${told(error)}`);
    }
  }

  private async persist(): Promise<void> {
    const kept = await Cache.persist();
    byId("persist-row").hidden = kept;
    byId("storage-note").textContent = kept
      ? "The browser keeps stored models until you delete them."
      : "The browser did not agree. Bookmarking or installing this page may change its mind.";
    if (kept) byId("models-title").focus();
  }

  private note(text: string): void {
    byId("stored-note").textContent = text;
  }
}

/** Its address where that is known, so that what is missing or damaged can be fetched. A whole copy asks nobody. */
function sourceOf(model: CachedModel): Choice["source"] {
  return /^https?:/.test(model.id) ? new URL(model.id) : { cached: model.id };
}

function told(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
