// Answers requests for the page's own files from a copy made at install, and touches nothing else. With it the page is
// cross-origin isolated whatever its host sends, so that the engine has threads.
import { filesInUse, isolated } from "qwenlet/coi";

/** Files relative to the scope, with what `fetch` holds them to. */
type Hashes = Record<string, string>;

/**
 * The page's own files, those of the package's builds of which a browser runs some, a hash over all of them, and the page's
 * policy; put in by build.mjs.
 */
declare const SHELL: { version: string; files: Hashes; builds: Hashes; policy: string };

const sw = self as unknown as ServiceWorkerGlobalScope;
const scope = new URL(sw.registration.scope);
// Caches belong to the origin; another copy of the page may live under another path of it.
const PREFIX = `qwenlet-shell ${scope.pathname} `;
const CACHE = PREFIX + SHELL.version;
const address = (file: string): string => new URL(file, scope).href;
const hashes = new Map(Object.entries({ ...SHELL.files, ...SHELL.builds }).map(([file, hash]) => [address(file), hash]));
/** What a page that this worker serves will run. */
const needed = [...Object.keys(SHELL.files), ...filesInUse(true).map((name) => `pkg/${name}`).filter((file) => file in SHELL.builds)].map(address);

sw.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      // A host that is just being updated gives files of two versions: then what there was stays, until the next try.
      await Promise.all(needed.map(async (url) => cache.put(url, await fetchOwn(url, hashes.get(url)))));
    })(),
  );
});

/**
 * A file of the page, with the page's policy where its host sends none: a worker obeys only its own file's header. Rejects
 * where its hash is another than `integrity`.
 */
async function fetchOwn(url: string, integrity = ""): Promise<Response> {
  const response = await fetch(url, { cache: "no-cache", integrity });
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
  const hash = hashes.get(wanted);
  if (hash === undefined) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(CACHE);
      const kept = await cache.match(wanted);
      if (kept) return kept;
      // Another build than expected: it is kept from now on, if there is room. The page needs it either way.
      const response = await fetchOwn(wanted, hash).catch(() => undefined);
      if (!response) return fetchOwn(wanted); // of another version, if any
      event.waitUntil(cache.put(wanted, response.clone()).catch((error: unknown) => console.warn("qwenlet: not kept for use offline", error)));
      return response;
    })(),
  );
});
