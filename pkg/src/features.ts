/** What WebAssembly can do here, asked with the smallest modules that use it. */

// One function each, with `i8x16.splat` and `i32x4.relaxed_trunc_f32x4_s` in it.
const HEAD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
export const SIMD = new Uint8Array([...HEAD, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11]);
export const RELAXED_SIMD = new Uint8Array([...HEAD, 10, 11, 1, 9, 0, 65, 0, 253, 15, 253, 129, 2, 11]);

export function validates(module: Uint8Array<ArrayBuffer>): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(module);
}
