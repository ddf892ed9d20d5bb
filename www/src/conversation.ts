// Shows the messages: each one an article, the last answer while it grows.

import { announce, byId, copyButton, el, icon, tool } from "./dom.js";
import * as format from "./format.js";
import { render, StreamRenderer } from "./markdown.js";
import type { Message } from "./store.js";

/** What stands in place of messages before there are any. */
export interface Welcome {
  title: string;
  text: string;
  /** Questions to begin with. */
  ideas: readonly string[];
  more?: HTMLElement;
}

export const WELCOME: Welcome = {
  title: "What is on your mind?",
  text: "The model runs in this tab. Small models make things up now and then, so check what matters.",
  ideas: [
    "Explain why the sky is blue to a ten-year-old",
    "Write a short poem about the sea at night",
    "How do I say “see you tomorrow” in Chinese?",
  ],
};

export interface ConversationHandlers {
  welcome(): Welcome;
  onIdea(text: string): void;
  onRegenerate(): void;
  onEdit(): void;
  /** Which of how many versions of the last turn is shown, from 1. */
  version(): { at: number; of: number };
  onVersion(by: -1 | 1): void;
  /** Buttons for an answer that failed or for which there was too little room. */
  actions(message: Message): HTMLElement[];
}

/** An answer while it is being written. */
export interface LiveAnswer {
  content(delta: string): void;
  reasoning(delta: string): void;
  /** Prompt tokens read so far. */
  reading(done: number, total: number): void;
}

export class Conversation {
  private readonly list = byId("messages");
  private readonly scroll = byId("scroll");
  private readonly jump = byId("jump");
  private atEnd = true;
  private top = 0;

  constructor(private readonly handlers: ConversationHandlers) {
    this.scroll.addEventListener("scroll", () => this.track(), { passive: true });
    this.jump.onclick = () => this.toEnd();
    new ResizeObserver(() => this.follow()).observe(this.list);
    new ResizeObserver(() => this.follow()).observe(this.scroll);
  }

  /** Shows all messages. */
  show(messages: readonly Message[]): void {
    if (messages.length === 0) this.list.replaceChildren(this.empty());
    else {
      const question = messages.map(({ role }) => role).lastIndexOf("user");
      this.list.replaceChildren(...messages.map((m, i) => this.article(m, i === messages.length - 1, i === question)));
    }
    this.toEnd();
  }

  /** Adds an answer's article and returns what fills it. `finish` replaces it by its final form, if it is still shown. */
  live(message: Message): LiveAnswer & { finish(): boolean } {
    this.list.querySelector(".empty")?.remove();
    const waiting = el("div", { className: "waiting" }, el("i"), el("i"), el("i"));
    const note = el("p", { className: "note" });
    const body = el("div", { className: "prose" });
    const thought = thoughtBox("Thinking…", true);
    thought.box.hidden = true;
    const node = el("article", { className: "message assistant", aria: { label: "Answer", busy: "true" } }, thought.box, waiting, note, body);
    this.list.append(node);
    announce("Answering.");
    this.toEnd();
    const stream = new StreamRenderer(body, announce);
    return {
      reading(done, total) {
        note.textContent = done < total && total > 200 ? `Reading the conversation, ${format.count(done)} of ${format.count(total)} tokens` : "";
      },
      reasoning(delta) {
        note.textContent = "";
        thought.box.hidden = false;
        thought.text.appendData(delta);
      },
      content(delta) {
        note.textContent = "";
        if (waiting.isConnected) {
          waiting.remove();
          thought.box.open = false;
          thought.caption.textContent = "Thoughts";
        }
        stream.push(delta);
      },
      finish: () => {
        if (!node.isConnected) return false;
        stream.finish();
        node.replaceWith(this.article(message, true));
        this.follow();
        if (message.end === "stopped") announce("Stopped.");
        else if (!message.failure) announce("Answer complete.");
        return true;
      },
    };
  }

  /** `last`: of all messages; `lastQuestion`: of those of the visitor. */
  private article(message: Message, last: boolean, lastQuestion = false): HTMLElement {
    if (message.role === "user") {
      const edit = lastQuestion ? tool("edit", "Edit this message", () => this.handlers.onEdit()) : null;
      return el("article", { className: "message user", dir: "auto", aria: { label: "You" } }, message.content, edit);
    }
    const node = el("article", { className: "message assistant", aria: { label: "Answer" } });
    if (message.reasoning) {
      const thought = thoughtBox("Thoughts", false);
      thought.text.appendData(message.reasoning.trim());
      node.append(thought.box);
    }
    const body = el("div", { className: "prose" });
    render(message.content, body);
    node.append(body);
    if (message.failure) {
      const { title, advice, detail, code } = message.failure;
      node.append(
        el("div", { className: "notice error", role: "alert" },
          el("p", {}, el("strong", {}, title), `. ${advice}`),
          el("details", {}, el("summary", {}, "Technical details"), `${code}: ${detail}`),
          last ? el("div", { className: "actions" }, ...this.handlers.actions(message)) : null),
      );
    }
    if (message.end === "full" && last) {
      node.append(el("div", { className: "notice" },
        el("p", {}, "There was no room for more: the model's context is full."),
        el("div", { className: "actions" }, ...this.handlers.actions(message))));
    }
    node.append(this.meta(message, last));
    return node;
  }

  private meta(message: Message, last: boolean): HTMLElement {
    const row = el("div", { className: "meta" });
    if (message.content) row.append(copyButton(() => message.content));
    if (last) {
      row.append(el("button", { type: "button", className: "button quiet", onclick: () => this.handlers.onRegenerate() }, icon("retry"), "Regenerate"));
      const { at, of } = this.handlers.version();
      if (of > 1) row.append(this.versions(at, of));
    }
    const facts: string[] = [];
    if (message.end === "stopped") facts.push("Stopped");
    if (message.end === "length") facts.push("Ended at the length limit");
    if (message.end === "full") facts.push("Ended where the context was full");
    if (message.leftOut) facts.push(message.leftOut === 1 ? "without the oldest turn" : `without the ${format.count(message.leftOut)} oldest turns`);
    if (message.stats) {
      const { tokens, tokensPerSecond, firstTokenSeconds } = message.stats;
      facts.push(`${format.count(tokens)} tokens`);
      if (tokensPerSecond > 0) facts.push(`${format.rate(tokensPerSecond)} tok/s`);
      facts.push(`first after ${firstTokenSeconds.toFixed(1)} s`);
    }
    if (facts.length) row.append(el("span", { className: "stats" }, facts.join(" · ")));
    return row;
  }

  private versions(at: number, of: number): HTMLElement {
    const earlier = tool("earlier", "Earlier version", () => this.toVersion(-1));
    const later = tool("later", "Later version", () => this.toVersion(1));
    earlier.disabled = at === 1;
    later.disabled = at === of;
    return el("span", { className: "versions" }, earlier, `${at} of ${of}`, later);
  }

  private toVersion(by: -1 | 1): void {
    this.handlers.onVersion(by);
    const { at, of } = this.handlers.version();
    announce(`Version ${at} of ${of}.`);
    const [earlier, later] = this.list.querySelectorAll<HTMLButtonElement>(".versions button");
    const [wanted, other] = by < 0 ? [earlier, later] : [later, earlier];
    (wanted?.disabled ? other : wanted)?.focus();
  }

  private empty(): HTMLElement {
    const { title, text, ideas, more } = this.handlers.welcome();
    const buttons = ideas.map((idea) => el("button", { type: "button", className: "button", onclick: () => this.handlers.onIdea(idea) }, idea));
    return el("div", { className: "empty" }, el("h1", {}, title), el("p", {}, text), el("div", { className: "ideas" }, ...buttons), more);
  }

  /** Only a reader who scrolls up leaves the end; growing text or a shrinking window does not. */
  private track(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    if (scrollHeight - scrollTop - clientHeight < 48) this.atEnd = true;
    else if (scrollTop < this.top) this.atEnd = false;
    this.top = scrollTop;
    this.jump.hidden = this.atEnd || this.isEmpty;
  }

  /** A welcome is read from its beginning. */
  private get isEmpty(): boolean {
    return this.list.querySelector(".empty") !== null;
  }

  private follow(): void {
    if (this.atEnd && !this.isEmpty) this.scroll.scrollTop = this.scroll.scrollHeight;
    this.track();
  }

  toEnd(): void {
    this.atEnd = true;
    this.follow();
  }
}

function thoughtBox(title: string, open: boolean): { box: HTMLDetailsElement; caption: HTMLElement; text: Text } {
  const caption = el("summary", {}, title);
  const text = document.createTextNode("");
  const box = el("details", { className: "thought", open }, caption, el("div", { dir: "auto" }, text));
  return { box, caption, text };
}
