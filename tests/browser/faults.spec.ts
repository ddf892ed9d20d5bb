// 200 seeded schedules of faults, against a hub that misbehaves on demand, in a real browser: every one ends with a verified
// file or a clear error, and what is fetched again is only what was missing.

import { createHash } from "node:crypto";
import type { BrowserContext, Page } from "@playwright/test";
import { expect, test, type Api, type Hub } from "./fixtures.ts";
import { random, tinyGguf } from "./gguf.ts";
import { storedBytes } from "./stored.ts";

const SEEDS = 200;
/** Schedules that run in one page at a time, and die with it where its renderer is ended. */
const BATCH = 8;
/** Small, so that a small file has many; and impatient, so that a schedule takes a second. */
const TRANSFER = { attempts: 4, retryDelay: 0.02, stallTimeout: 0.4, chunkBytes: 16 << 10 };
const EXPECTED = ["network", "http-status", "quota-exceeded", "integrity", "file-changed"];

interface Plan {
  name: string;
  faults: object[];
  sha256: string | undefined;
  /** Every content that the file has had. */
  versions: Map<string, Buffer>;
  how: { etag: string; ranges: boolean; listed: boolean; compress: boolean };
}

/** What one schedule has in store. */
function plan(hub: Hub, seed: number): Plan {
  const next = random(seed);
  const pick = (n: number): number => Math.floor(next() * n);
  const name = `seed-${seed}.gguf`;
  const file = tinyGguf(1000 + pick(60_000), seed);
  const how = { etag: ["strong", "strong", "weak", "none"][pick(4)]!, ranges: pick(5) > 0, listed: pick(3) > 0, compress: pick(5) === 0 };
  hub.put(name, file, how);
  const versions = new Map([[hub.sha256(name), file]]);
  const sha256 = pick(3) === 0 ? hub.sha256(name) : undefined;
  const faults = Array.from({ length: pick(6) }, (): object => {
    const after = pick(file.length);
    switch (pick(11)) {
      case 0: case 1: return { fault: "reset", after };
      case 2: return { fault: "stall", after };
      case 3: return { fault: "cut", after };
      case 4: return sha256 || how.listed ? { fault: "flip", after } : {}; // no one can tell without a hash
      case 5: return { fault: "whole" };
      case 6: return { fault: "expired" };
      case 7: return { fault: "busy", ...(pick(3) === 0 ? { wait: 900 } : {}) };
      case 8: return { fault: "mute" };
      case 9: {
        if (sha256) return {};
        const bytes = tinyGguf(1000 + pick(60_000), seed + 1000);
        versions.set(hubHash(hub, bytes), bytes);
        return { fault: "change", bytes };
      }
      default: return {};
    }
  });
  hub.plan(name, faults);
  return { name, faults, sha256, versions, how };
}

function hubHash(hub: Hub, bytes: Buffer): string {
  hub.put("hash-of", bytes);
  return hub.sha256("hash-of");
}

type Outcome = { ok: string } | { code: string; message: string };

/** Downloads every file of a batch at once; undefined: the page died meanwhile. */
async function download(page: Page, hub: Hub, plans: Plan[], transfer = TRANSFER): Promise<Outcome[] | undefined> {
  const sources = plans.map(({ name, sha256 }) => ({ url: hub.hubUrl(name), id: name, ...(sha256 ? { sha256 } : {}) }));
  return page.evaluate(async ([sources, transfer]) => {
    const { Cache } = (await import(`${location.origin}/pkg/index.js`)) as Api;
    return Promise.all(sources.map((source) => Cache.download(source, { transfer, onWarning: () => {} }).then(
      (ok) => ({ ok }), (e: { code: string; message: string }) => ({ code: e.code, message: e.message }),
    )));
  }, [sources, transfer] as const).catch((e: Error) => {
    if (/crashed|closed/i.test(e.message)) return undefined;
    throw e;
  });
}

interface Stored {
  id: string;
  bytes: number;
  complete: boolean;
  sha256?: string[];
}

const list = (page: Page): Promise<Stored[]> => page.evaluate(async () => ((await import(`${location.origin}/pkg/index.js`)) as Api).Cache.list());

/** A page of the site with nothing in it. */
async function open(context: BrowserContext, site: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${site}pkg/index.js`);
  return page;
}

/** No model is complete that is not, byte for byte, one that the hub has had. */
async function check(page: Page, plans: Plan[], outcomes: Outcome[] | undefined): Promise<void> {
  const models = await list(page);
  for (const [i, { name, versions }] of plans.entries()) {
    const model = models.find((m) => m.id === name);
    const outcome = outcomes?.[i];
    if (outcome && "code" in outcome) {
      expect(EXPECTED, `${name}: ${outcome.message}`).toContain(outcome.code);
      expect(outcome.message.length, name).toBeGreaterThan(20);
      expect(model?.complete ?? false, `${name}: failed with ${outcome.code}, and yet it is there`).toBe(false);
    }
    if (outcome && "ok" in outcome) expect(model?.complete, name).toBe(true);
    if (model?.complete) {
      const found = createHash("sha256").update((await storedBytes(page, name))!).digest("hex");
      expect([...versions.keys()], `${name}: a wrong file is kept`).toContain(found);
      expect(model.sha256).toEqual([found]);
    }
  }
}

test("whatever goes wrong ends with a verified file or a clear error, and only what is missing is fetched again", async ({ browser, hub, site }) => {
  test.setTimeout(400_000);
  const seen = { done: 0, failed: 0, killed: 0, resumed: 0, quota: 0 };
  for (let first = 0; first < SEEDS; first += BATCH) {
    const next = random(10_000 + first);
    const plans = Array.from({ length: Math.min(BATCH, SEEDS - first) }, (_, i) => plan(hub, first + i));
    const context = await browser.newContext();
    // Every other time in an insecure context, which has no locks.
    const url = (first / BATCH) % 2 ? site.url.replace("127.0.0.1", "lan.test") : site.url;
    let page = await open(context, url);

    // Once with all that is in store, a third of the batches killed on the way and a third without enough storage.
    const [kill, full] = [first % (3 * BATCH) === 0, first % (3 * BATCH) === BATCH];
    // What is to die shall die on its way.
    if (kill) for (const { name, faults } of plans) hub.plan(name, [...faults, ...Array.from({ length: 9 }, () => ({ fault: "slow", ms: 60 }))]);
    const cdp = await context.newCDPSession(page);
    const { origin } = new URL(url);
    if (full) await cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: Math.floor(next() * 800_000) });
    const run = download(page, hub, plans);
    if (kill) {
      const [sent, enough] = [hub.sent(), next() * 700_000];
      for (let i = 0; i < 200 && hub.sent() - sent < enough; i++) await page.waitForTimeout(25);
      await Promise.race([cdp.send("Page.crash").catch(() => {}), page.waitForEvent("crash")]);
      seen.killed += plans.length;
    }
    const outcomes = await run;
    if (kill) page = await open(context, url);
    else if (full) await cdp.send("Storage.overrideQuotaForOrigin", { origin });
    await check(page, plans, outcomes);
    for (const outcome of outcomes ?? []) {
      seen[("ok" in outcome) ? "done" : "failed"]++;
      if ("code" in outcome && outcome.code === "quota-exceeded") seen.quota++;
    }

    // Then in a world that is well again.
    for (const { name } of plans) hub.plan(name, []);
    const before = await list(page);
    hub.log.length = 0;
    const last = await download(page, hub, plans, { ...TRANSFER, stallTimeout: 20 }); // a slow machine is no fault
    await check(page, plans, last);
    for (const [i, { name, how, versions }] of plans.entries()) {
      expect(last?.[i], name).toEqual({ ok: name });
      const model = before.find((m) => m.id === name);
      const there = model?.bytes ?? 0;
      const total = hub.bytes(name).length;
      // Without ranges, or a strong ETag or hash to tell versions apart, the beginning has to come again; and of a file that
      // has changed since, everything.
      if (model?.complete) expect(hub.sent(name), name).toBe(0);
      else if (versions.size === 1 && how.ranges && how.etag === "strong") {
        expect(hub.sent(name), `${name}: ${there} of ${total} bytes were there, ${JSON.stringify(hub.log.filter((r) => r.path.endsWith(name)))}`).toBe(total - there);
        if (there > 0) seen.resumed++;
      }
    }
    await context.close();
  }
  console.log("      ", JSON.stringify(seen));
  // The schedules are worth something: each ending is there.
  expect(Math.min(seen.done, seen.failed, seen.killed)).toBeGreaterThan(20);
  expect(Math.min(seen.resumed, seen.quota)).toBeGreaterThan(5);
});
