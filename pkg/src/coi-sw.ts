/** The service worker of {@link isolate}: everything as the host gives it, with the headers that it cannot set. */
import { isolated, type Embedder } from "./coi.js";

/** The part of a service worker's scope that is used here; it has a TypeScript library of its own, which the page's excludes. */
interface Scope {
  addEventListener(type: "install", listener: (event: { waitUntil(done: Promise<unknown>): void }) => void): void;
  addEventListener(type: "fetch", listener: (event: { request: Request; respondWith(response: Promise<Response>): void }) => void): void;
  skipWaiting(): Promise<void>;
}
const sw = self as unknown as Scope;
const embedder: Embedder = new URL(self.location.href).searchParams.get("embedder") === "credentialless" ? "credentialless" : "require-corp";

sw.addEventListener("install", (event) => event.waitUntil(sw.skipWaiting()));
// Open pages are not claimed: `isolate` reloads its own, and Firefox (153) breaks an isolated page that is.
sw.addEventListener("fetch", (event) => {
  // Other sites' answers are theirs to label, and a model of gigabytes need not pass through here.
  if (new URL(event.request.url).origin !== self.location.origin) return;
  // A request that only the page's own cache may answer cannot be repeated by anyone else.
  if (event.request.cache === "only-if-cached" && event.request.mode !== "same-origin") return;
  event.respondWith(fetch(event.request).then((response) => isolated(response, embedder)));
});
