/** What wgpu takes for granted of a browser's WebGPU, and browsers need not keep. */

interface Gpu {
  wgslLanguageFeatures?: unknown;
}

/** Whether this WebGPU tells of itself what is asked: Chromium's did not before version 127. */
export function isCurrent(gpu: Gpu): boolean {
  return typeof GPUAdapter === "function" && "info" in GPUAdapter.prototype && gpu.wgslLanguageFeatures !== undefined;
}

/** In a worker, before wgpu runs there. */
export function mendWebGpu(): void {
  const { gpu } = navigator as Navigator & { gpu?: Gpu };
  if (!gpu) return;
  // As where there is none: wgpu would stop with an error that it does not expect.
  if (!isCurrent(gpu)) Object.defineProperty(navigator, "gpu", { value: undefined });
  // wgpu 30 knows two kinds of errors and panics at the third (gfx-rs/wgpu#9914), which a browser reports where a driver cannot
  // compile a kernel: other kernels, or the CPU, take over then.
  else if (typeof GPUValidationError === "function" && typeof GPUOutOfMemoryError === "function") {
    Object.defineProperty(GPUValidationError, Symbol.hasInstance, {
      value: (error: unknown) => error instanceof GPUError && !(error instanceof GPUOutOfMemoryError),
    });
  }
}

// TypeScript's DOM library has not all of WebGPU.
declare const GPUAdapter: (new () => object) | undefined;
declare const GPUError: new () => object;
declare const GPUValidationError: (new () => object) | undefined;
declare const GPUOutOfMemoryError: (new () => object) | undefined;
