// Registers the service worker, which keeps the page's own files so that a reload needs no network.

/** `onUpdate` is told when a newer version of the page is ready, with what switches to it. */
export async function registerServiceWorker(onUpdate: (apply: () => void) => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const hadController = navigator.serviceWorker.controller !== null;
  let reloading = false;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (!hadController || reloading) return; // the first one to take over changes nothing
    reloading = true;
    location.reload();
  });
  try {
    const registration = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    const offer = (worker: ServiceWorker): void => onUpdate(() => worker.postMessage("activate"));
    if (registration.waiting && navigator.serviceWorker.controller) offer(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const worker = registration.installing;
      worker?.addEventListener("statechange", () => {
        if (worker.state === "installed" && navigator.serviceWorker.controller) offer(worker);
      });
    });
  } catch (error) {
    // Private windows and some hosts refuse; the page works, but not offline.
    console.warn("qwenlet: no service worker", error);
  }
}
