/** What can go wrong, by a stable name. The same list as `Code` in `crate/error.rs`; a test compares them. */
export const ERROR_CODES = [
  "invalid-argument",
  "invalid-gguf",
  "truncated-file",
  "unsupported-architecture",
  "unsupported-quantization",
  "invalid-model",
  "tokenizer",
  "template",
  "context-full",
  "aborted",
  "network",
  "http-status",
  "file-changed",
  "integrity",
  "file-read",
  "cache",
  "quota-exceeded",
  "no-webgpu",
  "device-lost",
  "gpu",
  "out-of-memory",
  "unloaded",
  "internal",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Every error that this package throws: `code` to branch on, `message` for a person, `cause` for whoever debugs. */
export class QwenletError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "QwenletError";
    this.code = code;
  }

  /** An error of this package as it is; anything else as an `internal` one with the original as its cause. */
  static from(thrown: unknown): QwenletError {
    if (thrown instanceof QwenletError) return thrown;
    if (isPlain(thrown)) return new QwenletError(thrown.code, thrown.message, { cause: thrown.cause });
    const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return new QwenletError("internal", message, { cause: thrown });
  }

  /** The error of a cancelled call. */
  static aborted(signal?: AbortSignal): QwenletError {
    return new QwenletError("aborted", "The caller cancelled.", { cause: signal?.reason });
  }
}

/** How an error crosses from the worker: errors lose their own properties in structured cloning. */
export interface PlainError {
  code: ErrorCode;
  message: string;
  cause?: string;
}

export function toPlain(thrown: unknown): PlainError {
  const error = QwenletError.from(thrown);
  const { cause } = error;
  return { code: error.code, message: error.message, ...(cause === undefined ? {} : { cause: describe(cause) }) };
}

function isPlain(value: unknown): value is PlainError {
  if (typeof value !== "object" || value === null) return false;
  const { code, message } = value as Partial<PlainError>;
  return typeof message === "string" && (ERROR_CODES as readonly unknown[]).includes(code);
}

function describe(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? `${cause.name}: ${cause.message}`) : String(cause);
}
