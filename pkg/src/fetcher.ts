/** The caller's own `fetch`: it runs on the page, and the worker asks it for responses and their pieces. */
import * as Comlink from "comlink";

import type { FetchFunction } from "./types.js";
import type { PageFetch } from "./wire.js";

/** On the page: what the worker may call. */
export function pageFetch(fetcher: FetchFunction): PageFetch {
  const open = new Map<number, { abort: AbortController; reader?: ReadableStreamDefaultReader<Uint8Array> | undefined }>();
  return Comlink.proxy({
    async open(request, url, headers) {
      const abort = new AbortController();
      open.set(request, { abort });
      const response = await fetcher(url, { headers, signal: abort.signal });
      open.set(request, { abort, reader: response.body?.getReader() });
      return { status: response.status, headers: [...response.headers] };
    },
    async read(request) {
      const read = await open.get(request)?.reader?.read();
      if (!read || read.done) return undefined;
      // A view of a larger buffer, or of one that is not ours to give away, is copied.
      const { value } = read;
      const whole = value.byteLength === value.buffer.byteLength && value.buffer instanceof ArrayBuffer;
      const bytes = whole ? value : value.slice();
      return Comlink.transfer(bytes, [bytes.buffer as ArrayBuffer]);
    },
    close(request) {
      open.get(request)?.abort.abort();
      open.delete(request);
    },
  } satisfies PageFetch);
}

let requests = 0;

/** In the worker: a function of the form of `fetch` over the page's. */
export function workerFetch(page: PageFetch): FetchFunction {
  return async (url, { headers, signal }) => {
    const request = ++requests;
    const close = (): void => void page.close(request);
    signal.addEventListener("abort", close, { once: true });
    const end = (): void => {
      signal.removeEventListener("abort", close);
      close();
    };
    try {
      const head = await abortable(page.open(request, url, headers), signal);
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const bytes = await abortable(page.read(request), signal);
          if (bytes) return controller.enqueue(bytes);
          end();
          controller.close();
        },
        cancel: end,
      }, { highWaterMark: 0 });
      const empty = [101, 204, 205, 304].includes(head.status);
      return new Response(empty ? null : body, { status: head.status, headers: head.headers });
    } catch (thrown) {
      end();
      throw thrown;
    }
  };
}

/** A call to the page that ends with the signal, whatever the caller's function makes of it. */
function abortable<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    call.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
