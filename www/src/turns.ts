// The last turn of a conversation, which is a question with its answer, in versions: one that is made anew keeps those
// before it. They are on the question, so that they are stored with it.

import type { Message } from "./store.js";

function lastQuestion(messages: readonly Message[]): number {
  return messages.map(({ role }) => role).lastIndexOf("user");
}

/** How many questions there are. */
export function count(messages: readonly Message[]): number {
  return messages.filter(({ role }) => role === "user").length;
}

/** Begins the last turn anew, with another question where one is given. False where nothing was asked. */
export function renew(messages: Message[], question?: string): boolean {
  const at = lastQuestion(messages);
  const asked = messages[at];
  if (!asked) return false;
  const { earlier = [], later = [], ...bare } = asked;
  const answer = messages.slice(at + 1);
  const said = answer.some(({ content, reasoning }) => content || reasoning);
  const versions = [...earlier, ...(said ? [[bare, ...answer]] : []), ...later];
  put(messages, at, [{ role: "user", content: question ?? bare.content }], versions, []);
  return true;
}

/** Shows the version before in place of a turn that came to nothing. False where there is none of the same question. */
export function takeBack(messages: Message[]): boolean {
  const at = lastQuestion(messages);
  const { content, earlier = [], later = [] } = messages[at] ?? { content: "" };
  const turn = earlier.at(-1);
  if (turn?.[0]?.content !== content) return false;
  put(messages, at, turn, earlier.slice(0, -1), later);
  return true;
}

/** Which of how many versions of the last turn stands there, from 1. */
export function version(messages: readonly Message[]): { at: number; of: number } {
  const { earlier = [], later = [] } = messages[lastQuestion(messages)] ?? {};
  return { at: earlier.length + 1, of: earlier.length + 1 + later.length };
}

/** Puts the version before or after it there. */
export function step(messages: Message[], by: -1 | 1): void {
  const at = lastQuestion(messages);
  const asked = messages[at];
  if (!asked) return;
  const { earlier = [], later = [], ...bare } = asked;
  const now = [bare, ...messages.slice(at + 1)];
  if (by < 0 && earlier.length > 0) put(messages, at, earlier.at(-1)!, earlier.slice(0, -1), [now, ...later]);
  if (by > 0 && later.length > 0) put(messages, at, later[0]!, [...earlier, now], later.slice(1));
}

function put(messages: Message[], at: number, [asked, ...answer]: Message[], earlier: Message[][], later: Message[][]): void {
  if (!asked) return;
  messages.splice(at, Infinity, { ...asked, ...(earlier.length ? { earlier } : {}), ...(later.length ? { later } : {}) }, ...answer);
}
