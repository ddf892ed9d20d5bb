// Small helpers over the DOM; nothing here knows the page.

type Child = Node | string | null | undefined;
type Props<K extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[K], "style" | "dataset" | "children">> & {
  data?: Record<string, string>;
  aria?: Record<string, string>;
};

/** Makes an element with properties and children. Strings become text, never markup. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props<K> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  const { data, aria, ...rest } = props;
  Object.assign(node, rest);
  for (const [key, value] of Object.entries(data ?? {})) node.dataset[key] = value;
  for (const [key, value] of Object.entries(aria ?? {})) node.setAttribute(`aria-${key}`, value);
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/** The element with this id; the page is broken without it. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html has no element #${id}`);
  return node as T;
}

const PATHS = {
  copy: "M9 9h10v11H9zM5 15V4h10",
  retry: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
  download: "M12 4v11m-5-4.5 5 4.5 5-4.5M5 20h14",
  edit: "m4 20 .9-4L16 5l3 3L8 19zM13.5 7.5l3 3",
  earlier: "m14 6-6 6 6 6",
  later: "m10 6 6 6-6 6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  check: "m5 13 4 4L19 7",
} as const;

/** One of the page's line icons. */
export function icon(name: keyof typeof PATHS): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

export function button(label: string, onclick: () => void, style = ""): HTMLButtonElement {
  return el("button", { type: "button", className: `button ${style}`.trim(), onclick }, label);
}

/** A button of an icon alone. */
export function tool(name: keyof typeof PATHS, label: string, onclick: () => void): HTMLButtonElement {
  return el("button", { type: "button", className: "tool icon", aria: { label }, onclick }, icon(name));
}

/** A button that copies `text()` and says so for a moment. */
export function copyButton(text: () => string, label = "Copy"): HTMLButtonElement {
  const caption = el("span", {}, label);
  const node = el("button", { type: "button", className: "button quiet" }, icon("copy"), caption);
  node.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text());
      caption.textContent = "Copied";
    } catch {
      caption.textContent = "Not allowed here";
    }
    setTimeout(() => (caption.textContent = label), 1600);
  };
  return node;
}

/** Says something to a screen reader without interrupting. */
export function announce(text: string): void {
  const region = byId("announcer");
  // A node per message, so that a reader that is behind still gets each of them.
  const line = el("span", {}, `${text} `);
  region.append(line);
  setTimeout(() => line.remove(), 20_000);
}
