// The page of models: what runs, what is stored, what can be had.

import { Engine, type Capabilities, type EngineInfo } from "qwenlet";
import { Catalogue, type Wishes } from "./catalogue.js";
import { mayConnect } from "./csp.js";
import { DEMO_NAME, demoRow, TOY } from "./demo.js";
import { button, byId, el } from "./dom.js";
import * as format from "./format.js";
import type { Choice } from "./session.js";
import type { BackendWish } from "./store.js";
import { StoredModels } from "./stored.js";

export interface ModelHandlers {
  onChoose(choice: Choice): void;
  onFiles(files: File[]): void;
  onUnload(): void;
  onBackend(backend: BackendWish): void;
}

export class Models {
  private readonly stored: StoredModels;
  private readonly catalogue: Catalogue;

  constructor(private readonly handlers: ModelHandlers, private readonly wishes: () => Wishes) {
    this.stored = new StoredModels((choice) => handlers.onChoose(choice), () => void this.showLists());
    this.catalogue = new Catalogue((choice) => handlers.onChoose(choice));
    const file = byId<HTMLInputElement>("file");
    byId("file-button").onclick = () => file.click();
    file.onchange = () => {
      if (file.files?.length) this.handlers.onFiles([...file.files]);
      file.value = "";
    };
    byId("url-form").onsubmit = (event) => {
      event.preventDefault();
      this.submitUrl();
    };
    for (const input of document.querySelectorAll<HTMLInputElement>('input[name="backend"]')) {
      input.checked = input.value === wishes().backend;
      input.onchange = () => {
        this.handlers.onBackend(input.value as BackendWish);
        void this.showCatalogue();
      };
    }
  }

  /** Brings all lists up to date. */
  async refresh(info: EngineInfo | undefined, choice: Choice | undefined): Promise<void> {
    this.showLoaded(info, choice);
    this.refuseFiles("");
    byId("demo").hidden = info !== undefined && choice?.demo === true;
    byId("demo-list").replaceChildren(demoRow((demo) => this.handlers.onChoose(demo)));
    await this.showLists();
  }

  refuseFiles(why: string): void {
    const error = byId("file-error");
    error.textContent = why;
    error.hidden = why === "";
    if (why) error.scrollIntoView({ block: "nearest" });
  }

  /** What is stored, what can be had, and what there is room for: all of it changes with every load and deletion. */
  private async showLists(): Promise<void> {
    const capabilities = Engine.probe();
    this.catalogue.show(this.stored.complete());
    await Promise.all([this.stored.refresh(), this.showCapabilities(capabilities)]);
    await this.showCatalogue(capabilities);
  }

  private async showCatalogue(capabilities = Engine.probe()): Promise<void> {
    this.catalogue.show(this.stored.complete());
    await this.catalogue.judge(this.wishes(), capabilities);
  }

  private showLoaded(info: EngineInfo | undefined, choice: Choice | undefined): void {
    byId("loaded").hidden = !info;
    byId("models-intro").hidden = info !== undefined;
    byId("models-title").textContent = info ? "Models" : "A language model, in this tab";
    if (!info || !choice) return;
    const unasked = choice.demo && this.wishes().backend === "auto";
    const facts: [string, string, boolean?][] = [
      ["Architecture", info.architecture],
      ["Weights", info.quantization],
      ["Parameters", format.parameters(info.parameters)],
      ["Context", `${format.count(info.contextLength)} of ${format.count(info.trainedContextLength)} tokens`],
      ["Runs on", info.backend === "webgpu" ? "GPU, by WebGPU" : "Processor"],
      ["Memory", format.bytes(info.memoryBytes)],
      ["Adapter", info.adapter],
      ["Why", unasked ? "so small a model answers before a GPU is set up" : info.why, true],
    ];
    byId("loaded-card").replaceChildren(
      el("div", { className: "top" }, el("strong", {}, choice.demo ? DEMO_NAME : choice.label), button("Unload", () => this.handlers.onUnload())),
      ...(choice.demo ? [el("p", { className: "note" }, TOY)] : []),
      el("dl", { className: "facts" }, ...facts.map(([name, value, wide]) => el("div", { className: wide ? "wide" : "" }, el("dt", {}, name), el("dd", {}, value)))),
    );
  }

  private async showCapabilities(probed: Promise<Capabilities>): Promise<void> {
    const note = byId("run-note");
    try {
      const capabilities = await probed;
      const { webgpu } = capabilities;
      this.stored.showStorage(capabilities);
      note.textContent = !webgpu.available
        ? `No usable GPU here${webgpu.reason ? `: ${webgpu.reason}` : ""}. Models run on the processor.`
        : webgpu.software
          ? `Only a software GPU here (${webgpu.adapter ?? "unnamed"}). Automatic uses the processor, which is faster.`
          : `Automatic uses the GPU here${webgpu.adapter ? ` (${webgpu.adapter})` : ""}.`;
    } catch (error) {
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
  return { source: url, label: decoded(url.pathname.split("/").pop() || url.host).replace(/\.gguf$/i, "") };
}

/** A name may have a stray %. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function fromFiles(files: File[]): Choice {
  return { source: files.length === 1 ? files[0]! : files, label: files[0]!.name.replace(/\.gguf$/i, "") };
}
