// What is kept on this device between visits: the conversations, the settings, which model was last used. What is kept
// for a tab alone: which conversation it shows, and a message not yet sent.
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
  end?: "stopped" | "length" | "full" | "failed";
  /** So many of the oldest turns the model was not shown, to make room. */
  leftOut?: number;
  failure?: Failure;
  /** Of a question: other versions of the turn that it begins. */
  earlier?: Message[][];
  later?: Message[][];
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
/** Of this tab, in the storage that a reload keeps. */
const SHOWN = "qwenlet.shown";
const DRAFT = "qwenlet.draft";

type Area = "localStorage" | "sessionStorage";

function read<T>(key: string, area: Area = "localStorage"): T | undefined {
  try {
    const text = window[area].getItem(key);
    return text === null ? undefined : (JSON.parse(text) as T);
  } catch (error) {
    console.warn(`qwenlet: ${key} could not be read`, error);
    return undefined;
  }
}

/** Whether it was kept; storage can be full or switched off. */
function write(key: string, value: unknown, area: Area = "localStorage"): boolean {
  try {
    if (value === undefined) window[area].removeItem(key);
    else window[area].setItem(key, JSON.stringify(value));
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
export const loadDraft = (): string => read<string>(DRAFT, "sessionStorage") ?? "";
export const saveDraft = (text: string): boolean => write(DRAFT, text || undefined, "sessionStorage");

export interface StoredChat {
  /** When something was last said, milliseconds since 1970. */
  updated: number;
  messages: Message[];
  /** Where it does not fit, its oldest turns are left out: the visitor has agreed. */
  dropOldest?: boolean;
}

/** How long a page that is being left may take to let go of its conversation; milliseconds. */
const LEAVING = 1000;

/** A conversation that this tab has open. */
export class Chat {
  private saved: string;
  private deleted = false;

  private constructor(private name: string, private readonly stored: StoredChat, private readonly release: () => void) {
    this.saved = said(stored);
  }

  /** The one that this tab showed last; in a new tab the last of all. A new one where another tab has it open. */
  static async open(): Promise<Chat> {
    const shown = read<string>(SHOWN, "sessionStorage");
    const chat = shown === undefined ? await Chat.at(storedChats()[0]?.key ?? newKey()) : await Chat.at(shown, LEAVING);
    return chat ?? Chat.fresh();
  }

  /** A new one, at once: no other tab knows its key, so that the lock can follow. */
  static fresh(): Chat {
    const key = newKey();
    const held = hold(key, 0);
    return new Chat(key, { updated: 0, messages: [] }, () => void held.then((release) => release?.()));
  }

  /** Undefined where another tab has it open, and does not let go of it within `wait` milliseconds. */
  static async at(key: string, wait = 0): Promise<Chat | undefined> {
    const release = await hold(key, wait);
    return release && new Chat(key, readChat(key) ?? { updated: 0, messages: [] }, release);
  }

  get key(): string {
    return this.name;
  }

  get messages(): Message[] {
    return this.stored.messages;
  }

  get updated(): number {
    return this.stored.updated;
  }

  get dropOldest(): boolean {
    return this.stored.dropOldest === true;
  }

  set dropOldest(value: boolean) {
    this.stored.dropOldest = value;
  }

  content(): StoredChat {
    return { ...this.stored, updated: this.updated || Date.now() };
  }

  /** Makes it the one that a reload of this tab shows. */
  show(): void {
    write(SHOWN, this.name, "sessionStorage");
  }

  /** Whether it is kept. */
  save(): boolean {
    const now = said(this.stored);
    if (this.deleted || now === this.saved) return true;
    // Without locks another tab can have gone on with it: each then has its own.
    const other = navigator.locks ? undefined : readChat(this.name);
    if (other && other.updated !== this.updated) {
      this.name = newKey();
      this.show();
    }
    const before = this.updated;
    this.stored.updated = Date.now();
    const kept = write(this.name, this.stored);
    if (kept) this.saved = now;
    else this.stored.updated = before;
    return kept;
  }

  delete(): void {
    this.deleted = true;
    write(this.name, undefined);
  }

  /** Lets other tabs have it. */
  close(): void {
    this.release();
  }
}

/** All but the time, to tell whether anything changed. */
function said({ updated: _, ...rest }: StoredChat): string {
  return JSON.stringify(rest);
}

function newKey(): string {
  return CHAT + crypto.getRandomValues(new Uint32Array(2)).join("-"); // randomUUID wants a secure context
}

function readChat(key: string): StoredChat | undefined {
  const chat = read<StoredChat>(key);
  return chat && Array.isArray(chat.messages) ? { ...chat, updated: chat.updated ?? 0 } : undefined;
}

/** Every conversation that is kept on this device, the last first. */
export function storedChats(): (StoredChat & { key: string })[] {
  let keys: string[] = [];
  try {
    keys = Object.keys(localStorage).filter((key) => key.startsWith(CHAT));
  } catch (error) {
    console.warn("qwenlet: storage is switched off", error);
  }
  const chats = keys.flatMap((key) => {
    const chat = readChat(key);
    return chat ? [{ ...chat, key }] : [];
  });
  return chats.sort((a, b) => b.updated - a.updated);
}

/** Keeps a conversation that no tab has open; whether there was room. */
export function addChat(chat: StoredChat): boolean {
  return write(newKey(), chat);
}

/** The keys of conversations that some tab has open. */
export async function openChats(): Promise<Set<string>> {
  try {
    const { held = [] } = await navigator.locks.query();
    return new Set(held.map(({ name }) => name ?? ""));
  } catch {
    return new Set(); // they are found out when they are opened
  }
}

/** Takes the lock, for which it waits so many milliseconds; gives what releases it, undefined where another page has it. */
async function hold(name: string, wait: number): Promise<(() => void) | undefined> {
  if (!navigator.locks) return () => {}; // not a secure context
  return new Promise((resolve) => {
    const options = wait ? { signal: AbortSignal.timeout(wait) } : { ifAvailable: true };
    const held = (lock: Lock | null): Promise<void> | undefined => lock ? new Promise((release) => resolve(release)) : undefined;
    navigator.locks.request(name, options, held).then(
      () => resolve(undefined),
      // Where site data is blocked there are no locks, nor anything that another tab could overwrite.
      (error: unknown) => resolve(error instanceof DOMException && error.name === "TimeoutError" ? undefined : () => {}),
    );
  });
}
