// Serves one file to the page under test, as fast as it takes it or at a given rate.

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { pipeline } from "node:stream/promises";

/** Serves `path` at `/model.gguf`; `?rate=` limits it to so many bytes a second. */
export async function serveFile(path) {
  const size = statSync(path).size;
  const server = createServer((request, response) => {
    const rate = Number(new URL(request.url, "http://x").searchParams.get("rate") ?? Infinity);
    response.writeHead(200, {
      "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Content-Range",
      "Content-Type": "application/octet-stream", "Content-Length": size, "Cache-Control": "no-store", ETag: `"${size}"`,
    });
    const paced = async function* (source) {
      const start = performance.now();
      let sent = 0;
      for await (const piece of source) {
        const early = start + (sent / rate) * 1000 - performance.now();
        if (early > 2) await sleep(early);
        sent += piece.length;
        yield piece;
      }
    };
    pipeline(createReadStream(path, { highWaterMark: 256 << 10 }), paced, response).catch(() => {}); // the page went away
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    size,
    url: (rate) => `http://127.0.0.1:${server.address().port}/model.gguf${rate ? `?rate=${rate}` : ""}`,
    close: () => (server.close(), server.closeAllConnections()),
  };
}
