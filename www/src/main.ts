// The chat page: ties models, session, conversation, settings and storage together.

import { Cache, Engine, type CachedModel } from "qwenlet";
import { choiceOf } from "./catalogue.js";
import { ChatSheet } from "./chats.js";
import { Conversation, WELCOME } from "./conversation.js";
import { demoChoice, demoWelcome, RealModels } from "./demo.js";
import { announce, button, byId } from "./dom.js";
import { ACTION_LABELS, codeOf, explain, type Action } from "./errors.js";
import * as format from "./format.js";
import { clearNotices, LoadCard, showFailure, showNotice } from "./loading.js";
import { fromFiles, Models } from "./models.js";
import { registerServiceWorker } from "./offline.js";
import { Session, type Choice } from "./session.js";
import { SettingsSheet } from "./settings.js";
import { Chat, loadModel, loadSettings, loadTheme, saveModel, saveSettings, saveTheme, type Message } from "./store.js";
import * as turns from "./turns.js";

const session = new Session();
const settings = loadSettings();
/** The conversation that is shown. */
let chat = await Chat.open();
/** Those that this tab keeps from others: that one, one whose answer is just ending, and what storage had no room for. */
const held = new Set([chat]);
let writing: Chat | undefined;
let lastChoice: Choice | undefined;
let warnedAboutStorage = false;
/** The message was sent while the model was still loading, or another conversation's answer ending. */
let sendWhenReady = false;
/** The last message is being edited; what else stood in the field. */
let editing: { draft: string } | undefined;

const message = byId<HTMLTextAreaElement>("message");
const realModels = new RealModels((choice) => void load(choice), () => showModels(true));
const conversation = new Conversation({
  welcome: () => (lastChoice?.demo ? demoWelcome(realModels.node) : WELCOME),
  onIdea: (text) => {
    message.value = text;
    message.focus();
    void send();
  },
  onRegenerate: () => void regenerate(),
  onEdit: () => edit(),
  version: () => turns.version(chat.messages),
  onVersion: (by) => {
    if (session.isAnswering) return;
    stopEditing();
    turns.step(chat.messages, by);
    save(chat);
    conversation.show(chat.messages);
  },
  actions: (ended) => explainedActions(ended).map((action, i) => button(ACTION_LABELS[action], () => act(action), i === 0 ? "primary" : "")),
});
const sheet = new SettingsSheet(settings, () => saveSettings(settings));
const chats = new ChatSheet({ held: () => [...held], shown: () => chat, onOpen: openChat, onDelete: deleteChat });
const models = new Models(
  {
    onChoose: (choice) => void load(choice),
    onUnload: () => void unload(),
    onBackend: (backend) => {
      settings.backend = backend;
      saveSettings(settings);
      if (session.engine) byId("run-note").textContent = "Used the next time a model is loaded.";
    },
  },
  () => settings,
);

// --- Views

function showModels(open: boolean): void {
  byId("models").hidden = !open;
  byId("chat").hidden = open;
  byId("model-button").setAttribute("aria-expanded", String(open));
  if (open) {
    void models.refresh(session.engine?.info, session.choice);
    byId("models").scrollTop = 0;
  } else {
    conversation.toEnd();
  }
}

function refresh(status?: string): void {
  const { engine } = session;
  const state = session.isLoading ? "loading" : engine ? "ready" : "none";
  byId("model-dot").dataset["state"] = state;
  byId("model-name").textContent = session.isLoading ? (lastChoice?.label ?? "") : engine ? session.label : "Choose a model";
  byId("stop").hidden = !session.isAnswering;
  byId("send").hidden = session.isAnswering;
  byId<HTMLButtonElement>("send").disabled = !(engine || session.isLoading) || message.value.trim() === "";
  byId("toy").hidden = !(engine && session.choice?.demo && chat.messages.length > 0);
  const waits = sendWhenReady ? (session.isLoading ? "Sent as soon as the model is ready" : "Sent as soon as the last answer has stopped") : undefined;
  const where = engine && (engine.info.backend === "webgpu" ? `On the GPU (${engine.info.adapter})` : `On the processor (${engine.info.adapter})`);
  byId("status").textContent = waits ?? status ?? where ?? (session.isLoading ? "" : "No model is loaded");
  byId("status").title = engine?.info.why ?? "";
}

/** The message field gets the focus, unless the visitor is elsewhere, or it would bring up a keyboard on the screen. */
function offerMessage(): void {
  const free = document.activeElement === null || document.activeElement === document.body;
  if (free && matchMedia("(pointer: fine)").matches) message.focus();
}

function save(which: Chat): boolean {
  const kept = which.save();
  if (!kept && !warnedAboutStorage) {
    const text = "This browser does not keep the conversation: its storage is full or switched off. It lasts until the page is closed, and can be exported.";
    showNotice(text, ["Chats", () => void chats.open()]);
  }
  warnedAboutStorage = !kept;
  return kept;
}

// --- Conversations

/** Shows another conversation. An answer under way is stopped, and ends in the one that it belongs to. */
function enter(next: Chat): void {
  session.stop();
  sendWhenReady = false;
  stopEditing();
  const left = chat;
  chat = next;
  held.add(chat);
  chat.show();
  if (left !== writing) leave(left);
  showModels(false);
  conversation.show(chat.messages);
  refresh();
}

function leave(left: Chat): void {
  if (left === chat || !save(left)) return;
  held.delete(left);
  left.close();
}

/** Gives false where another tab has it open. */
async function openChat(key: string): Promise<boolean> {
  if (key === chat.key) {
    showModels(false);
    return true;
  }
  const next = [...held].find((one) => one.key === key) ?? (await Chat.at(key));
  if (next) enter(next);
  return next !== undefined;
}

/** Gives false where another tab has it open. */
async function deleteChat(key: string): Promise<boolean> {
  const gone = [...held].find((one) => one.key === key) ?? (await Chat.at(key));
  if (!gone) return false;
  gone.delete();
  if (gone === chat) enter(await Chat.fresh());
  else if (gone !== writing) leave(gone);
  return true;
}

async function newChat(): Promise<void> {
  const left = chat;
  if (left.messages.length > 0) enter(await Chat.fresh());
  showModels(false);
  message.focus();
  if (left === chat) return;
  const back = showNotice("The last chat is kept under Chats.", ["Go back", () => void openChat(left.key)]);
  setTimeout(() => back.remove(), 12_000);
}

// --- Loading

async function load(choice: Choice): Promise<void> {
  lastChoice = choice;
  showModels(false);
  clearNotices();
  if (chat.messages.length === 0) conversation.show(chat.messages); // how it begins depends on the model
  const card = new LoadCard(choice.label, () => session.cancelLoad());
  const done = session.load(choice, settings, {
    onProgress: (progress) => card.update(progress),
    onWarning: (warning) => void warn(choice, warning.code, warning.message),
  });
  refresh();
  try {
    const { info } = await done;
    card.close();
    saveModel(choice.demo ? "demo" : info.cacheId ? { cacheId: info.cacheId, label: choice.label } : undefined);
    announce(`${choice.label} is ready.`);
    offerMessage();
  } catch (error) {
    card.close();
    if (choice !== lastChoice) return; // another choice took over
    if (codeOf(error) !== "aborted") void offerWays(choice, codeOf(error), showFailure(explain(error, "loading"), act));
    else if (chat.messages.length === 0) showModels(true);
    sendWhenReady = false;
  } finally {
    refresh();
  }
  if (choice !== lastChoice || !session.engine) return;
  if (sendWhenReady) await send();
  if (choice.demo) void realModels.judge(settings);
}

/** Where there is too little room, adds what would fit to the ways out. */
async function offerWays(choice: Choice, code: string, add: (label: string, run: () => void) => void): Promise<void> {
  if (code !== "out-of-memory" && code !== "quota-exceeded") return;
  try {
    const contextLength = choice.contextLength ?? settings.contextLength;
    const { suggestions } = await Engine.fits(choice.source, { backend: choice.backend ?? settings.backend, ...(contextLength ? { contextLength } : {}) });
    for (const suggestion of suggestions) {
      const way = choiceOf(suggestion, choice);
      if (way && choice === lastChoice) add(way.how, () => void load(way));
    }
  } catch (error) {
    console.warn("qwenlet: what would fit is unknown", error);
  }
}

/** What a load does all the same. Nothing that is stored goes without the visitor's word. */
async function warn(choice: Choice, code: string, detail: string): Promise<void> {
  if (code === "cache") return void showNotice(`This model is not kept on this device: ${detail}`);
  if (code !== "quota-exceeded" || choice.evict) return void showNotice(`${detail}.`);
  const stored = await Cache.list().catch(() => []); // without a list there is nothing to delete
  const evict: [string, () => void] = ["Delete the least used and keep this one", () => void load({ ...choice, evict: true })];
  showNotice("There is not enough storage to keep this model. It runs now, and is downloaded again next time.",
    ...(stored.length > 0 ? [evict] : []), ["Stored models", () => showModels(true)]);
}

async function unload(): Promise<void> {
  try {
    await session.unload();
  } catch (error) {
    console.warn("qwenlet: unload", error);
  }
  saveModel("none");
  refresh();
  showModels(true);
}

/** Goes on with the model that the visitor had. Who never chose one and has none stored gets the demo. */
async function begin(): Promise<void> {
  const last = loadModel();
  if (last === "demo") return load(demoChoice());
  const stored = last === "none" ? [] : await storedModels();
  if (last === undefined && stored.length === 0) return load(demoChoice());
  // No request leaves for it.
  if (typeof last === "object" && stored.some(({ id }) => id === last.cacheId)) return load({ source: { cached: last.cacheId }, label: last.label });
  if (chat.messages.length === 0) showModels(true);
}

async function storedModels(): Promise<CachedModel[]> {
  try {
    return (await Cache.list()).filter(({ complete }) => complete);
  } catch (error) {
    console.warn("qwenlet: the cache cannot be read", error);
    return [];
  }
}

// --- Answering

async function send(): Promise<void> {
  const text = message.value.trim();
  sendWhenReady = false;
  if (!text || (session.isAnswering && writing === chat)) return;
  if (!session.engine || session.isAnswering) {
    sendWhenReady = session.isLoading || session.isAnswering;
    if (sendWhenReady) refresh();
    else showModels(true);
    return;
  }
  if (!editing || !turns.renew(chat.messages, text)) chat.messages.push({ role: "user", content: text });
  if (editing) stopEditing();
  else write("");
  conversation.show(chat.messages);
  await answer();
}

async function regenerate(): Promise<void> {
  if (session.isAnswering) return;
  if (!session.engine) {
    if (lastChoice && !session.isLoading) await load(lastChoice);
    if (!session.engine) return;
  }
  if (!turns.renew(chat.messages)) return;
  stopEditing();
  conversation.show(chat.messages);
  await answer();
}

/** Takes the last message into the field. What is sent then stands in its place, and the turn as it was is a version of it. */
function edit(): void {
  const asked = chat.messages.filter(({ role }) => role === "user").at(-1);
  if (!asked || session.isAnswering) return;
  editing ??= { draft: message.value };
  byId("editing").hidden = false;
  write(asked.content);
  message.focus();
  announce("Editing your last message.");
}

/** The field as it was before. */
function stopEditing(): void {
  if (!editing) return;
  const { draft } = editing;
  editing = undefined;
  byId("editing").hidden = true;
  write(draft);
}

/** Puts a text into the message field. */
function write(text: string): void {
  message.value = text;
  message.dispatchEvent(new Event("input"));
}

async function answer(): Promise<void> {
  const current = chat;
  const history = [...current.messages];
  const reply: Message = { role: "assistant", content: "" };
  current.messages.push(reply);
  writing = current;
  save(current);
  const live = conversation.live(reply);
  const saving = setInterval(() => save(current), 2000);
  let shown = 0;
  const done = session.answer(history, reply, settings, current.dropOldest, live, (tokens, perSecond) => {
    if (performance.now() - shown < 100) return;
    shown = performance.now();
    if (current === chat) refresh(`${format.rate(perSecond)} tok/s · ${format.count(tokens)} tokens`);
  });
  refresh("Reading the conversation");
  await done;
  clearInterval(saving);
  if (reply.failure && ["device-lost", "gpu", "out-of-memory", "unloaded", "internal"].includes(reply.failure.code)) await drop();
  writing = undefined;
  const nothing = !reply.content && (reply.end === "stopped" || reply.end === "failed");
  const takenBack = nothing && turns.takeBack(current.messages);
  save(current);
  leave(current);
  // Who left meanwhile and came back sees it as it was then.
  if (current === chat && (!live.finish() || takenBack)) conversation.show(chat.messages);
  if (current === chat && takenBack && reply.failure) showFailure({ ...reply.failure, actions: explainedActions(reply) }, act);
  refresh();
  offerMessage();
  if (sendWhenReady && session.engine) await send();
}

/** Gives up an engine that a failure left unusable. */
async function drop(): Promise<void> {
  try {
    await session.unload();
  } catch (error) {
    console.warn("qwenlet: unload", error);
  }
}

function explainedActions(failed: Message): Action[] {
  const code = failed.failure?.code ?? "internal";
  // What cannot help is not offered.
  if (code === "context-full" || failed.end === "full") {
    const droppable = !chat.dropOldest && turns.count(chat.messages) > 1;
    if (droppable) return ["drop-oldest", "new-chat"];
    return failed.end === "full" ? ["settings", "new-chat"] : ["edit", "settings"];
  }
  if (code === "invalid-argument" || code === "template") return ["settings", "regenerate"];
  return session.engine ? ["regenerate"] : code === "gpu" || code === "device-lost" ? ["regenerate", "cpu"] : ["regenerate"];
}

function act(action: Action): void {
  switch (action) {
    case "retry":
      if (lastChoice) void load(lastChoice);
      else showModels(true);
      break;
    case "regenerate":
      void regenerate();
      break;
    case "drop-oldest":
      if (session.isAnswering) break;
      chat.dropOldest = true;
      void regenerate();
      break;
    case "edit":
      edit();
      break;
    case "choose":
    case "stored":
      showModels(true);
      break;
    case "cpu":
      settings.backend = "cpu";
      saveSettings(settings);
      byId("backends").querySelector<HTMLInputElement>('[value="cpu"]')!.checked = true;
      if (lastChoice) void load(lastChoice);
      break;
    case "new-chat":
      void newChat();
      break;
    case "settings":
      sheet.open(session.engine?.info.supportsThinking ?? false);
      break;
    case "reload":
      location.reload();
  }
}

// --- Controls

byId("composer").onsubmit = (event) => {
  event.preventDefault();
  void send();
};
message.oninput = () => {
  sendWhenReady = false;
  refresh();
};
/** Whether a key belongs to an input method. In Safari the one that ends a composition comes after its end, with this code. */
const composes = (event: KeyboardEvent): boolean => event.isComposing || event.keyCode === 229;
message.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
  event.preventDefault();
  void send();
};
byId("edit-cancel").onclick = () => {
  stopEditing();
  message.focus();
};
byId("stop").onclick = () => session.stop();
byId("skip").onclick = (event) => {
  event.preventDefault();
  (byId("models").hidden === false ? byId("models-title") : message).focus();
};
byId("new-chat").onclick = () => void newChat();
byId("chats-button").onclick = () => void chats.open();
byId("settings-button").onclick = () => sheet.open(session.engine?.info.supportsThinking ?? false);
byId("toy-models").onclick = () => showModels(true);
byId("model-button").onclick = () => showModels(byId("models").hidden !== false);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || composes(event) || document.querySelector("dialog[open]")) return;
  if (session.isAnswering) session.stop();
  else if (editing) stopEditing();
  else if (byId("models").hidden === false && (session.engine || session.isLoading)) showModels(false);
});
addEventListener("pagehide", () => held.forEach((one) => one.save()));

function applyTheme(theme: "light" | "dark"): void {
  document.documentElement.dataset["theme"] = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
}
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = (): "light" | "dark" => (prefersDark.matches ? "dark" : "light");
applyTheme(loadTheme() ?? systemTheme());
prefersDark.onchange = () => applyTheme(loadTheme() ?? systemTheme());
byId("theme").onclick = () => {
  const theme = document.documentElement.dataset["theme"] === "dark" ? "light" : "dark";
  applyTheme(theme);
  saveTheme(theme);
};

// Files may be dropped anywhere. Counting tells leaving the page from crossing its parts.
let over = 0;
const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
const showDrop = (n: number): void => {
  over = Math.max(0, n);
  byId("drop").hidden = over === 0;
};
addEventListener("dragenter", (event) => hasFiles(event) && showDrop(over + 1));
addEventListener("dragleave", (event) => hasFiles(event) && showDrop(over - 1));
addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  showDrop(0);
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length) void load(fromFiles(files));
});

// --- Start

chat.show();
conversation.show(chat.messages);
refresh();
await begin(); // before the page's files are fetched once more, to be kept
void registerServiceWorker((apply) => showNotice("A new version of this page is ready.", ["Reload", apply]));
