import { statSync } from "node:fs";
import { basename } from "node:path";

import { gguf } from "@huggingface/gguf";

/** What a token has to read of a file: all weights, but of an embedding that is not the head too only a row. */
export async function describe(path) {
  const { metadata, tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true });
  const bytes = statSync(path).size;
  const starts = tensorInfos.map(({ offset }) => Number(offset)).sort((a, b) => a - b);
  const end = bytes - Number(tensorDataOffset);
  const size = ({ offset }) => (starts[starts.indexOf(Number(offset)) + 1] ?? end) - Number(offset);
  const untied = tensorInfos.some(({ name }) => name === "output.weight");
  const read = tensorInfos.filter(({ name }) => !(untied && name === "token_embd.weight"));
  return {
    path, name: basename(path), bytes, architecture: metadata["general.architecture"],
    readPerToken: read.reduce((sum, tensor) => sum + size(tensor), 0),
  };
}
