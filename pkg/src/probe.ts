import { RELAXED_SIMD, SIMD, validates } from "./features.js";
import type { Capabilities } from "./types.js";
import { canShareMemory, defaultThreads, howToGetThreads } from "./variant.js";
import { isCurrent } from "./webgpu.js";

/** The part of WebGPU's types that is used here; TypeScript's DOM library has not all of it. */
interface Gpu {
  wgslLanguageFeatures?: unknown;
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
    simd: validates(SIMD),
    relaxedSimd: validates(RELAXED_SIMD),
    threads: {
      available: canShareMemory(),
      ...(canShareMemory() ? {} : { reason: howToGetThreads() }),
      default: canShareMemory() ? defaultThreads() : 1,
      crossOriginIsolated: globalThis.crossOriginIsolated === true,
      hardwareConcurrency: navigator.hardwareConcurrency ?? 1,
    },
    storage,
    device: probeDevice(),
  };
}

function probeDevice(): Capabilities["device"] {
  const { deviceMemory, userAgent, platform, maxTouchPoints } = navigator as Navigator & { deviceMemory?: number };
  // An iPad calls itself a Mac, which has no touch screen.
  const ios = /iPhone|iPad|iPod/.test(userAgent) || (platform === "MacIntel" && maxTouchPoints > 1);
  const phone = ios ? "ios" : /Android/.test(userAgent) ? "android" : undefined;
  return { ...(deviceMemory === undefined ? {} : { memory: deviceMemory * 2 ** 30 }), ...(phone ? { phone } : {}) };
}

async function probeGpu(): Promise<Capabilities["webgpu"]> {
  const gpu = (navigator as Navigator & { gpu?: Gpu }).gpu;
  if (!gpu) {
    const reason = globalThis.isSecureContext ? "This browser has no WebGPU." : "WebGPU needs a secure context: https, or localhost.";
    return { available: false, reason };
  }
  if (!isCurrent(gpu)) return { available: false, reason: "This browser's WebGPU is too old: update the browser." };
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
  try {
    const [{ usage, quota }, persisted] = await Promise.all([navigator.storage.estimate(), navigator.storage.persisted()]);
    return { indexedDb, usage, quota, persisted };
  } catch {
    return { indexedDb }; // an opaque origin, such as a sandboxed frame's
  }
}
