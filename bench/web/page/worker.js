// Calls from a page to a worker of its own, one at a time.

/** The page's side. */
export function worker(script) {
  const w = new Worker(new URL(script, import.meta.url), { type: "module" });
  return {
    call: (verb, ...args) =>
      new Promise((resolve, reject) => {
        w.onmessage = ({ data: { value, error } }) => (error ? reject(new Error(error)) : resolve(value));
        w.onerror = (event) => reject(new Error(event.message || `${script} could not be started`));
        w.postMessage({ verb, args });
      }),
    end: () => w.terminate(),
  };
}

/** The worker's side. */
export function serve(verbs) {
  self.onmessage = async ({ data: { verb, args } }) => {
    try {
      self.postMessage({ value: await verbs[verb](...args) });
    } catch (error) {
      self.postMessage({ error: String(error) });
    }
  };
}

export function timed(tokens, run) {
  const start = performance.now();
  run();
  return { tokens, seconds: (performance.now() - start) / 1000 };
}
