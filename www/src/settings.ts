// The settings sheet: instructions, thinking, sampling, loading.

import { byId, el } from "./dom.js";
import { DEFAULTS, type Sampling, type Settings } from "./store.js";

interface Field<K extends string> {
  key: K;
  label: string;
  hint: string;
  min: number;
  max: number;
  step: number | "any";
}

const SAMPLING: Field<keyof Sampling>[] = [
  { key: "temperature", label: "Temperature", hint: "0 always takes the likeliest word", min: 0, max: 5, step: "any" },
  { key: "top_p", label: "Top p", hint: "Share of likelihood kept", min: 0.01, max: 1, step: "any" },
  { key: "top_k", label: "Top k", hint: "Candidates kept, 0 is all", min: 0, max: 1000, step: 1 },
  { key: "min_p", label: "Min p", hint: "Drops what is much less likely", min: 0, max: 1, step: "any" },
  { key: "repetition_penalty", label: "Repetition penalty", hint: "1 is none", min: 0.1, max: 3, step: "any" },
  { key: "presence_penalty", label: "Presence penalty", hint: "0 is none", min: -2, max: 2, step: "any" },
  { key: "max_tokens", label: "Longest answer", hint: "In tokens", min: 1, max: 1_000_000, step: 1 },
  { key: "seed", label: "Seed", hint: "The same seed repeats an answer", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
];

const CONTEXT: Field<"contextLength"> = { key: "contextLength", label: "Context length", hint: "Tokens of a whole conversation", min: 64, max: 1_048_576, step: 1 };

export class SettingsSheet {
  private readonly dialog = byId<HTMLDialogElement>("settings");
  private readonly system = byId<HTMLTextAreaElement>("system");
  private readonly thinking = byId<HTMLInputElement>("thinking");
  private readonly inputs = new Map<string, HTMLInputElement>();

  constructor(readonly settings: Settings, private readonly onChange: () => void) {
    byId("sampling-fields").replaceChildren(...SAMPLING.map((field) => this.field(field)));
    byId("loading-fields").replaceChildren(this.field(CONTEXT));
    byId("settings-form").addEventListener("change", () => this.read());
    byId("settings-reset").onclick = () => this.reset();
    // A click beside the sheet closes it, as Esc does.
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.read());
    this.write();
  }

  open(supportsThinking: boolean): void {
    byId("thinking-row").hidden = !supportsThinking;
    this.dialog.showModal();
  }

  private field({ key, label, hint, min, max, step }: Field<string>): HTMLElement {
    const id = `setting-${key}`;
    const input = el("input", { id, type: "number", min: String(min), max: String(max), step: String(step), inputMode: step === 1 ? "numeric" : "decimal", placeholder: "Recommended" });
    input.setAttribute("aria-describedby", `${id}-hint`);
    this.inputs.set(key, input);
    return el("div", { className: "setting" }, el("label", { htmlFor: id }, label), input, el("small", { id: `${id}-hint` }, hint));
  }

  private number(key: string): number | undefined {
    const input = this.inputs.get(key)!;
    if (input.value === "" || !Number.isFinite(input.valueAsNumber)) return undefined;
    return input.validity.valid ? input.valueAsNumber : undefined;
  }

  private read(): void {
    this.settings.system = this.system.value;
    this.settings.thinking = this.thinking.checked;
    this.settings.sampling = {};
    for (const { key } of SAMPLING) {
      const value = this.number(key);
      if (value !== undefined) this.settings.sampling[key] = value;
    }
    const context = this.number("contextLength");
    if (context === undefined) delete this.settings.contextLength;
    else this.settings.contextLength = context;
    for (const input of this.inputs.values()) input.setAttribute("aria-invalid", String(!input.validity.valid));
    this.onChange();
  }

  private write(): void {
    this.system.value = this.settings.system;
    this.thinking.checked = this.settings.thinking;
    for (const { key } of SAMPLING) this.inputs.get(key)!.value = String(this.settings.sampling[key] ?? "");
    this.inputs.get("contextLength")!.value = String(this.settings.contextLength ?? "");
  }

  private reset(): void {
    const { backend } = this.settings;
    Object.assign(this.settings, structuredClone(DEFAULTS), { backend });
    delete this.settings.contextLength;
    this.write();
    this.onChange();
  }
}
