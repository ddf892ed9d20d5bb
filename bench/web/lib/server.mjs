// Serves the pages, the engines and the models to the browsers of a run, cross-origin isolated so that engines may have threads.
import { createServer } from "node:http";
import { basename, dirname, join } from "node:path";

import sirv from "sirv";

import { BENCH, ROOT } from "./paths.mjs";

const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Resource-Policy": "same-origin" };

function folder(dir) {
  const setHeaders = (response) => Object.entries(ISOLATED).forEach(([name, value]) => response.setHeader(name, value));
  return sirv(dir, { dev: true, etag: true, dotfiles: true, setHeaders });
}

/** `models`: paths of GGUF files, served by their names under `/models/`; `onnx`: a folder. */
export async function startServer({ models, onnx, port = 0 }) {
  const mounts = [
    ["/dist/", folder(join(ROOT, "dist"))],
    ["/node_modules/", folder(join(BENCH, "node_modules"))],
    ["/built/", folder(join(ROOT, "target/bench"))],
    ...(onnx ? [["/onnx/", folder(onnx)]] : []),
    ...models.map((path) => [`/models/${encodeURIComponent(basename(path))}`, folder(dirname(path))]),
    ["/", folder(join(BENCH, "page"))],
  ];
  const server = createServer((request, response) => {
    if (request.url === "/models.json") {
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end(JSON.stringify(models.map((path) => basename(path))));
      return;
    }
    const [prefix, serve] = mounts.find(([prefix]) => request.url.startsWith(prefix));
    request.url = request.url.slice(prefix.startsWith("/models/") ? "/models".length : prefix.length - 1);
    serve(request, response, () => response.writeHead(404).end("not found\n"));
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
