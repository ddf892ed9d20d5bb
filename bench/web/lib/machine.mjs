import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { join } from "node:path";

import { BENCH, ROOT } from "./paths.mjs";

/** Where and of what a run is: its first line. */
export function machine(browser) {
  const info = existsSync("/proc/cpuinfo") ? readFileSync("/proc/cpuinfo", "utf8") : "";
  const field = (name) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(info)?.[1];
  return {
    figure: "machine", date: new Date().toISOString(), cpu: cpus()[0]?.model.trim(), cores: availableParallelism(),
    family: field("cpu family"), model: field("model"), virtual: / hypervisor /.test(info), memory: totalmem(),
    os: `${platform()} ${release()} ${arch()}`, browser, commit: commit(), versions: versions(),
  };
}

/** The peers' versions, from where they are pinned. */
function versions() {
  const { dependencies } = JSON.parse(readFileSync(join(BENCH, "package.json"), "utf8"));
  const candle = /^candle-core = .*version = "=([^"]+)"/m.exec(readFileSync(join(BENCH, "candle/Cargo.toml"), "utf8"))?.[1];
  return { wllama: dependencies["@wllama/wllama"], candle, "onnxruntime-web": dependencies["onnxruntime-web"] };
}

function commit() {
  try {
    const git = (...args) => execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "-uno") ? " with changes" : "");
  } catch {
    return undefined; // no git, or no repository
  }
}

/** CPU seconds that all of the machine has spent so far; undefined where the system does not tell. */
export function busy() {
  if (!existsSync("/proc/stat")) return undefined;
  const ticks = readFileSync("/proc/stat", "utf8").split("\n")[0].trim().split(/\s+/).slice(1).map(Number);
  const [user, nice, system, , , irq, softirq, steal] = ticks;
  return (user + nice + system + irq + softirq + steal) / 100;
}
