/**
 * Cross-origin isolation for hosts that cannot set headers: a service worker adds them, and threads become available.
 *
 * Copy `node_modules/qwenlet/dist/coi-sw.js` beside your page and call `await isolate("./coi-sw.js")` before anything else.
 * A page with a service worker of its own passes its responses through {@link isolated} instead.
 */
import { usualVariant } from "./variant.js";

/** Which of a page's foreign, not CORS-enabled resources still load: none, or all but without the visitor's cookies (not in Safari). */
export type Embedder = "require-corp" | "credentialless";

/** The response with the headers that isolate a page, where it has none of its own. */
export function isolated(response: Response, embedder: Embedder = "require-corp"): Response {
  // An opaque or failed response has nothing that could be changed.
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  const add = (name: string, value: string): void => {
    if (!headers.has(name)) headers.set(name, value);
  };
  add("Cross-Origin-Opener-Policy", "same-origin");
  add("Cross-Origin-Embedder-Policy", embedder);
  add("Cross-Origin-Resource-Policy", "same-origin");
  const hasBody = ![101, 204, 205, 304].includes(response.status);
  return new Response(hasBody ? response.body : null, { status: response.status, statusText: response.statusText, headers });
}

/**
 * The package's files that a page of this browser runs beside `index.js`, isolated or not: for service workers that keep a
 * page's files for use without a network.
 */
export function filesInUse(isolated: boolean): string[] {
  // Short calls, such as for what is stored, are answered by the build without threads.
  const variants = new Set([usualVariant(isolated), usualVariant(false)]);
  return [...variants].flatMap((variant) => [`worker-${variant}.js`, `${variant}_bg.wasm`]);
}

/** Remembers, for this tab, that the page was reloaded for this: a browser that will not isolate it is not asked for ever. */
const RELOADED = "qwenlet.coi.reloaded";

/**
 * Makes this page cross-origin isolated by the service worker at `url`, whose folder must hold the page; reloads the page
 * once, the first time. Resolves to whether the page is isolated; where it cannot be, everything works on one thread. Never
 * rejects: why it cannot be is said on the console.
 */
export async function isolate(url: string | URL, embedder: Embedder = "require-corp"): Promise<boolean> {
  try {
    if (globalThis.crossOriginIsolated) sessionStorage.removeItem(RELOADED);
    else if (globalThis.isSecureContext && "serviceWorker" in navigator && !sessionStorage.getItem(RELOADED)) {
      const address = new URL(url, document.baseURI);
      if (embedder !== "require-corp") address.searchParams.set("embedder", embedder);
      await serveBy(address);
      sessionStorage.setItem(RELOADED, "1");
      location.reload();
      return await new Promise(() => {}); // the page ends here
    }
  } catch (thrown) {
    // Private windows, switched off storage, a script that is not there.
    if (!globalThis.crossOriginIsolated) console.warn("qwenlet: the page cannot be isolated:", thrown);
  }
  return globalThis.crossOriginIsolated === true;
}

/** Resolves when a service worker is there to serve this page from its next load on. */
async function serveBy(script: URL): Promise<void> {
  const scope = new URL("./", script).href;
  if (!location.href.startsWith(scope)) throw new Error(`a service worker serves its own folder, and this page is not in ${scope}`);
  const { installing } = await navigator.serviceWorker.register(script);
  const failed = new Promise<never>((_, reject) => installing?.addEventListener("statechange", () => {
    if (installing.state === "redundant") reject(new Error(`${script.href} could not be installed`));
  }));
  await Promise.race([navigator.serviceWorker.ready, failed]);
}
