// The card that shows how far a load is, and the one that says why it failed.

import type { LoadProgress } from "qwenlet";
import { announce, button, byId, el } from "./dom.js";
import { ACTION_LABELS, type Action, type Explained } from "./errors.js";
import * as format from "./format.js";

const ORIGINS: Record<LoadProgress["from"], string> = { cache: "Reading from this device", file: "Reading the file", network: "Downloading" };

/** Why nothing arrives, and that nothing is lost. */
const WAITING: Record<NonNullable<LoadProgress["waiting"]>, string> = {
  retry: "The connection broke off. Trying again",
  offline: "This device is offline. It goes on when the connection is back",
  server: "The server asks to wait. Trying again in a moment",
  "other-tab": "Another tab is downloading this model; its copy will be used",
};

/** Milliseconds between two updates of the numbers. */
const DRAW_EVERY = 120;

export class LoadCard {
  private readonly title = el("strong");
  private readonly percent = el("span", { className: "percent" });
  private readonly bar = el("progress", { max: 1 });
  private readonly detail = el("span", { className: "detail" });
  private readonly node: HTMLElement;
  private drawn = 0;
  private latest: LoadProgress | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly label: string, onCancel: () => void) {
    this.bar.setAttribute("aria-label", `Loading ${label}`);
    this.title.textContent = `Loading ${label}`;
    this.detail.textContent = "Starting";
    this.bar.removeAttribute("value");
    this.node = el("div", { className: "notice loading" },
      el("div", { className: "top" }, this.title, this.percent),
      this.bar,
      el("div", { className: "row" }, this.detail, button("Cancel", onCancel, "quiet")));
    clearNotices();
    byId("notices").append(this.node);
    announce(`Loading ${label}.`);
  }

  update(state: LoadProgress): void {
    const waiting = waitingOf(state);
    const changed = state.phase !== this.latest?.phase || waiting !== (this.latest && waitingOf(this.latest));
    if (changed && waiting) announce(`${waiting}.`);
    this.latest = state;
    const wait = DRAW_EVERY - (performance.now() - this.drawn);
    if (changed || wait <= 0) this.draw(state);
    // What arrives in between is shown a little later: it may be the last for long, where a download stalls.
    else this.timer ??= setTimeout(() => this.latest && this.draw(this.latest), wait);
  }

  private draw(state: LoadProgress): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.drawn = performance.now();
    const preparing = state.phase === "prepare" || state.phase === "ready";
    this.title.textContent = `${preparing ? "Preparing" : "Loading"} ${this.label}`;
    const share = !preparing && state.total && state.bytes > 0 ? Math.min(1, state.bytes / state.total) : undefined;
    if (share === undefined) this.bar.removeAttribute("value");
    else this.bar.value = share;
    this.percent.textContent = share === undefined ? "" : `${Math.floor(share * 100)}%`;
    this.detail.textContent = preparing ? "Setting up the first run" : describe(state);
  }

  close(): void {
    clearTimeout(this.timer);
    this.node.remove();
  }
}

function waitingOf(state: LoadProgress): string | undefined {
  return state.waiting ? WAITING[state.waiting] : state.phase === "waiting" ? WAITING["other-tab"] : undefined;
}

/** "Downloading · 12 MB of 640 MB · 3 MB/s · 4 min left". */
function describe(state: LoadProgress): string {
  const { bytes, total, bytesPerSecond, secondsLeft, resumedFrom } = state;
  const waiting = waitingOf(state);
  if (!waiting && (state.phase === "header" || bytes === 0)) return "Reading the header";
  const parts = [waiting ?? ORIGINS[state.from]];
  if (bytes > 0) parts.push(total ? `${format.bytes(bytes)} of ${format.bytes(total)}` : format.bytes(bytes));
  if (resumedFrom) parts.push(`${format.bytes(resumedFrom)} were here already`);
  // While it waits for the connection there is no rate; another tab has one.
  const flows = !state.waiting || state.waiting === "other-tab";
  if (flows && bytesPerSecond !== undefined) parts.push(`${format.bytes(Math.round(bytesPerSecond))}/s`);
  if (flows && secondsLeft !== undefined) parts.push(`${format.duration(secondsLeft)} left`);
  return parts.join(" · ");
}

/** Shows why a load failed and what can be done; gives what adds a further way out, which comes first. */
export function showFailure(why: Explained, run: (action: Action) => void): (label: string, run: () => void) => void {
  const buttons = why.actions.map((action, i) => button(ACTION_LABELS[action], () => run(action), i === 0 ? "primary" : ""));
  const actions = el("div", { className: "actions" }, ...buttons);
  clearNotices(".lasting, .loading"); // a load under way may go on
  byId("notices").append(
    el("div", { className: "notice error", role: "alert", data: { code: why.code } },
      el("p", {}, el("strong", {}, why.title), `. ${why.advice}`),
      el("details", {}, el("summary", {}, "Technical details"), `${why.code}: ${why.detail}`),
      actions));
  return (label, go) => {
    for (const node of buttons) node.classList.remove("primary");
    const first = actions.querySelectorAll(".way").length === 0;
    actions.insertBefore(button(label, go, first ? "way primary" : "way"), buttons[0] ?? null);
  };
}

/** A message that asks for nothing urgent. */
export function showNotice(text: string, ...actions: [label: string, run: () => void][]): HTMLElement {
  const node: HTMLElement = el("div", { className: "notice", role: "status" }, el("p", {}, text));
  const close = () => node.remove();
  node.append(el("div", { className: "actions" },
    ...actions.map(([label, run]) => button(label, () => (close(), run()))),
    button("Close", close, "quiet")));
  byId("notices").append(node);
  return node;
}

export function clearNotices(but = ".lasting"): void {
  for (const node of [...byId("notices").children]) if (!node.matches(but)) node.remove();
}
