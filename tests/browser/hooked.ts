// A site whose workers run something else first.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, serve, type Site } from "./fixtures.ts";

/** Serves the built site with `hooks` in front of every worker's script. */
export async function serveHooked(hooks: () => void): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), "qwenlet-hooked-"));
  cpSync(join(ROOT, "dist"), folder, { recursive: true });
  for (const name of readdirSync(join(folder, "pkg")).filter((name) => /^worker-.*\.js$/.test(name))) {
    const path = join(folder, "pkg", name);
    writeFileSync(path, `(${hooks.toString()})();\n${readFileSync(path, "utf8")}`);
  }
  const site = await serve("--dir", folder);
  return {
    ...site,
    close: async () => {
      await site.close();
      rmSync(folder, { recursive: true });
    },
  };
}
