// The sheet of chats: each can be opened, exported and deleted.

import * as chatfile from "./chatfile.js";
import { button, byId, el, tool } from "./dom.js";
import * as format from "./format.js";
import { addChat, openChats, storedChats, type Chat, type StoredChat } from "./store.js";

export interface ChatHandlers {
  /** Those that this tab has, as they are now. */
  held(): readonly Chat[];
  shown(): Chat;
  /** These give false where another tab has the chat open. */
  onOpen(key: string): Promise<boolean>;
  onDelete(key: string): Promise<boolean>;
}

type Listed = StoredChat & { key: string };

const ELSEWHERE = "It is open in another tab.";

export class ChatSheet {
  private readonly dialog = byId<HTMLDialogElement>("chats");
  private readonly list = byId("chats-list");

  constructor(private readonly handlers: ChatHandlers) {
    const file = byId<HTMLInputElement>("chats-file");
    byId("chats-import").onclick = () => file.click();
    file.onchange = () => {
      if (file.files?.[0]) void this.import(file.files[0]);
      file.value = "";
    };
    byId("chats-export").onclick = () => chatfile.saveJson("qwenlet chats", this.chats());
    // A click beside the sheet closes it, as Esc does.
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  async open(): Promise<void> {
    this.note("");
    if (!this.dialog.open) this.dialog.showModal();
    await this.refresh();
  }

  private async refresh(): Promise<void> {
    const open = await openChats();
    const chats = this.chats();
    this.list.replaceChildren(...chats.map((chat) => this.row(chat, open.has(chat.key))));
    this.list.hidden = chats.length === 0;
    byId("chats-none").hidden = chats.length > 0;
    byId<HTMLButtonElement>("chats-export").disabled = chats.length === 0;
  }

  /** What storage has, and what this tab knows better, which may not be stored. */
  private chats(): Listed[] {
    const held = this.handlers.held().filter(({ messages }) => messages.length > 0);
    const mine = new Set(held.map(({ key }) => key));
    return [...held.map((chat) => ({ ...chat.content(), key: chat.key })), ...storedChats().filter(({ key }) => !mine.has(key))]
      .sort((a, b) => b.updated - a.updated);
  }

  private row(chat: Listed, isOpen: boolean): HTMLElement {
    const title = chatfile.titleOf(chat);
    const here = this.handlers.shown().key === chat.key;
    const elsewhere = isOpen && !this.handlers.held().some(({ key }) => key === chat.key);
    const name = el("button", { type: "button", className: "row-open", dir: "auto", onclick: () => void this.show(chat) }, title);
    if (here) name.setAttribute("aria-current", "true");
    const n = chat.messages.length;
    const facts = el("div", { className: "row-facts" }, `${format.count(n)} ${n === 1 ? "message" : "messages"} · ${format.ago(chat.updated)}`);
    if (here || elsewhere) facts.append(" ", el("span", { className: "tag" }, here ? "Shown now" : "In another tab"));
    const actions = el("div", { className: "row-actions" });
    const row = el("li", { data: { key: chat.key } }, name, facts, actions);

    const offer = (): void => {
      row.classList.remove("asking");
      actions.replaceChildren(
        tool("download", `Export ${title}`, () => ask(button("Markdown", () => chatfile.saveMarkdown(chat)), button("JSON", () => chatfile.saveJson(title, [chat])), back("Back"))),
        tool("trash", `Delete ${title}`, () => ask(button("Delete it", () => void this.delete(chat)), back("Keep"))));
    };
    const back = (label: string): HTMLButtonElement => button(label, () => {
      offer();
      actions.querySelector("button")!.focus();
    }, "quiet");
    const ask = (...choices: HTMLButtonElement[]): void => {
      row.classList.add("asking");
      actions.replaceChildren(...choices);
      choices[0]!.focus();
    };
    offer();
    return row;
  }

  private async show({ key }: Listed): Promise<void> {
    if (await this.handlers.onOpen(key)) return this.dialog.close();
    await this.refresh();
    this.note(ELSEWHERE);
    byId("chats-title").focus();
  }

  private async delete(chat: Listed): Promise<void> {
    const gone = await this.handlers.onDelete(chat.key);
    await this.refresh();
    this.note(gone ? `“${chatfile.titleOf(chat)}” was deleted.` : ELSEWHERE);
    byId("chats-title").focus();
  }

  /** Adds what a file has that is not here. */
  private async import(file: File): Promise<void> {
    const chats = chatfile.parse(await file.text().catch(() => ""));
    if (!chats) return this.note(`${file.name} has no chats that this page exported as JSON.`);
    const known = new Set(this.chats().map(({ messages }) => JSON.stringify(messages)));
    const added = chats.filter(({ messages }) => !known.has(JSON.stringify(messages)));
    const kept = added.filter((chat) => addChat(chat)).length;
    await this.refresh();
    this.note(kept < added.length ? `There was room for ${kept} of ${added.length} chats.` : kept === 0 ? "All of these were here." : kept === 1 ? "1 chat was added." : `${kept} chats were added.`);
  }

  /** Said inside the sheet: what is outside of it is out of reach while it is open. */
  private note(text: string): void {
    byId("chats-note").textContent = text;
  }
}
