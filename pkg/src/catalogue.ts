import { QwenletError } from "./errors.js";
import type { CatalogueEntry } from "./types.js";

const HUB = "https://huggingface.co";

function entry(
  id: string, name: string, repo: string, file: string, bytes: number, exact: boolean, quantization: string, license: string,
): CatalogueEntry {
  return { id, name, url: hubUrl(repo, file), bytes, exact, quantization, license, home: `${HUB}/${repo}` };
}

/** Qwen's own GGUF files of a size for a browser, smallest first. */
export const CATALOGUE: readonly CatalogueEntry[] = [
  entry("qwen2.5-0.5b-instruct-q4_k_m", "Qwen2.5 0.5B Instruct", "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
    "qwen2.5-0.5b-instruct-q4_k_m.gguf", 491_000_000, false, "Q4_K_M", "Apache-2.0"),
  entry("qwen3-0.6b-q8_0", "Qwen3 0.6B", "Qwen/Qwen3-0.6B-GGUF",
    "Qwen3-0.6B-Q8_0.gguf", 639_446_688, true, "Q8_0", "Apache-2.0"),
  entry("qwen2.5-0.5b-instruct-q8_0", "Qwen2.5 0.5B Instruct", "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
    "qwen2.5-0.5b-instruct-q8_0.gguf", 675_710_816, true, "Q8_0", "Apache-2.0"),
  entry("qwen2.5-coder-0.5b-instruct-q8_0", "Qwen2.5 Coder 0.5B Instruct", "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    "qwen2.5-coder-0.5b-instruct-q8_0.gguf", 675_710_848, true, "Q8_0", "Apache-2.0"),
  entry("qwen2.5-1.5b-instruct-q4_k_m", "Qwen2.5 1.5B Instruct", "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
    "qwen2.5-1.5b-instruct-q4_k_m.gguf", 1_117_320_736, true, "Q4_K_M", "Apache-2.0"),
  entry("qwen3-1.7b-q8_0", "Qwen3 1.7B", "Qwen/Qwen3-1.7B-GGUF",
    "Qwen3-1.7B-Q8_0.gguf", 1_834_426_016, true, "Q8_0", "Apache-2.0"),
  entry("qwen2.5-3b-instruct-q4_k_m", "Qwen2.5 3B Instruct", "Qwen/Qwen2.5-3B-Instruct-GGUF",
    "qwen2.5-3b-instruct-q4_k_m.gguf", 2_104_932_768, true, "Q4_K_M", "Qwen Research"),
  entry("qwen3-4b-q4_k_m", "Qwen3 4B", "Qwen/Qwen3-4B-GGUF",
    "Qwen3-4B-Q4_K_M.gguf", 2_497_280_256, true, "Q4_K_M", "Apache-2.0"),
];

/** The address of a file in a Hugging Face repository. */
function hubUrl(repo: string, file: string, revision = "main"): string {
  const path = [...repo.split("/"), "resolve", revision, ...file.split("/")].map(encodeURIComponent).join("/");
  return `${HUB}/${path}?download=true`;
}

/** The URL that a name stands for: a catalogue id, `hf:owner/repo[@revision]/path/file.gguf`, or a URL relative to `base`. */
export function resolveName(name: string, base: string): URL {
  const known = CATALOGUE.find((e) => e.id === name);
  if (known) return new URL(known.url);
  if (name.startsWith("hf:")) {
    const match = /^hf:([^/@]+)\/([^/@]+)(?:@([^/]+))?\/(.+\.gguf)$/i.exec(name);
    if (!match) {
      throw new QwenletError("invalid-argument", `"${name}" is not of the form hf:owner/repo/file.gguf (or hf:owner/repo@revision/file.gguf).`);
    }
    return new URL(hubUrl(`${match[1]}/${match[2]}`, match[4]!, match[3]));
  }
  let url: URL;
  try {
    url = new URL(name, base);
  } catch (cause) {
    throw new QwenletError("invalid-argument", `"${name}" is neither a catalogue id nor a URL.`, { cause });
  }
  if (!/^[a-z][a-z0-9+.-]*:/i.test(name) && !name.includes("/") && !/\.gguf$/i.test(url.pathname)) {
    const ids = CATALOGUE.map((e) => e.id).join(", ");
    throw new QwenletError("invalid-argument", `There is no model "${name}" in the catalogue (${ids}), and it does not look like the URL of a .gguf file.`);
  }
  return url;
}
