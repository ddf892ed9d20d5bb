// Answers requests for the page's own files from a copy made at install, and touches nothing else.

/** The page's own files relative to the scope, and a hash over all of them; put in by build.mjs. */
declare const SHELL: { version: string; files: string[] };

const sw = self as unknown as ServiceWorkerGlobalScope;
const scope = new URL(sw.registration.scope);
// Caches belong to the origin; another copy of the page may live under another path of it.
const PREFIX = `qwenlet-shell ${scope.pathname} `;
const CACHE = PREFIX + SHELL.version;
const shell = new Set(SHELL.files.map((file) => new URL(file, scope).href));

sw.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll([...shell].map((url) => new Request(url, { cache: "no-cache" })))),
  );
});

sw.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
      await sw.clients.claim();
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
    (async () => (await (await caches.open(CACHE)).match(wanted)) ?? fetch(event.request))(),
  );
});

export {};
