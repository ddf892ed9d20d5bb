// What is kept on this device between visits: the conversation, the settings, which model was last used.
//
// A conversation belongs to one tab at a time (a Web Lock says which), so that two tabs never overwrite each other's.

export interface Failure {
  code: string;
  title: string;
  advice: string;
  detail: string;
}

export interface Message {
  role: "user" | "assistant";
  content: string;
  /** What the model thought before it answered. */
  reasoning?: string;
  /** How an answer ended, where it did not simply end. */
  end?: "stopped" | "length" | "failed";
  failure?: Failure;
  stats?: { tokens: number; tokensPerSecond: number; firstTokenSeconds: number; model: string };
}

export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  presence_penalty?: number;
  max_tokens?: number;
  seed?: number;
}

export type BackendWish = "auto" | "webgpu" | "cpu";

export interface Settings {
  system: string;
  thinking: boolean;
  sampling: Sampling;
  backend: BackendWish;
  contextLength?: number;
}

/** What was used last: a model by its id in the cache, which can be loaded again without asking, the demo, or none by choice. */
export type LastModel = { cacheId: string; label: string } | "demo" | "none";

export const DEFAULTS: Settings = { system: "", thinking: true, sampling: {}, backend: "auto" };

const CHAT = "qwenlet.chat.";
const SETTINGS = "qwenlet.settings";
const MODEL = "qwenlet.model";
const THEME = "qwenlet.theme";

function read<T>(key: string): T | undefined {
  try {
    const text = localStorage.getItem(key);
    return text === null ? undefined : (JSON.parse(text) as T);
  } catch (error) {
    console.warn(`qwenlet: ${key} could not be read`, error);
    return undefined;
  }
}

/** Whether it was kept; storage can be full or switched off. */
function write(key: string, value: unknown): boolean {
  try {
    if (value === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch (error) {
    console.warn(`qwenlet: ${key} could not be kept`, error);
    return false;
  }
}

export const loadSettings = (): Settings => ({ ...DEFAULTS, ...read<Partial<Settings>>(SETTINGS) });
export const saveSettings = (settings: Settings): boolean => write(SETTINGS, settings);
export const loadModel = (): LastModel | undefined => read<LastModel>(MODEL);
export const saveModel = (model: LastModel | undefined): boolean => write(MODEL, model);
export const loadTheme = (): "light" | "dark" | undefined => read(THEME);
export const saveTheme = (theme: "light" | "dark"): boolean => write(THEME, theme);

function chatKeys(): string[] {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(CHAT));
  } catch (error) {
    console.warn("qwenlet: storage is switched off", error);
    return [];
  }
}

interface Stored {
  updated: number;
  messages: Message[];
}

/** The conversation of this tab. */
export class ChatStore {
  private constructor(private readonly key: string, readonly messages: Message[]) {}

  /** The last conversation that no other tab has open, or a new one. */
  static async open(): Promise<ChatStore> {
    const stored = chatKeys().map((key) => ({ key, chat: read<Stored>(key) })).sort((a, b) => (b.chat?.updated ?? 0) - (a.chat?.updated ?? 0));
    for (const { key, chat } of stored) {
      if (chat && Array.isArray(chat.messages) && (await hold(key))) return new ChatStore(key, chat.messages);
    }
    const key = CHAT + crypto.getRandomValues(new Uint32Array(2)).join("-"); // randomUUID wants a secure context
    await hold(key);
    return new ChatStore(key, []);
  }

  /** Whether it was kept. */
  save(): boolean {
    const stored: Stored = { updated: Date.now(), messages: this.messages };
    return write(this.key, this.messages.length ? stored : undefined);
  }
}

/** Takes the lock for as long as this page lives. */
async function hold(name: string): Promise<boolean> {
  if (!navigator.locks) return true; // not a secure context: one tab is assumed
  return new Promise((resolve) => {
    void navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock ? new Promise<never>(() => {}) : undefined;
    });
  });
}
