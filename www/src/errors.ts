// What a visitor is told: one sentence for each code, and what can be done next.

import { QwenletError } from "qwenlet";

/** What a button under a message does. */
export type Action = "retry" | "regenerate" | "choose" | "cpu" | "new-chat" | "drop-oldest" | "reload" | "stored" | "settings" | "edit";

export interface Explained {
  code: string;
  title: string;
  advice: string;
  actions: Action[];
  /** The technical message. */
  detail: string;
}

type Entry = [title: string, advice: string, ...actions: Action[]];

const LOADING: Record<string, Entry> = {
  "invalid-argument": ["That cannot be loaded", "Check the address or choose another model.", "choose"],
  "invalid-gguf": ["This is not a GGUF model, or it is damaged", "Download the file again or choose another one.", "retry", "choose"],
  "truncated-file": ["The file ends too early", "It was not downloaded completely. Get the whole file and try again.", "retry", "choose"],
  "unsupported-architecture": ["This kind of model does not run here yet", "Qwen1.5, Qwen2, Qwen2.5 and Qwen3 models do.", "choose"],
  "unsupported-quantization": ["The weights are in a format that does not run here", "Q8_0 or Q4_K_M versions of a model do.", "choose"],
  "invalid-model": ["The file's description of the model contradicts itself", "Another version of the model may be fine.", "choose"],
  tokenizer: ["The file's vocabulary cannot be used", "Another version of the model may be fine.", "choose"],
  template: ["The file's chat template cannot be used", "Another version of the model may be fine.", "choose"],
  network: ["The connection failed or broke off", "Check that you are online, then try again.", "retry", "choose"],
  "http-status": ["The server did not give out the file", "The address may be wrong, or the file was moved.", "retry", "choose"],
  "file-changed": ["The file on the server changed while it was downloaded", "Load it again from its start.", "retry", "choose"],
  integrity: ["This is not the file that it should be", "It was changed on the way, or the server has another one. Try again.", "retry", "choose"],
  "file-read": ["The file could not be read", "It may have been moved or changed. Choose it again.", "choose"],
  cache: ["The browser's storage failed", "Try again, or delete stored models to start afresh.", "retry", "stored"],
  "quota-exceeded": ["There is not enough storage for this model", "Delete a stored model or free disk space, then try again.", "stored", "retry"],
  "no-webgpu": ["This browser offers no usable graphics processor", "The model can run on the processor instead.", "cpu", "choose"],
  "device-lost": ["The graphics processor stopped working", "Load the model again, or run it on the processor.", "retry", "cpu"],
  gpu: ["The graphics processor reported a problem", "The model may be too large for it. Run it on the processor, or choose a smaller one.", "cpu", "choose"],
  "out-of-memory": ["There is not enough memory for this model", "Close other tabs or choose a smaller model.", "retry", "choose"],
  unloaded: ["The model is no longer loaded", "Load it again to go on.", "retry"],
  internal: ["Something went wrong inside qwenlet", "Try again. If it stays, reload the page.", "retry", "reload"],
};

const ANSWERING: Record<string, Entry> = {
  "invalid-argument": ["A setting is not usable", "Check the settings and try again.", "settings", "regenerate"],
  template: ["The model's chat template refused this conversation", "Change the instructions, or start a new chat.", "settings", "new-chat"],
  "context-full": ["This conversation is too long for the model", "Leave out its oldest part, or start a new chat.", "drop-oldest", "new-chat"],
  "device-lost": ["The graphics processor stopped working", "Your conversation is safe. Load the model again to go on.", "retry", "cpu"],
  gpu: ["The graphics processor reported a problem", "Your conversation is safe. Load the model again, or run it on the processor.", "retry", "cpu"],
  "out-of-memory": ["The device ran out of memory", "Your conversation is safe. Load the model again to go on.", "retry", "choose"],
  unloaded: ["The model is no longer loaded", "Your conversation is safe. Load the model again to go on.", "retry"],
  internal: ["Something went wrong inside qwenlet", "Your conversation is safe. Load the model again to go on.", "retry", "reload"],
};

/** Of a question that does not fit where all before it is left out. */
const ANSWERING_ONE: Record<string, Entry> = {
  "context-full": ["This message is too long for the model", "Make it shorter, or set a longer context in the settings and load the model again.", "edit", "settings"],
};

export const ACTION_LABELS: Record<Action, string> = {
  retry: "Load again",
  regenerate: "Try again",
  choose: "Choose a model",
  cpu: "Run on the processor",
  "new-chat": "New chat",
  "drop-oldest": "Leave out the oldest",
  reload: "Reload the page",
  stored: "Stored models",
  settings: "Open settings",
  edit: "Edit the message",
};

export function codeOf(error: unknown): string {
  return error instanceof QwenletError ? error.code : "internal";
}

export function explain(error: unknown, during: "loading" | "answering" | "answering-one"): Explained {
  const code = codeOf(error);
  const table = { ...LOADING, ...(during === "loading" ? {} : ANSWERING), ...(during === "answering-one" ? ANSWERING_ONE : {}) };
  const [title, advice, ...actions] = table[code] ?? LOADING["internal"]!;
  const detail = error instanceof Error ? error.message : String(error);
  return { code, title, advice: adviceFor(code, detail) ?? advice, actions, detail };
}

/** A closer advice where the message or the browser knows more. */
function adviceFor(code: string, detail: string): string | undefined {
  if (code === "network" && !navigator.onLine) return "This device is offline. Stored models still load.";
  if (code !== "http-status") return undefined;
  const status = /\b([45]\d\d)\b/.exec(detail)?.[1];
  if (status === "404") return "There is no file at this address (404). Check its spelling, or choose another model.";
  if (status === "401" || status === "403") return `The server wants a sign-in or refuses access (${status}). Download the file there and drop it here.`;
  if (status === "429") return "The server asks to wait (429). Try again in a few minutes.";
  if (status?.startsWith("5")) return `The server has a problem (${status}). Try again in a moment.`;
  return undefined;
}
