// The page of models: what runs, what is stored, what can be had.

import { Cache, CATALOGUE, Engine, type CachedModel, type Capabilities, type CatalogueEntry, type EngineInfo } from "qwenlet";
import { mayConnect } from "./csp.js";
import { announce, button, byId, el } from "./dom.js";
import * as format from "./format.js";
import type { Choice } from "./session.js";
import type { BackendWish } from "./store.js";

export interface ModelHandlers {
  onChoose(choice: Choice): void;
  onUnload(): void;
  onBackend(backend: BackendWish): void;
}

const SUGGESTED = "qwen3-0.6b-q8_0";

export class Models {
  private stored: CachedModel[] = [];
  private probed: Promise<Capabilities> | undefined;

  constructor(private readonly handlers: ModelHandlers, backend: BackendWish) {
    const file = byId<HTMLInputElement>("file");
    byId("file-button").onclick = () => file.click();
    file.onchange = () => {
      if (file.files?.length) this.handlers.onChoose(fromFiles([...file.files]));
      file.value = "";
    };
    byId("url-form").onsubmit = (event) => {
      event.preventDefault();
      this.submitUrl();
    };
    for (const input of document.querySelectorAll<HTMLInputElement>('input[name="backend"]')) {
      input.checked = input.value === backend;
      input.onchange = () => this.handlers.onBackend(input.value as BackendWish);
    }
  }

  /** Brings all lists up to date. */
  async refresh(info: EngineInfo | undefined, label: string): Promise<void> {
    this.showLoaded(info, label);
    this.showCatalogue();
    void this.showCapabilities();
    try {
      this.stored = await Cache.list();
    } catch (error) {
      this.stored = [];
      byId("stored").hidden = false;
      byId("stored-note").textContent = `Stored models cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      return;
    }
    this.showStored();
    this.showCatalogue();
  }

  private showLoaded(info: EngineInfo | undefined, label: string): void {
    byId("loaded").hidden = !info;
    byId("models-intro").hidden = info !== undefined;
    byId("models-title").textContent = info ? "Models" : "A language model, in this tab";
    if (!info) return;
    const facts: [string, string, boolean?][] = [
      ["Architecture", info.architecture],
      ["Weights", info.quantization],
      ["Parameters", format.parameters(info.parameters)],
      ["Context", `${format.count(info.contextLength)} of ${format.count(info.trainedContextLength)} tokens`],
      ["Runs on", info.backend === "webgpu" ? "GPU, by WebGPU" : "Processor"],
      ["Memory", format.bytes(info.memoryBytes)],
      ["Adapter", info.adapter],
      ["Why", info.why, true],
    ];
    byId("loaded-card").replaceChildren(
      el("div", { className: "top" }, el("strong", {}, label), button("Unload", () => this.handlers.onUnload())),
      el("dl", { className: "facts" }, ...facts.map(([name, value, wide]) => el("div", { className: wide ? "wide" : "" }, el("dt", {}, name), el("dd", {}, value)))),
    );
  }

  private showStored(): void {
    byId("stored").hidden = this.stored.length === 0;
    const rows = [...this.stored].sort((a, b) => b.lastUsed - a.lastUsed).map((model) => this.storedRow(model));
    byId("stored-list").replaceChildren(...rows);
    const sum = this.stored.reduce((n, model) => n + model.bytes, 0);
    byId("stored-note").textContent = `${format.bytes(sum)} in this browser's storage. These start without a network.`;
  }

  private storedRow(model: CachedModel): HTMLElement {
    const entry = CATALOGUE.find((e) => e.url === model.id);
    const name = entry?.name ?? model.name;
    const size = model.complete ? format.bytes(model.bytes) : `${format.bytes(model.bytes)}${model.total ? ` of ${format.bytes(model.total)}` : ""}, not complete`;
    const facts = [entry?.quantization, size, `used ${format.ago(model.lastUsed)}`].filter(Boolean).join(" · ");
    const actions = el("div", { className: "row-actions" });
    const row = el("li", { data: { id: model.id } }, el("div", { className: "row-name" }, name), el("div", { className: "row-facts" }, facts), actions);
    const offer = (): void => {
      const remove = button("Delete", confirm, "quiet");
      remove.setAttribute("aria-label", `Delete ${name}`);
      actions.replaceChildren(remove);
      if (model.complete || entry) {
        const load = button("Load", () => this.handlers.onChoose(entry ? fromCatalogue(entry) : { source: { cached: model.id }, label: model.name }));
        load.setAttribute("aria-label", `Load ${name}`);
        actions.append(load);
      }
    };
    const confirm = (): void => {
      const sure = button(`Delete ${format.bytes(model.bytes)}`, () => void this.remove(model, name));
      actions.replaceChildren(button("Keep", offer, "quiet"), sure);
      sure.focus();
    };
    offer();
    return row;
  }

  private async remove(model: CachedModel, name: string): Promise<void> {
    try {
      await Cache.delete(model.id);
      announce(`${name} was deleted.`);
      this.stored = await Cache.list();
      this.showStored();
      this.showCatalogue();
      byId("models-title").focus();
    } catch (error) {
      byId("stored-note").textContent = `${name} could not be deleted: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  private showCatalogue(): void {
    const complete = new Set(this.stored.filter((m) => m.complete).map((m) => m.id));
    const rows = CATALOGUE.filter((entry) => !complete.has(entry.url)).map((entry) => {
      const load = button("Load", () => this.handlers.onChoose(fromCatalogue(entry)));
      load.setAttribute("aria-label", `Load ${entry.name} ${entry.quantization}`);
      const name = el("div", { className: "row-name" }, entry.name);
      if (entry.id === SUGGESTED) name.append(el("span", { className: "tag" }, "Good to start with"));
      const home = el("a", { href: entry.home, target: "_blank", rel: "noopener noreferrer", className: "link" }, "About");
      home.setAttribute("aria-label", `About ${entry.name} (opens a new tab)`);
      const facts = el("div", { className: "row-facts" }, `${entry.exact ? "" : "about "}${format.bytes(entry.bytes)} · ${entry.quantization} · ${entry.license} · `, home);
      return el("li", { data: { id: entry.id } }, name, facts, el("div", { className: "row-actions" }, load));
    });
    byId("catalogue-list").replaceChildren(...rows);
    byId("catalogue-list").closest("section")!.hidden = rows.length === 0;
  }

  private async showCapabilities(): Promise<void> {
    const note = byId("run-note");
    try {
      const { webgpu } = await (this.probed ??= Engine.probe());
      note.textContent = !webgpu.available
        ? `No usable GPU here${webgpu.reason ? `: ${webgpu.reason}` : ""}. Models run on the processor.`
        : webgpu.software
          ? `Only a software GPU here (${webgpu.adapter ?? "unnamed"}). Automatic uses the processor, which is faster.`
          : `Automatic uses the GPU here${webgpu.adapter ? ` (${webgpu.adapter})` : ""}.`;
    } catch (error) {
      this.probed = undefined;
      note.textContent = `What this browser can do is unknown: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  private submitUrl(): void {
    const input = byId<HTMLInputElement>("url");
    const complain = (text: string): void => {
      const error = byId("url-error");
      error.textContent = text;
      error.hidden = text === "";
      input.setAttribute("aria-invalid", String(text !== ""));
      if (text === "") return;
      input.focus();
      error.scrollIntoView({ block: "nearest" });
    };
    const checked = checkUrl(input.value);
    if (typeof checked === "string") return complain(checked);
    complain("");
    this.handlers.onChoose(fromUrl(checked));
  }
}

/** The URL, or what is wrong with it. */
export function checkUrl(text: string): URL | string {
  let url: URL;
  try {
    url = new URL(text.trim(), location.href);
  } catch {
    return "This is not an address. It looks like https://huggingface.co/owner/repository/resolve/main/file.gguf";
  }
  if (!text.trim()) return "Paste the address of a .gguf file.";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "Only addresses that start with https:// or http:// can be loaded. For a file on this device, choose or drop it.";
  // Hub pages show a file under /blob/; the file itself is under /resolve/.
  if (url.hostname === "huggingface.co") url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, "$1/resolve/");
  if (!mayConnect(url)) {
    return `This page may not connect to ${url.host}: it limits its connections, so that nothing can leak. Download the file yourself and drop it here, or allow the host when you serve the page.`;
  }
  return url;
}

export function fromUrl(url: URL): Choice {
  return { source: url, label: decodeURIComponent(url.pathname.split("/").pop() || url.host).replace(/\.gguf$/i, "") };
}

export function fromFiles(files: File[]): Choice {
  return { source: files.length === 1 ? files[0]! : files, label: files[0]!.name.replace(/\.gguf$/i, "") };
}

function fromCatalogue(entry: CatalogueEntry): Choice {
  return { source: entry.id, label: `${entry.name} ${entry.quantization}` };
}
