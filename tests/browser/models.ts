// The models of these tests: tiny random ones, written by the project's own example.

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const folder = join(root, "target/browser-test-models");

/** Runs once before all tests. */
export default function writeModels(): void {
  const fixtures = process.env["QWENLET_BROWSER_MODELS"];
  if (fixtures) return;
  const run = (program: string, ...args: string[]): unknown => execFileSync(program, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  run("cargo", "build", "--quiet", "--release", "--workspace", "--example", "make_test_models");
  run(join(root, "target/release/examples/make_test_models"), folder);
}

/** File name → path. */
export async function models(): Promise<Record<string, string>> {
  const from = process.env["QWENLET_BROWSER_MODELS"] ?? folder;
  return Object.fromEntries(readdirSync(from).filter((name) => name.endsWith(".gguf")).map((name) => [name, join(from, name)]));
}

/** A Qwen3 model, quantized, with a chat template. */
export const QWEN3 = "qwen3-Q8_0.gguf";
/** A Qwen2 model in mixed K-quants. */
export const QWEN2 = "qwen2-Q4_K_M.gguf";
/** The same in three files; the part `n` of them, from 1. */
export const splitPart = (n: number): string => `qwen2-Q4_K_M-split-0000${n}-of-00003.gguf`;
/** As many layers as Qwen2.5-0.5B and Qwen3-0.6B have. */
export const DEEP_QWEN2 = "qwen2-deep-Q4_0.gguf";
export const DEEP_QWEN3 = "qwen3-deep-Q4_0.gguf";

export function modelPath(name: string): string {
  return join(process.env["QWENLET_BROWSER_MODELS"] ?? folder, name);
}
