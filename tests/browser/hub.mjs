// A model hub that misbehaves on demand, for the browser tests.
//
//   /owner/repo/resolve/main/FILE   redirects to another origin's /cdn/FILE, as Hugging Face does
//   /cdn/FILE, /direct/FILE         serves FILE with Range, ETag and CORS
//
// A fault is named in the query and survives the redirect. `times=N` limits it to the first N answers for that URL.
//   fault=reset&after=BYTES         the connection is reset after so many bytes
//   fault=stall&after=BYTES         nothing more is sent, the connection stays open
//   fault=truncate&after=BYTES      the file ends there, and the headers agree
//   fault=status&status=404         an error page
//   fault=no-cors                   no CORS headers
//   fault=slow&ms=N                 a pause of N milliseconds after every 32 KiB

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";

const CHUNK = 32 * 1024;
const EXPOSED = "Accept-Ranges, Content-Length, Content-Range, ETag, Location, X-Linked-ETag, X-Linked-Size";

/** Parses `bytes=a-b`, `bytes=a-` and `bytes=-n`; undefined: the whole file, null: cannot be satisfied. */
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const start = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  return start <= end && start < size ? { start, end } : null;
}

/**
 * Starts a hub for `files` (name → path or bytes) on two ports, so that a redirect leads to another origin.
 * `log` has a record of every request: `{ method, path, range, status, bytes }`.
 */
export async function startHub(files) {
  const contents = new Map(Object.entries(files).map(([name, file]) => [name, typeof file === "string" ? readFileSync(file) : Buffer.from(file)]));
  const etags = new Map([...contents].map(([name, bytes]) => [name, `"${createHash("sha256").update(bytes).digest("hex")}"`]));
  const log = [];
  const answered = new Map();
  let cdn = "";

  /** The fault for this answer, if it is still due. */
  function faultOf(url) {
    const name = url.searchParams.get("fault");
    if (!name) return undefined;
    const seen = answered.get(url.href) ?? 0;
    answered.set(url.href, seen + 1);
    return seen < Number(url.searchParams.get("times") ?? Infinity) ? name : undefined;
  }

  async function answer(request, response) {
    const url = new URL(request.url, "http://hub");
    const record = { method: request.method, path: url.pathname, range: request.headers.range, status: 0, bytes: 0 };
    log.push(record);
    const send = (status, headers = {}) => {
      record.status = status;
      response.writeHead(status, headers);
    };
    const cors = { "Access-Control-Allow-Origin": request.headers.origin ?? "*", "Access-Control-Expose-Headers": EXPOSED, Vary: "Origin" };
    if (request.method === "OPTIONS") {
      send(204, { ...cors, "Access-Control-Allow-Methods": "GET, HEAD", "Access-Control-Allow-Headers": request.headers["access-control-request-headers"] ?? "*" });
      return response.end();
    }
    const [, hub, served] = /^\/(?:([^/]+\/[^/]+)\/resolve\/[^/]+|cdn|direct)\/(.+)$/.exec(url.pathname) ?? [];
    const name = served && decodeURIComponent(served);
    const bytes = contents.get(name);
    if (!bytes) {
      send(404, { ...cors, "Content-Type": "text/plain" });
      return response.end("Entry not found\n");
    }
    if (hub) {
      send(302, { ...cors, Location: `${cdn}/cdn/${encodeURIComponent(name)}${url.search}`, "X-Linked-ETag": etags.get(name), "X-Linked-Size": String(bytes.length), "Content-Length": "0" });
      return response.end();
    }
    const fault = faultOf(url);
    const after = Number(url.searchParams.get("after") ?? 0);
    if (fault === "status") {
      send(Number(url.searchParams.get("status") ?? 503), { ...cors, "Content-Type": "text/plain" });
      return response.end("asked for\n");
    }
    const whole = fault === "truncate" ? bytes.subarray(0, after) : bytes;
    const headers = { ...(fault === "no-cors" ? {} : cors), "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", ETag: etags.get(name), "Cache-Control": "no-store" };
    const ifRange = request.headers["if-range"];
    const range = ifRange === undefined || ifRange === etags.get(name) ? parseRange(request.headers.range, whole.length) : undefined;
    if (range === null) {
      send(416, { ...headers, "Content-Range": `bytes */${whole.length}` });
      return response.end();
    }
    const { start, end } = range ?? { start: 0, end: whole.length - 1 };
    const body = whole.subarray(start, end + 1);
    send(range ? 206 : 200, { ...headers, "Content-Length": String(body.length), ...(range ? { "Content-Range": `bytes ${start}-${end}/${whole.length}` } : {}) });
    if (request.method === "HEAD") return response.end();

    const limit = fault === "reset" || fault === "stall" ? Math.min(after, body.length) : body.length;
    await pipeline(async function* () {
      for (let at = 0; at < limit; at += CHUNK) {
        const piece = body.subarray(at, Math.min(at + CHUNK, limit));
        yield piece;
        record.bytes += piece.length;
        if (fault === "slow") await sleep(Number(url.searchParams.get("ms") ?? 50));
      }
    }, response, { end: false });
    if (fault === "reset") {
      await sleep(50); // lets what was written arrive first
      request.socket.resetAndDestroy();
    } else if (fault !== "stall") {
      response.end();
    }
  }

  const handler = (request, response) => {
    answer(request, response).catch(() => response.destroy()); // the browser went away
  };
  const servers = [createServer(handler), createServer(handler)];
  const [url, other] = await Promise.all(servers.map((server) => new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  })));
  cdn = other;

  return {
    url,
    cdn,
    log,
    /** The address of a file as a hub gives it. */
    hubUrl: (name, query = "") => `${url}/test/models/resolve/main/${encodeURIComponent(name)}${query && `?${query}`}`,
    /** The address of a file without a redirect. */
    directUrl: (name, query = "") => `${url}/direct/${encodeURIComponent(name)}${query && `?${query}`}`,
    /** Bytes of files sent so far. */
    sent: () => log.reduce((n, record) => n + record.bytes, 0),
    reset() {
      log.length = 0;
      answered.clear();
    },
    async close() {
      await Promise.all(servers.map((server) => new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      })));
    },
  };
}
