import { catalogued, resolveName } from "./catalogue.js";
import { QwenletError } from "./errors.js";
import type { ModelSource, UrlSource } from "./types.js";
import type { WireDownload, WireSource } from "./wire.js";

/** A source as the worker takes it: absolute URLs, files, or the id of a cached model. */
export function resolveSource(source: ModelSource, base: string): WireSource {
  if (typeof source === "string") {
    // What the catalogue knows of a file, the file is held to.
    const { bytes, sha256 } = catalogued(source) ?? {};
    return fromUrls([source], base, { ...(bytes === undefined ? {} : { bytes }), ...(sha256 === undefined ? {} : { sha256 }) });
  }
  if (source instanceof URL) return fromUrls([source], base, {});
  if (source instanceof Blob) return fromBlobs([source]);
  if (Array.isArray(source)) return fromBlobs(source);
  if (typeof source === "object" && source !== null) {
    if ("cached" in source && typeof source.cached === "string") return { kind: "cached", id: source.cached };
    if ("url" in source) {
      const urls = Array.isArray(source.url) ? source.url : [source.url];
      return fromUrls(urls, base, source);
    }
  }
  throw new QwenletError("invalid-argument", "A model source is a catalogue id, a URL, a File or Blob, { url } or { cached }.");
}

/** What becomes of the wish to keep a model: one that could not be recognised another time would be kept anew each time. */
export function cacheFor(source: WireSource, wish: WireDownload["cache"]): WireDownload["cache"] {
  const passes = source.kind === "url" ? /^(blob|data):/.test(source.id) : source.id === undefined;
  if (wish === "off" || !passes) return wish;
  if (wish === "auto") return "off";
  throw new QwenletError("invalid-argument", source.kind === "url"
    ? `${source.id.slice(0, 60)}: such an address is never the same again, so that the cache could not find the model; give it a name with { url, id }.`
    : "A Blob has no name by which the cache could find the model again; pass a File.");
}

function fromUrls(
  sources: (string | URL)[], base: string, options: Omit<UrlSource, "url" | "fetch">,
): WireSource {
  const urls = sources.map((s) => absolute(s, base));
  const first = urls[0];
  if (first === undefined) throw new QwenletError("invalid-argument", "The list of URLs is empty.");
  const name = options.name ?? fileName(first);
  return {
    kind: "url", id: options.id ?? first.href, name, urls: urls.map((u) => u.href),
    headers: Object.entries(options.headers ?? {}),
    ...(options.sha256 === undefined ? {} : { sha256: hashes(options.sha256) }),
    ...(options.bytes === undefined ? {} : { bytes: sizes(options.bytes) }),
  };
}

function hashes(sha256: string | string[]): string[] {
  const all = [sha256].flat();
  if (!all.every((hash) => typeof hash === "string" && /^[0-9a-f]{64}$/i.test(hash))) {
    throw new QwenletError("invalid-argument", "sha256: must be 64 hexadecimal digits, or a list of such, one for each part.");
  }
  return all.map((hash) => hash.toLowerCase());
}

function sizes(bytes: number | number[]): number[] {
  const all = [bytes].flat();
  if (!all.every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw new QwenletError("invalid-argument", "bytes: must be a whole number above 0, or a list of such, one for each part.");
  }
  return all;
}

function absolute(source: string | URL, base: string): URL {
  const url = source instanceof URL ? new URL(source) : resolveName(source, base);
  if (!["http:", "https:", "blob:", "data:"].includes(url.protocol)) {
    throw new QwenletError("invalid-argument", `${url.href}: models load over http and https; open a local file with a file picker and pass the File.`);
  }
  url.hash = "";
  return url;
}

function fileName(url: URL): string {
  const last = url.pathname.split("/").pop() || url.hostname;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a stray % in a path is legal in a URL; the raw name serves as well
  }
}

function fromBlobs(blobs: Blob[]): WireSource {
  if (blobs.length === 0 || !blobs.every((b) => b instanceof Blob)) {
    throw new QwenletError("invalid-argument", "A list as a model source holds the GGUF files of one model, and at least one.");
  }
  // The parts of a split model carry their number in their name; a picker may hand them over in any order.
  const sorted = [...blobs].sort((a, b) => nameOf(a).localeCompare(nameOf(b), "en"));
  const names = sorted.map(nameOf);
  const first = sorted[0]!;
  const id = first instanceof File
    ? `file:${first.name}:${sorted.reduce((n, b) => n + b.size, 0)}:${first.lastModified}`
    : undefined;
  return { kind: "files", id, name: names[0]!, files: sorted, names };
}

function nameOf(blob: Blob): string {
  return blob instanceof File ? blob.name : "model.gguf";
}
