import type { Capabilities } from "./types.js";

// The smallest modules that use an instruction of the feature: `i8x16.splat`, `i32x4.relaxed_trunc_f32x4_s`.
const HEAD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
const SIMD = new Uint8Array([...HEAD, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11]);
const RELAXED_SIMD = new Uint8Array([...HEAD, 10, 11, 1, 9, 0, 65, 0, 253, 15, 253, 129, 2, 11]);

/** The part of WebGPU's types that is used here; TypeScript's DOM library has not all of it. */
interface Gpu {
  requestAdapter(options?: { powerPreference?: string }): Promise<GpuAdapter | null>;
}
interface GpuAdapter {
  features: Iterable<string>;
  limits: { maxBufferSize: number; maxStorageBufferBindingSize: number };
  info?: { vendor: string; architecture: string; device: string; description: string; isFallbackAdapter?: boolean };
}

/** What this browser can do, without loading anything. */
export async function probe(): Promise<Capabilities> {
  const [webgpu, storage] = await Promise.all([probeGpu(), probeStorage()]);
  return {
    webgpu,
    simd: WebAssembly.validate(SIMD),
    relaxedSimd: WebAssembly.validate(RELAXED_SIMD),
    threads: {
      available: globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function",
      crossOriginIsolated: globalThis.crossOriginIsolated === true,
      hardwareConcurrency: navigator.hardwareConcurrency ?? 1,
    },
    storage,
  };
}

async function probeGpu(): Promise<Capabilities["webgpu"]> {
  const gpu = (navigator as Navigator & { gpu?: Gpu }).gpu;
  if (!gpu) {
    const reason = globalThis.isSecureContext ? "This browser has no WebGPU." : "WebGPU needs a secure context: https, or localhost.";
    return { available: false, reason };
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return { available: false, reason: "The browser offers no WebGPU adapter on this machine." };
    const info = adapter.info;
    const described = info ? info.description || [info.vendor, info.architecture, info.device].filter(Boolean).join(" ") : "";
    return {
      available: true,
      adapter: described || "unnamed adapter",
      software: info?.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe/i.test(described),
      features: [...adapter.features].sort(),
      maxBufferSize: adapter.limits.maxBufferSize,
      maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
    };
  } catch (thrown) {
    return { available: false, reason: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

async function probeStorage(): Promise<Capabilities["storage"]> {
  const indexedDb = typeof indexedDB === "object" && indexedDB !== null;
  if (!navigator.storage?.estimate) return { indexedDb };
  const [{ usage, quota }, persisted] = await Promise.all([navigator.storage.estimate(), navigator.storage.persisted()]);
  return { indexedDb, usage, quota, persisted };
}
