// Builds llama.cpp's own benchmark for plain AVX2, as most visitors' processors have it: `node llama.mjs` prints its path.
// Needs python3 with pip (the sources come with llama-cpp-python), cmake and a C++ compiler; takes some minutes.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import { ROOT } from "./lib/paths.mjs";

const VERSION = "0.3.36";
const OFF = ["NATIVE", "AVX512", "AVX_VNNI", "OPENMP"].map((name) => `-DGGML_${name}=OFF`);
const ON = ["SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2"].map((name) => `-DGGML_${name}=ON`);

const dir = join(ROOT, "target/bench/llama");
const program = join(dir, "build/bin/llama-bench");
const run = (name, ...args) => execFileSync(name, args, { cwd: dir, stdio: ["ignore", "inherit", "inherit"] });

if (!existsSync(program)) {
  mkdirSync(dir, { recursive: true });
  run("python3", "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", `llama-cpp-python==${VERSION}`, "-d", ".");
  run("tar", "xzf", readdirSync(dir).find((name) => name.endsWith(".tar.gz")), "--strip-components=1");
  run(
    "cmake", "-S", "vendor/llama.cpp", "-B", "build", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF", ...OFF, ...ON,
  );
  run("cmake", "--build", "build", "--target", "llama-bench", "-j", String(availableParallelism()));
}
console.log(program);
