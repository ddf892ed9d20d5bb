/** An answer as it is made. Read it once, with `for await`; leaving the loop early ends the answer. */
export class Stream<T> implements AsyncIterable<T> {
  readonly #waiting: T[] = [];
  readonly #cancel: () => void;
  #wake: (() => void) | undefined;
  #done = false;
  #error: unknown;
  #failed = false;
  #taken = false;
  #ended: Promise<void> = Promise.resolve();

  private constructor(cancel: () => void) {
    this.#cancel = cancel;
  }

  /** Starts `run`, which pushes chunks until its promise settles; `cancel` must make it settle soon. */
  static start<T>(run: (push: (chunk: T) => void) => Promise<void>, cancel: () => void): Stream<T> {
    const stream = new Stream<T>(cancel);
    stream.#ended = run((chunk) => {
      stream.#waiting.push(chunk);
      stream.#notify();
    }).then(
      () => {},
      (error: unknown) => {
        stream.#error = error;
        stream.#failed = true;
      },
    ).finally(() => {
      stream.#done = true;
      stream.#notify();
    });
    return stream;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    if (this.#taken) throw new TypeError("This stream is being read, or was read, already.");
    this.#taken = true;
    try {
      for (;;) {
        const chunk = this.#waiting.shift();
        if (chunk !== undefined) yield chunk;
        else if (!this.#done) await new Promise<void>((resolve) => (this.#wake = resolve));
        else break;
      }
      if (this.#failed) throw this.#error;
    } finally {
      if (!this.#done) this.#cancel();
      await this.#ended;
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
