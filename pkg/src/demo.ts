/**
 * A small model that comes with this package, trained by its project: for pages that should answer at once, for tests, and to
 * try the package without a download. It knows a few kinds of question; it is not one to rely on.
 *
 * The file is fetched only when {@link DEMO} is loaded, from where this module is.
 */
import type { UrlSource } from "./types.js";

/** Of the file; put in by `build.mjs`. */
declare const DEMO_BYTES: number;
declare const DEMO_SHA256: string;

/** For `Engine.load`, which refuses any other file. */
export const DEMO: UrlSource & { url: URL; name: string; bytes: number; sha256: string } = {
  // Bundlers look for this very form.
  url: new URL("./qwenlet-demo.gguf", import.meta.url),
  name: "qwenlet-demo.gguf",
  bytes: DEMO_BYTES,
  sha256: DEMO_SHA256,
};
