// Chats as files: Markdown to read, JSON to keep and to take up again.

import { el } from "./dom.js";
import type { Message, StoredChat } from "./store.js";

/** The beginning of what was said first. */
export function titleOf({ messages }: StoredChat): string {
  const text = messages.find(({ role, content }) => role === "user" && content.trim())?.content.trim() ?? "Without a question";
  const line = text.split("\n", 1)[0]!;
  return line.length > 90 ? `${line.slice(0, 90).trimEnd()}…` : line;
}

export function saveMarkdown(chat: StoredChat): void {
  const title = titleOf(chat);
  const parts = chat.messages.map(({ role, content, stats }) => `**${role === "user" ? "You" : stats?.model || "Answer"}**\n\n${content}`);
  save(`${title}.md`, `# ${title}\n\n${parts.join("\n\n")}\n`, "text/markdown");
}

export function saveJson(name: string, chats: readonly StoredChat[]): void {
  save(`${name}.json`, JSON.stringify({ chats: chats.map(kept) }, undefined, 1), "application/json");
}

/** The chats of a JSON file; undefined where it is none of this page's. */
export function parse(text: string): StoredChat[] | undefined {
  try {
    const { chats } = JSON.parse(text) as { chats: StoredChat[] };
    return chats.every(({ updated, messages }) => Number.isFinite(updated) && messages.every(isMessage)) ? chats.map(kept) : undefined;
  } catch {
    return undefined;
  }
}

function kept({ updated, messages }: StoredChat): StoredChat {
  return { updated, messages };
}

/** Throws on what is nothing like a message. */
function isMessage({ role, content, reasoning = "", stats, failure, earlier = [], later = [] }: Message): boolean {
  const texts: unknown[] = [content, reasoning, ...(failure ? [failure.code, failure.title, failure.advice, failure.detail] : [])];
  const numbers = stats ? [stats.tokens, stats.tokensPerSecond, stats.firstTokenSeconds] : [];
  return (role === "user" || role === "assistant") && texts.every((part) => typeof part === "string")
    && numbers.every(Number.isFinite)
    && [...earlier, ...later].every((turn) => turn.every(isMessage));
}

function save(name: string, text: string, type: string): void {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name.replace(/[\\/:*?"<>|\p{Cc}]+/gu, "-") });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
