// Registers the service worker, which keeps the page's own files so that a reload needs no network.

/** `offer` is told when there is a newer version of the page, with what goes on with it: a reload, never without the visitor's word. */
export async function registerServiceWorker(offer: (text: string, reload: () => void) => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  try {
    const { serviceWorker } = navigator;
    const hadController = serviceWorker.controller !== null;
    let asked = false;
    serviceWorker.addEventListener("controllerchange", () => {
      if (!hadController) return; // the first one to take over changes nothing
      if (asked) location.reload();
      else offer("Another tab went on with a new version of this page. Reload this one too before you load a model.", () => location.reload());
    });
    const registration = await serviceWorker.register("sw.js", { updateViaCache: "none" });
    const ready = (worker: ServiceWorker): void => offer("A new version of this page is ready.", () => {
      asked = true;
      worker.postMessage("activate");
    });
    if (registration.waiting && serviceWorker.controller) ready(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const worker = registration.installing;
      worker?.addEventListener("statechange", () => {
        if (worker.state === "installed" && serviceWorker.controller) ready(worker);
      });
    });
  } catch (error) {
    // Private windows and some hosts refuse; the page works, but not offline.
    console.warn("qwenlet: no service worker", error);
  }
}
