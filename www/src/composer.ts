// The field that messages are written in: its keys, a draft that survives a reload, and a message that is edited in it.

import { announce, byId } from "./dom.js";
import { loadDraft, saveDraft } from "./store.js";

/** Whether a key belongs to an input method. In Safari the one that ends a composition comes after its end, with this code. */
export const composes = (event: KeyboardEvent): boolean => event.isComposing || event.keyCode === 229;

/** Where there is none, a field that gets the focus brings one up on the screen. */
export const hasKeyboard = (): boolean => matchMedia("(pointer: fine)").matches;

export class Composer {
  private readonly field = byId<HTMLTextAreaElement>("message");
  /** What else stood there while a message is edited. */
  private draft: string | undefined;

  constructor(onSend: () => void, onInput: () => void) {
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      onSend();
    };
    this.field.oninput = () => {
      saveDraft(this.field.value);
      onInput();
    };
    this.field.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
      event.preventDefault();
      onSend();
    };
    byId("edit-cancel").onclick = () => {
      this.stopEditing();
      this.focus();
    };
    this.field.value = loadDraft();
  }

  get text(): string {
    return this.field.value.trim();
  }

  get isEditing(): boolean {
    return this.draft !== undefined;
  }

  write(text: string): void {
    this.field.value = text;
    this.field.dispatchEvent(new Event("input"));
  }

  focus(): void {
    this.field.focus();
  }

  /** Takes a message into the field. */
  edit(text: string): void {
    this.draft ??= this.field.value;
    byId("editing").hidden = false;
    this.write(text);
    this.focus();
    announce("Editing your last message.");
  }

  /** The field as it was before. */
  stopEditing(): void {
    if (this.draft === undefined) return;
    const { draft } = this;
    this.draft = undefined;
    byId("editing").hidden = true;
    this.write(draft);
  }

  /** Empties the field, or gives back what stood there before. */
  sent(): void {
    if (this.isEditing) this.stopEditing();
    else this.write("");
  }
}
