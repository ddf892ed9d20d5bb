// A model hub that misbehaves on demand, for the browser tests.
//
//   /owner/repo/resolve/main/FILE   redirects to another origin's /cdn/FILE, as Hugging Face does
//   /cdn/FILE, /direct/FILE         serves FILE with Range, ETag and CORS
//   /api/models/owner/repo/tree/…   lists the files with their SHA-256, as Hugging Face does
//
// A fault is named in the query and survives the redirect. `times=N` limits it to the first N answers for that URL.
//   fault=reset&after=BYTES&ms=N    the connection is reset after so many bytes and N milliseconds, at least 150
//   fault=stall&after=BYTES         nothing more is sent, the connection stays open
//   fault=mute                      no answer, the connection stays open
//   fault=cut&after=BYTES           the body ends there, before what the headers announce
//   fault=truncate&after=BYTES      the file ends there, and the headers agree
//   fault=flip&after=BYTES          that byte of the body is another one
//   fault=whole                     the whole file, whatever range is asked for
//   fault=expired                   403, as where a signed address has expired
//   fault=busy&wait=SECONDS         503 with Retry-After
//   fault=status&status=404         an error page
//   fault=no-cors                   no CORS headers
//   fault=slow&ms=N                 a pause of N milliseconds after every 32 KiB
//
// `put` adds or replaces a file and says how it is served; `plan` names the faults of the next answers for it, one each, as
// objects: `{ fault: "reset", after: 5 }`; `{ fault: "change", bytes }` replaces the file first. How a file is served:
//   etag: "strong" | "weak" | "none" | "fresh"  another one with each answer
//   ranges: false      the whole file, whatever is asked for
//   listed: false      no SHA-256 in the list
//   compress: true     gzip where no range is asked for
//   exposes: false     pages see no headers but those that they always may
//   refuses: true      no leave to ask by range

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

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
  /** Name → { bytes, sha256, etag, ranges, listed, plan }. */
  const served = new Map();
  const log = [];
  const answered = new Map();
  let cdn = "";

  function put(name, file, { etag = "strong", ranges = true, listed = true, compress = false, exposes = true, refuses = false } = {}) {
    const bytes = typeof file === "string" ? readFileSync(file) : Buffer.from(file);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const tags = { strong: `"${sha256}"`, weak: `W/"${sha256}"`, none: undefined };
    served.set(name, { bytes, sha256, tag: tags[etag], how: { etag, ranges, listed, compress, exposes, refuses }, plan: served.get(name)?.plan ?? [] });
  }
  for (const [name, file] of Object.entries(files)) put(name, file);

  /** The fault for this answer, if it is still due. */
  function faultOf(url, name) {
    const planned = served.get(name).plan.shift();
    if (planned) return planned;
    const fault = url.searchParams.get("fault");
    if (!fault) return {};
    const seen = answered.get(url.href) ?? 0;
    answered.set(url.href, seen + 1);
    if (seen >= Number(url.searchParams.get("times") ?? Infinity)) return {};
    const number = (key, otherwise) => Number(url.searchParams.get(key) ?? otherwise);
    return { fault, after: number("after", 0), status: number("status", 503), wait: number("wait", 0), ms: number("ms", 50) };
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
    if (url.pathname.startsWith("/api/models/")) {
      const list = [...served].filter(([, file]) => file.how.listed)
        .map(([path, file]) => ({ type: "file", path, size: file.bytes.length, lfs: { oid: file.sha256, size: file.bytes.length } }));
      send(200, { ...cors, "Content-Type": "application/json" });
      return response.end(JSON.stringify(list));
    }
    const [, hub, path] = /^\/(?:([^/]+\/[^/]+)\/resolve\/[^/]+|cdn|direct)\/(.+)$/.exec(url.pathname) ?? [];
    const name = path && decodeURIComponent(path);
    if (!served.has(name)) {
      send(404, { ...cors, "Content-Type": "text/plain" });
      return response.end("Entry not found\n");
    }
    if (hub) {
      const { bytes, sha256 } = served.get(name);
      send(302, { ...cors, Location: `${cdn}/cdn/${encodeURIComponent(name)}${url.search}`, "X-Linked-ETag": `"${sha256}"`, "X-Linked-Size": String(bytes.length), "Content-Length": "0" });
      return response.end();
    }
    const { fault, after = 0, status, wait, ms, bytes: changed } = faultOf(url, name);
    if (fault === "change") put(name, changed, served.get(name).how);
    if (fault === "mute") return undefined;
    const refusal = { status, expired: 403, busy: 503 }[fault];
    if (refusal) {
      send(refusal, { ...cors, "Content-Type": "text/plain", ...(wait ? { "Retry-After": String(wait) } : {}) });
      return response.end("asked for\n");
    }
    const { bytes, how } = served.get(name);
    const tag = how.etag === "fresh" ? `"${log.length}"` : served.get(name).tag;
    if (how.refuses && request.headers.range) {
      send(200);
      return response.end();
    }
    if (!how.exposes) delete cors["Access-Control-Expose-Headers"];
    const whole = fault === "truncate" ? bytes.subarray(0, after) : bytes;
    const headers = {
      ...(fault === "no-cors" ? {} : cors), "Content-Type": "application/octet-stream", "Cache-Control": "no-store",
      ...(how.ranges ? { "Accept-Ranges": "bytes" } : {}), ...(tag ? { ETag: tag } : {}),
    };
    const ranged = how.ranges && fault !== "whole";
    const range = ranged ? parseRange(request.headers.range, whole.length) : undefined;
    if (range === null) {
      send(416, { ...headers, "Content-Range": `bytes */${whole.length}` });
      return response.end();
    }
    const { start, end } = range ?? { start: 0, end: whole.length - 1 };
    let body = whole.subarray(start, end + 1);
    if (how.compress && !request.headers.range) {
      body = gzipSync(body);
      headers["Content-Encoding"] = "gzip";
    }
    send(range ? 206 : 200, { ...headers, "Content-Length": String(body.length), ...(range ? { "Content-Range": `bytes ${start}-${end}/${whole.length}` } : {}) });
    if (request.method === "HEAD") return response.end();

    if (fault === "flip" && after < body.length) {
      body = Buffer.from(body);
      body[after] ^= 1;
    }
    const limit = ["reset", "stall", "cut"].includes(fault) ? Math.min(after, body.length) : body.length;
    await pipeline(async function* () {
      for (let at = 0; at < limit; at += CHUNK) {
        const piece = body.subarray(at, Math.min(at + CHUNK, limit));
        yield piece;
        record.bytes += piece.length;
        if (fault === "slow") await sleep(ms);
      }
    }, response, { end: false });
    if (fault === "reset" || fault === "cut") {
      await sleep(Math.max(ms ?? 0, 150)); // lets what was written arrive first, on a busy machine too
      if (fault === "cut") request.socket.end();
      else request.socket.resetAndDestroy();
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
    put,
    /** The faults of the next answers for a file. */
    plan: (name, faults) => void served.get(name).plan.splice(0, Infinity, ...faults),
    /** What a file has by now. */
    bytes: (name) => served.get(name).bytes,
    sha256: (name) => served.get(name).sha256,
    /** Bytes of files sent so far. */
    sent: (name) => log.filter((record) => name === undefined || decodeURIComponent(record.path).endsWith(`/${name}`)).reduce((n, record) => n + record.bytes, 0),
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
