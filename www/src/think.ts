// Thinking models put their thoughts between <think> and </think> before the answer.

const OPEN = "<think>";
const CLOSE = "</think>";

/** Splits a streamed answer into thoughts and content. */
export class ThinkSplitter {
  private state: "start" | "thinking" | "content" = "start";
  private held = "";

  constructor(private readonly onThought: (text: string) => void, private readonly onContent: (text: string) => void) {}

  push(delta: string): void {
    this.held += delta;
    if (this.state === "start") {
      const text = this.held.trimStart();
      if (text.length < OPEN.length && OPEN.startsWith(text)) return;
      this.state = text.startsWith(OPEN) ? "thinking" : "content";
      this.held = this.state === "thinking" ? text.slice(OPEN.length).trimStart() : this.held;
    }
    if (this.state === "thinking") {
      const end = this.held.indexOf(CLOSE);
      if (end < 0) {
        const keep = partialSuffix(this.held, CLOSE);
        this.emit(this.onThought, this.held.slice(0, this.held.length - keep));
        this.held = this.held.slice(this.held.length - keep);
        return;
      }
      this.emit(this.onThought, this.held.slice(0, end));
      this.held = this.held.slice(end + CLOSE.length);
      this.state = "content";
      this.trim = true;
    }
    // The blank lines between thought and answer belong to neither.
    const text = this.trim ? this.held.trimStart() : this.held;
    this.held = "";
    if (text) this.trim = false;
    this.emit(this.onContent, text);
  }

  finish(): void {
    if (this.held) this.emit(this.state === "thinking" ? this.onThought : this.onContent, this.held);
    this.held = "";
  }

  private trim = false;

  private emit(to: (text: string) => void, text: string): void {
    if (text) to(text);
  }
}

/** How many characters at the end of `text` may be the beginning of `mark`. */
function partialSuffix(text: string, mark: string): number {
  for (let n = Math.min(mark.length - 1, text.length); n > 0; n--) if (text.endsWith(mark.slice(0, n))) return n;
  return 0;
}
