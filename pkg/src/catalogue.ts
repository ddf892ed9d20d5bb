/** The one list of models that this package knows by name, and what the names of others stand for. */
import { QwenletError } from "./errors.js";

/** Of the list below: higher with every change of an entry. */
export const CATALOGUE_VERSION = 2;

/** A model in a dozen numbers: `Outline` of `crate/model/outline.rs`, which knows what a file of it holds. */
export interface ModelOutline {
  architecture: string;
  layers: number;
  hiddenSize: number;
  intermediateSize: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Rows of the table of embeddings. */
  vocab: number;
  /** Tokens that the model was trained for. */
  contextLength: number;
  /** The file has no output head of its own. */
  tied: boolean;
  quantization: string;
}

export type Purpose = "chat" | "reasoning" | "code" | "math";

export interface CatalogueEntry {
  id: string;
  name: string;
  purpose: Purpose;
  /** What it is good for, in a few words. */
  goodFor: string;
  /** Of the hub. */
  repo: string;
  file: string;
  url: string;
  /** Size of the download, where it is published. */
  bytes?: number;
  /** Where it is published. */
  sha256?: string;
  quantization: string;
  license: string;
  /** The model's page. */
  home: string;
  outline: ModelOutline;
}

const HUB = "https://huggingface.co";
const MODELSCOPE = "https://www.modelscope.cn/models";

type Shape = Omit<ModelOutline, "tied" | "quantization">;

const QWEN25 = { architecture: "qwen2", vocab: 151_936, contextLength: 32_768 };
const QWEN3 = { architecture: "qwen3", vocab: 151_936, contextLength: 40_960, headDim: 128, kvHeads: 8 };
const QWEN25_05B: Shape = { ...QWEN25, layers: 24, hiddenSize: 896, intermediateSize: 4864, heads: 14, kvHeads: 2, headDim: 64 };
const QWEN25_15B: Shape = { ...QWEN25, layers: 28, hiddenSize: 1536, intermediateSize: 8960, heads: 12, kvHeads: 2, headDim: 128 };
const QWEN25_3B: Shape = { ...QWEN25, layers: 36, hiddenSize: 2048, intermediateSize: 11_008, heads: 16, kvHeads: 2, headDim: 128 };
const QWEN3_06B: Shape = { ...QWEN3, layers: 28, hiddenSize: 1024, intermediateSize: 3072, heads: 16 };
const QWEN3_17B: Shape = { ...QWEN3, layers: 28, hiddenSize: 2048, intermediateSize: 6144, heads: 16 };
const QWEN3_4B: Shape = { ...QWEN3, layers: 36, hiddenSize: 2560, intermediateSize: 9728, heads: 32 };

const APACHE = "Apache-2.0";
const RESEARCH = "Qwen Research";

function entry(
  name: string, shape: Shape, tied: boolean, quantization: string, repo: string, file: string,
  more: Pick<CatalogueEntry, "purpose" | "goodFor"> & Partial<Pick<CatalogueEntry, "bytes" | "sha256" | "license">>,
): CatalogueEntry {
  return {
    id: file.replace(/\.gguf$/, "").toLowerCase(), name, repo, file, url: hubUrl(repo, file), home: `${HUB}/${repo}`,
    quantization, license: APACHE, outline: { ...shape, tied, quantization }, ...more,
  };
}

/** GGUF files of a size for a browser, smallest first. Qwen's own, but for Math and 2507, which others have converted. */
export const CATALOGUE: readonly CatalogueEntry[] = [
  entry("Qwen2.5 0.5B Instruct", QWEN25_05B, false, "Q4_K_M", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf",
    { purpose: "chat", goodFor: "short answers on weak devices" }),
  entry("Qwen3 0.6B", QWEN3_06B, true, "Q8_0", "Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf",
    { purpose: "reasoning", goodFor: "chat, with or without thinking; tools", bytes: 639_446_688 }),
  entry("Qwen2.5 0.5B Instruct", QWEN25_05B, false, "Q8_0", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q8_0.gguf",
    { purpose: "chat", goodFor: "short answers, less rounded weights", bytes: 675_710_816 }),
  entry("Qwen2.5 Coder 0.5B Instruct", QWEN25_05B, false, "Q8_0", "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q8_0.gguf",
    { purpose: "code", goodFor: "completing code", bytes: 675_710_848 }),
  entry("Qwen2.5 Math 1.5B Instruct", { ...QWEN25_15B, contextLength: 4096 }, true, "Q4_K_M", "bartowski/Qwen2.5-Math-1.5B-Instruct-GGUF", "Qwen2.5-Math-1.5B-Instruct-Q4_K_M.gguf",
    { purpose: "math", goodFor: "mathematics, step by step" }),
  entry("Qwen2.5 1.5B Instruct", QWEN25_15B, false, "Q4_K_M", "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "qwen2.5-1.5b-instruct-q4_k_m.gguf",
    { purpose: "chat", goodFor: "chat, summaries", bytes: 1_117_320_736 }),
  entry("Qwen2.5 Coder 1.5B Instruct", QWEN25_15B, false, "Q4_K_M", "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    { purpose: "code", goodFor: "completing and explaining code" }),
  entry("Qwen3 1.7B", QWEN3_17B, true, "Q8_0", "Qwen/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf",
    { purpose: "reasoning", goodFor: "chat, with or without thinking; tools", bytes: 1_834_426_016 }),
  entry("Qwen2.5 3B Instruct", QWEN25_3B, false, "Q4_K_M", "Qwen/Qwen2.5-3B-Instruct-GGUF", "qwen2.5-3b-instruct-q4_k_m.gguf",
    { purpose: "chat", goodFor: "chat, longer texts", bytes: 2_104_932_768, license: RESEARCH }),
  entry("Qwen2.5 Coder 3B Instruct", QWEN25_3B, false, "Q4_K_M", "Qwen/Qwen2.5-Coder-3B-Instruct-GGUF", "qwen2.5-coder-3b-instruct-q4_k_m.gguf",
    { purpose: "code", goodFor: "writing and explaining code", license: RESEARCH }),
  entry("Qwen3 4B", QWEN3_4B, true, "Q4_K_M", "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf",
    { purpose: "reasoning", goodFor: "chat, with or without thinking; tools", bytes: 2_497_280_256 }),
  entry("Qwen3 4B Instruct 2507", { ...QWEN3_4B, contextLength: 262_144 }, true, "Q4_K_M", "unsloth/Qwen3-4B-Instruct-2507-GGUF", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
    { purpose: "chat", goodFor: "chat and tools without thinking; long contexts" }),
];

/** The entry of an id. */
export function catalogued(id: string): CatalogueEntry | undefined {
  return CATALOGUE.find((e) => e.id === id);
}

function address(base: string, repo: string, revision: string, file: string): string {
  return `${base}/${[...repo.split("/"), "resolve", revision, ...file.split("/")].map(encodeURIComponent).join("/")}`;
}

/** The address of a file in a Hugging Face repository. */
function hubUrl(repo: string, file: string, revision = "main"): string {
  return `${address(HUB, repo, revision, file)}?download=true`;
}

/** Prefix of a name → what it stands for. */
const HUBS: Record<string, (repo: string, file: string, revision?: string) => string> = {
  hf: hubUrl,
  ms: (repo, file, revision = "master") => address(MODELSCOPE, repo, revision, file),
};

/** The URL that a name stands for: a catalogue id, `hf:` or `ms:` with `owner/repo[@revision]/path/file.gguf`, or a URL relative to `base`. */
export function resolveName(name: string, base: string): URL {
  const known = catalogued(name);
  if (known) return new URL(known.url);
  const [, prefix, path] = /^([a-z]+):(?!\/)(.*)$/s.exec(name) ?? [];
  const hub = prefix !== undefined && Object.hasOwn(HUBS, prefix) ? HUBS[prefix] : undefined;
  if (hub) {
    const [, repo, revision, file] = /^([^/@]+\/[^/@]+)(?:@([^/]+))?\/(.+\.gguf)$/i.exec(path!) ?? [];
    if (!repo || !file) {
      throw new QwenletError("invalid-argument", `"${name}" is not of the form ${prefix}:owner/repo/file.gguf (or ${prefix}:owner/repo@revision/file.gguf).`);
    }
    return new URL(hub(repo, file, revision));
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
