// The card that shows how far a load is, and the one that says why it failed.

import type { LoadProgress } from "qwenlet";
import { button, byId, el } from "./dom.js";
import { ACTION_LABELS, type Action, type Explained } from "./errors.js";
import * as format from "./format.js";

const ORIGINS: Record<LoadProgress["from"], string> = { cache: "Reading from this device", file: "Reading the file", network: "Downloading" };

/** Bytes a second over the last few seconds. */
class Rate {
  private readonly samples: { time: number; bytes: number }[] = [];

  add(bytes: number, time: number): number | undefined {
    this.samples.push({ time, bytes });
    while (this.samples.length > 2 && time - this.samples[0]!.time > 5000) this.samples.shift();
    const first = this.samples[0]!;
    return time - first.time < 700 ? undefined : ((bytes - first.bytes) * 1000) / (time - first.time);
  }
}

/** Milliseconds between two updates of the numbers. */
const DRAW_EVERY = 120;

export class LoadCard {
  private readonly title = el("strong");
  private readonly percent = el("span", { className: "percent" });
  private readonly bar = el("progress", { max: 1 });
  private readonly detail = el("span", { className: "detail" });
  private readonly node: HTMLElement;
  private readonly rate = new Rate();
  private drawn = 0;
  private latest: LoadProgress | undefined;
  private speed: number | undefined;
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
    byId("notices").replaceChildren(this.node);
  }

  update(state: LoadProgress): void {
    const now = performance.now();
    this.speed = this.rate.add(state.bytes, now);
    const changed = state.phase !== this.latest?.phase;
    this.latest = state;
    const wait = DRAW_EVERY - (now - this.drawn);
    if (changed || wait <= 0) this.draw(state);
    // What arrives in between is shown a little later: it may be the last for long, where a download stalls.
    else this.timer ??= setTimeout(() => this.latest && this.draw(this.latest), wait);
  }

  private draw(state: LoadProgress): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.drawn = performance.now();
    const { speed } = this;
    if (state.phase === "prepare") {
      this.title.textContent = `Preparing ${this.label}`;
      this.percent.textContent = "";
      this.detail.textContent = "Setting up the first run";
      this.bar.removeAttribute("value");
      return;
    }
    if (state.phase === "waiting") {
      this.detail.textContent = "Another tab is downloading this model; its copy will be used";
      return;
    }
    if (state.phase !== "weights" || state.bytes === 0) {
      this.detail.textContent = "Reading the header";
      return;
    }
    const parts = [ORIGINS[state.from]];
    if (state.total) {
      const share = Math.min(1, state.bytes / state.total);
      this.bar.value = share;
      this.percent.textContent = `${Math.floor(share * 100)}%`;
      parts.push(`${format.bytes(state.bytes)} of ${format.bytes(state.total)}`);
    } else {
      parts.push(format.bytes(state.bytes));
    }
    if (speed !== undefined) {
      parts.push(`${format.bytes(Math.round(speed))}/s`);
      if (state.total && speed > 0 && state.bytes < state.total) parts.push(`${format.duration((state.total - state.bytes) / speed)} left`);
    }
    this.detail.textContent = parts.join(" · ");
  }

  close(): void {
    clearTimeout(this.timer);
    this.node.remove();
  }
}

/** Shows why a load failed and what can be done; gives what adds a further way out, which comes first. */
export function showFailure(why: Explained, run: (action: Action) => void): (label: string, run: () => void) => void {
  const buttons = why.actions.map((action, i) => button(ACTION_LABELS[action], () => run(action), i === 0 ? "primary" : ""));
  const actions = el("div", { className: "actions" }, ...buttons);
  byId("notices").replaceChildren(
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

export function clearNotices(): void {
  byId("notices").replaceChildren();
}
