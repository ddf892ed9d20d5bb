// Markdown to DOM: `marked` parses, `dompurify` sanitizes. An answer that is still being written is
// rendered a block at a time, so that its whole length is not parsed again for every token.

import DOMPurify, { type Config } from "dompurify";
import { Marked, type Token, type Tokens } from "marked";
import { copyButton, el } from "./dom.js";

const INLINE_HTML = /^<\/?(br|sub|sup|kbd|mark|b|i|em|strong|u|s|del|ins)\s*\/?>$/i;

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    // Markup in an answer is something to read, so it is shown, apart from harmless inline tags.
    html: ({ text }) => (INLINE_HTML.test(text.trim()) ? text : escape(text)),
    // An image would be a request to whoever the model names; a link lets the reader decide.
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
  },
});

const ALLOWED: Config = {
  ALLOWED_TAGS: [
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "input", "ins", "kbd",
    "li", "mark", "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
  ],
  ALLOWED_ATTR: ["href", "title", "start", "type", "checked", "disabled", "align"],
  // No addresses, so not held to what addresses may be.
  ADD_URI_SAFE_ATTR: ["start", "type", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

const purifier = DOMPurify(window);
purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  // The only input that markdown makes is the box of a task list.
  if (node.nodeName === "INPUT" && node.getAttribute("type") !== "checkbox") node.remove();
});

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function codeBlock(token: Tokens.Code): HTMLElement {
  const language = (token.lang ?? "").split(/\s/)[0] || "text";
  const code = el("code", {}, token.text);
  return el(
    "figure",
    { className: "code" },
    el("figcaption", {}, el("span", {}, language), copyButton(() => code.textContent ?? "")),
    el("pre", { tabIndex: 0 }, code),
  );
}

/** The blocks of a text. One that nests deeper than the parser's stack can follow, as models write when they go round in circles, is one. */
function blocks(text: string): Token[] {
  try {
    return marked.lexer(text);
  } catch (error) {
    console.warn("qwenlet: shown as it was written", error);
    return [{ type: "plain", raw: text }];
  }
}

/** One top-level block, as it was written where it cannot be rendered. */
function renderBlock(token: Token): Node {
  try {
    if (token.type === "code") return codeBlock(token as Tokens.Code);
    if (token.type !== "plain") return richBlock(token);
  } catch (error) {
    console.warn("qwenlet: shown as it was written", error);
  }
  return el("p", { className: "plain", dir: "auto" }, token.raw);
}

/** Goes through both libraries. */
function richBlock(token: Token): Node {
  const html = marked.parser([token]);
  const fragment = purifier.sanitize(html, { ...ALLOWED, RETURN_DOM_FRAGMENT: true });
  for (const table of fragment.querySelectorAll("table")) {
    const frame = el("div", { className: "table", tabIndex: 0, role: "region" }, "");
    frame.setAttribute("aria-label", "Table");
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const pre of fragment.querySelectorAll("pre")) pre.tabIndex = 0;
  // Each block runs in the direction of its own script; what is in it follows.
  for (const block of fragment.children) (block.querySelector(":scope > table") ?? block).setAttribute("dir", "auto");
  return fragment;
}

/** Renders a finished text. */
export function render(text: string, into: HTMLElement): void {
  into.replaceChildren(...blocks(text).map(renderBlock));
}

/**
 * Renders a growing text. Blocks before the last one no longer change, so only the last is parsed again, at most
 * once a frame, and less often where a frame would take long: the time spent stays a fraction of the time passed.
 */
export class StreamRenderer {
  private text = "";
  private settled = 0;
  private tail: ChildNode[] = [];
  private frame = 0;
  private notBefore = 0;

  /** `onBlock` gets the plain text of every block once it is complete. */
  constructor(private readonly into: HTMLElement, private readonly onBlock: (text: string) => void = () => {}) {
    into.replaceChildren();
  }

  push(delta: string): void {
    this.text += delta;
    this.frame ||= requestAnimationFrame(this.tick);
  }

  /** Renders what is left; the whole once more, since a link's target may come at the very end. */
  finish(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const token of blocks(this.text.slice(this.settled))) this.announce(token);
    render(this.text, this.into);
  }

  private announce(token: Token): void {
    if (token.type === "space") return;
    this.onBlock(token.type === "code" ? "Code block." : token.raw.trim());
  }

  private readonly tick = (now: number): void => {
    if (now < this.notBefore) {
      this.frame = requestAnimationFrame(this.tick);
      return;
    }
    this.frame = 0;
    const start = performance.now();
    const tokens = blocks(this.text.slice(this.settled));
    // Trailing blank lines do not end a block: a list goes on after one.
    let last = tokens.length - 1;
    while (last > 0 && tokens[last]!.type === "space") last--;
    for (const node of this.tail) node.remove();
    for (const token of tokens.slice(0, last)) {
      this.settled += token.raw.length;
      this.into.append(renderBlock(token));
      this.announce(token);
    }
    const fragment = document.createDocumentFragment();
    for (const token of tokens.slice(last)) fragment.append(renderBlock(token));
    this.tail = [...fragment.childNodes];
    this.into.append(fragment);
    this.notBefore = now + 6 * (performance.now() - start);
  };
}
