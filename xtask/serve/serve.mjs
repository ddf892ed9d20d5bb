// Serves a built site as a careful static host would. `cargo xtask serve` runs it; so do the browser tests.
//   node serve.mjs --dir DIR [--port N] [--host H] [--base /sub/path/] [--coi]
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";

import sirv from "sirv";

const { values: args } = parseArgs({
  options: {
    dir: { type: "string" },
    port: { type: "string", default: "8080" },
    host: { type: "string", default: "127.0.0.1" },
    base: { type: "string", default: "/" },
    coi: { type: "boolean", default: false },
  },
});
if (!args.dir) throw new Error("--dir is missing");

/** The page's own policy, which it carries in a meta tag for hosts that set no headers, is the one that is served. */
function policy() {
  const html = readFileSync(join(args.dir, "index.html"), "utf8");
  const tag = /<meta[^>]*http-equiv="Content-Security-Policy"[^>]*>/i.exec(html)?.[0] ?? "";
  const content = /content="([^"]*)"/i.exec(tag)?.[1];
  if (!content) throw new Error(`${join(args.dir, "index.html")} has no Content-Security-Policy meta tag`);
  return `${content.replace(/\s+/g, " ").trim().replace(/;$/, "")}; frame-ancestors 'none'`;
}

const headers = {
  "Content-Security-Policy": policy(),
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-cache", // kept, but asked about each time: a rebuilt site is seen at once
  ...(args.coi ? { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" } : {}),
};
const files = sirv(args.dir, {
  dev: true,
  etag: true,
  setHeaders(response) {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  },
});

const base = `/${args.base}/`.replace(/\/+/g, "/");
const server = createServer((request, response) => {
  const missing = () => {
    response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" });
    response.end("not found\n");
  };
  if (!request.url.startsWith(base)) {
    if (request.url === "/") response.writeHead(302, { Location: base }).end();
    else missing();
    return;
  }
  request.url = request.url.slice(base.length - 1);
  files(request, response, missing);
});

let port = Number(args.port);
const last = port === 0 ? 0 : port + 20;
server.on("error", (error) => {
  if (error.code !== "EADDRINUSE" || port >= last) throw error;
  console.log(`Port ${port} is taken; trying ${port + 1}.`);
  server.listen(++port, args.host);
});
server.on("listening", () => {
  const { port: actual } = server.address();
  const name = ["127.0.0.1", "::1", "0.0.0.0", "::"].includes(args.host) ? "localhost" : args.host;
  console.log(`Serving at http://${name}:${actual}${base}`);
});
server.listen(port, args.host);
