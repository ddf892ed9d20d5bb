// Answers requests for the page's own files from a copy made at install, and touches nothing else. With it the page is
// cross-origin isolated whatever its host sends, so that the engine has threads.
import { filesInUse, isolated } from "qwenlet/coi";

/**
 * The page's own files relative to the scope, those of the package's builds of which a browser runs some, a hash over all of
 * them, and the page's policy; put in by build.mjs.
 */
declare const SHELL: { version: string; files: string[]; builds: string[]; policy: string };

const sw = self as unknown as ServiceWorkerGlobalScope;
const scope = new URL(sw.registration.scope);
// Caches belong to the origin; another copy of the page may live under another path of it.
const PREFIX = `qwenlet-shell ${scope.pathname} `;
const CACHE = PREFIX + SHELL.version;
const address = (file: string): string => new URL(file, scope).href;
const shell = new Set([...SHELL.files, ...SHELL.builds].map(address));
/** What a page that this worker serves will run. */
const needed = [...SHELL.files, ...SHELL.builds.filter((file) => filesInUse(true).some((name) => file === `pkg/${name}`))].map(address);

sw.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      await Promise.all(needed.map(async (url) => cache.put(url, await fetchOwn(url))));
    })(),
  );
});

/** A file of the page, with the page's policy where its host sends none: a worker obeys only its own file's header. */
async function fetchOwn(url: string): Promise<Response> {
  const response = await fetch(url, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const headers = new Headers(response.headers);
  if (!headers.has("Content-Security-Policy")) headers.set("Content-Security-Policy", SHELL.policy);
  return isolated(new Response(response.body, { headers }));
}

sw.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
      // Open pages are not claimed, the next visit is served from here: Firefox (153) breaks an isolated page that is.
    })(),
  );
});

sw.addEventListener("message", (event) => {
  if (event.data === "activate") void sw.skipWaiting();
});

sw.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const url = new URL(event.request.url);
  url.search = "";
  url.hash = "";
  // The start page is kept under the scope itself: many hosts redirect index.html there.
  const wanted = url.href === new URL("index.html", scope).href ? scope.href : url.href;
  if (!shell.has(wanted)) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(CACHE);
      const kept = await cache.match(wanted);
      if (kept) return kept;
      // Another build than expected: it is kept from now on, if there is room; the page needs it either way.
      const response = await fetchOwn(wanted);
      event.waitUntil(cache.put(wanted, response.clone()).catch((error: unknown) => console.warn("qwenlet: not kept for use offline", error)));
      return response;
    })(),
  );
});
