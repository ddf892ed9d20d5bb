// A site whose workers run something else.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, serve, type Site } from "./fixtures.ts";

/** Serves the built site with `hooks` in front of every worker's script. */
export function serveHooked(hooks: () => void, ...options: string[]): Promise<Site> {
  return serveChanged((script) => `(${hooks.toString()})();\n${script}`, ...options);
}

/** Serves the built site with what `change` makes of every worker's script. */
export async function serveChanged(change: (script: string) => string, ...options: string[]): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-hooked-"));
  cpSync(join(ROOT, "dist"), folder, { recursive: true });
  for (const name of readdirSync(join(folder, "pkg")).filter((name) => /^worker-.*\.js$/.test(name))) {
    const path = join(folder, "pkg", name);
    writeFileSync(path, change(readFileSync(path, "utf8")));
  }
  const site = await serve("--dir", folder, ...options);
  return {
    ...site,
    close: async () => {
      await site.close();
      rmSync(folder, { recursive: true });
    },
  };
}
