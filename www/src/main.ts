// The chat page: ties models, session, conversation, settings and storage together.

import { Cache, Engine, QwenletError, type CachedModel } from "qwenlet";
import { choiceOf } from "./catalogue.js";
import { ChatSheet } from "./chats.js";
import { Composer, composes, hasKeyboard } from "./composer.js";
import { Conversation, WELCOME } from "./conversation.js";
import { takeDrops } from "./drop.js";
import { demoChoice, demoWelcome, RealModels } from "./demo.js";
import { announce, button, byId } from "./dom.js";
import { ACTION_LABELS, codeOf, explain, type Action } from "./errors.js";
import * as format from "./format.js";
import { clearNotices, LoadCard, showFailure, showNotice } from "./loading.js";
import { fromFiles, Models } from "./models.js";
import { registerServiceWorker } from "./offline.js";
import { Session, type Choice } from "./session.js";
import { SettingsSheet } from "./settings.js";
import { Chat, loadModel, loadSettings, saveModel, saveSettings, type BackendWish, type Message } from "./store.js";
import { followTheme } from "./theme.js";
import * as turns from "./turns.js";

followTheme(); // before anything is waited for

const session = new Session();
const settings = loadSettings();
/** The conversation that is shown. */
let chat = await Chat.open();
/** Those that this tab keeps from others: that one, one whose answer is just ending, and what storage had no room for. */
const held = new Set([chat]);
let writing: Chat | undefined;
let lastChoice: Choice | undefined;
/** Reads the header of what may take the place of what runs. */
let looking: AbortController | undefined;
let warnedAboutStorage = false;
/**
 * What was asked for while the model was still loading, or another conversation's answer ending: to send the message, or
 * to answer a conversation anew while this is its last message.
 */
let waiting: "send" | { chat: Chat; last: Message | undefined } | undefined;

const composer = new Composer(() => void send(), () => {
  if (waiting === "send") waiting = undefined;
  refresh();
});
const realModels = new RealModels((choice) => void load(choice), () => showModels(true));
const conversation = new Conversation({
  welcome: () => (lastChoice?.demo ? demoWelcome(realModels.node) : WELCOME),
  onIdea: (text) => {
    composer.write(text);
    composer.focus();
    void send();
  },
  onRegenerate: () => void regenerate(),
  onEdit: () => edit(),
  version: () => turns.version(chat.messages),
  onVersion: (by) => {
    if (session.isAnswering) return;
    waiting = undefined;
    composer.stopEditing();
    turns.step(chat.messages, by);
    save(chat);
    refresh();
    conversation.show(chat.messages);
  },
  actions: (ended) => explainedActions(ended).map((action, i) => button(ACTION_LABELS[action], () => act(action), i === 0 ? "primary" : "")),
});
const sheet = new SettingsSheet(settings, () => saveSettings(settings));
const chats = new ChatSheet({ held: () => [...held], shown: () => chat, onOpen: openChat, onDelete: deleteChat });
const models = new Models(
  {
    onChoose: (choice) => void load(choice),
    onFiles: chooseFiles,
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
  const leaves = byId(open ? "chat" : "models").contains(document.activeElement);
  byId("models").hidden = !open;
  byId("chat").hidden = open;
  byId("model-button").setAttribute("aria-expanded", String(open));
  if (open) {
    void models.refresh(session.engine?.info, session.choice);
    byId("models").scrollTop = 0;
  } else {
    conversation.toEnd();
  }
  // What had the focus is hidden.
  if (leaves) (open ? byId("models-title") : hasKeyboard() ? byId("message") : byId("scroll")).focus({ preventScroll: true });
}

function refresh(status?: string): void {
  const { engine } = session;
  const state = session.isLoading || looking ? "loading" : engine ? "ready" : "none";
  byId("model-dot").dataset["state"] = state;
  byId("model-name").textContent = session.isLoading ? (lastChoice?.label ?? "") : engine ? session.label : "Choose a model";
  byId("stop").hidden = !session.isAnswering;
  byId("send").hidden = session.isAnswering;
  byId<HTMLButtonElement>("send").disabled = !(engine || session.isLoading) || composer.text === "";
  byId("toy").hidden = !(engine && session.choice?.demo && chat.messages.length > 0);
  const until = session.isLoading || looking ? "the model is ready" : "the last answer has stopped";
  const waits = waiting && `${waiting === "send" ? "Sent" : "Answered again"} as soon as ${until}`;
  const where = engine && (engine.info.backend === "webgpu" ? `On the GPU (${engine.info.adapter})` : `On the processor (${engine.info.adapter})`);
  byId("status").textContent = waits ?? status ?? where ?? (session.isLoading ? "" : "No model is loaded");
  byId("status").title = engine?.info.why ?? "";
}

/** The message field gets the focus, unless the visitor is elsewhere. */
function offerMessage(): void {
  const free = document.activeElement === null || document.activeElement === document.body;
  if (free && hasKeyboard()) composer.focus();
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
  waiting = undefined;
  composer.stopEditing();
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
  if (gone === chat) enter(Chat.fresh());
  else if (gone !== writing) leave(gone);
  return true;
}

function newChat(): void {
  const left = chat;
  if (left.messages.length > 0) enter(Chat.fresh());
  showModels(false);
  composer.focus();
  if (left === chat) return;
  const back = showNotice("The last chat is kept under Chats.", ["Go back", () => void openChat(left.key)]);
  setTimeout(() => back.remove(), 12_000);
}

// --- Loading

/** A file that cannot be a model changes nothing. */
function chooseFiles(files: File[]): void {
  const named = files.filter(({ name }) => /\.gguf$/i.test(name));
  if (named.length > 0) return void load(fromFiles(named));
  const text = "Only models can be loaded here: files whose name ends in .gguf.";
  if (byId("models").hidden) showNotice(text);
  else models.refuseFiles(text);
}

async function load(choice: Choice): Promise<void> {
  showModels(false);
  if (!(await mayReplace(choice))) return resume();
  const before = session.engine && session.choice;
  lastChoice = choice;
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
    if (choice !== lastChoice) return; // another choice took over
    if (codeOf(error) !== "aborted") fail(choice, error, before);
    else if (chat.messages.length === 0) showModels(true);
    waiting = undefined;
  } finally {
    card.close(); // after its button has lost the focus
    refresh();
  }
  if (choice !== lastChoice || !session.engine) return;
  await resume();
  if (choice.demo) void realModels.judge(settings);
}

/** What runs or loads goes on until the header of another model shows that it can take its place. */
async function mayReplace(choice: Choice): Promise<boolean> {
  looking?.abort();
  // Of these it is known.
  if (typeof choice.source === "string" || "cached" in choice.source || choice.demo) return true;
  const now = session.isLoading ? lastChoice : session.engine && session.choice;
  if (!now || now.demo) return true; // the demo is there again at once
  const abort = (looking = new AbortController());
  const notice = showNotice(`Looking at ${choice.label}.`, ["Cancel", () => abort.abort()]);
  refresh();
  try {
    const { fits, guess, why, problems } = await Engine.fits(choice.source, { ...wishesFor(choice), signal: abort.signal });
    if (!fits && !guess) throw new QwenletError(problems.some(({ limit }) => limit === "webgpu") ? "no-webgpu" : "out-of-memory", why);
    return !abort.signal.aborted;
  } catch (error) {
    if (!abort.signal.aborted) fail(choice, error);
    return false;
  } finally {
    notice.remove();
    if (looking === abort) looking = undefined;
    refresh();
  }
}

/** Says why a model is not loaded, and what else can be done; `before` is what was there until then. */
function fail(choice: Choice, error: unknown, before?: Choice): void {
  const add = showFailure(explain(error, "loading"), (action) => act(action, choice));
  if (before) add(`Back to ${before.label}`, () => void load(before));
  void offerWays(choice, codeOf(error), add);
}

function wishesFor(choice: Choice): { backend: BackendWish; contextLength?: number } {
  const contextLength = choice.contextLength ?? settings.contextLength;
  return { backend: choice.backend ?? settings.backend, ...(contextLength ? { contextLength } : {}) };
}

/** Where there is too little room, adds what would fit to the ways out. */
async function offerWays(choice: Choice, code: string, add: (label: string, run: () => void) => void): Promise<void> {
  if (code !== "out-of-memory" && code !== "quota-exceeded") return;
  try {
    const { suggestions } = await Engine.fits(choice.source, wishesFor(choice));
    for (const suggestion of suggestions) {
      const way = choiceOf(suggestion, choice);
      if (way) add(way.how, () => void load(way));
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
  looking?.abort();
  waiting = undefined;
  try {
    await session.unload();
  } catch (error) {
    console.warn("qwenlet: unload", error);
  }
  saveModel("none");
  refresh();
  showModels(true);
  byId("models-title").focus(); // the button is gone
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
  const { text } = composer;
  if (!text || (session.isAnswering && writing === chat)) return;
  waiting = isBusy() ? "send" : undefined;
  if (waiting) return refresh();
  if (!session.engine) return showModels(true);
  if (!composer.isEditing || !turns.renew(chat.messages, text)) chat.messages.push({ role: "user", content: text });
  composer.sent();
  conversation.show(chat.messages);
  await answer();
}

/** Where there is no model, the one that there was is loaded first. */
async function regenerate(): Promise<void> {
  if (session.isAnswering && writing === chat) return;
  const again = { chat, last: chat.messages.at(-1) };
  const choice = session.choice ?? lastChoice;
  waiting = isBusy() || (!session.engine && choice) ? again : undefined;
  if (isBusy()) return refresh();
  if (!session.engine) return choice ? load(choice) : showModels(true);
  if (!turns.renew(chat.messages)) return;
  composer.stopEditing();
  conversation.show(chat.messages);
  await answer();
}

/** Something comes to its end before a message can be answered. */
const isBusy = (): boolean => session.isLoading || session.isAnswering || looking !== undefined;

/** Does what was asked for meanwhile, where that is still possible and the conversation the same. */
async function resume(): Promise<void> {
  if (!waiting || isBusy()) return;
  const what = waiting;
  waiting = undefined;
  if (!session.engine) return refresh();
  if (what === "send") return send();
  if (what.chat === chat && what.last === chat.messages.at(-1)) return regenerate();
  refresh();
}

/** Takes the last message into the field. What is sent then stands in its place, and the turn as it was is a version of it. */
function edit(): void {
  const asked = chat.messages.filter(({ role }) => role === "user").at(-1);
  if (!asked || session.isAnswering) return;
  waiting = undefined;
  composer.edit(asked.content);
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
  await resume();
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

function act(action: Action, choice = session.choice ?? lastChoice): void {
  switch (action) {
    case "retry":
      if (choice) void load(choice);
      else showModels(true);
      break;
    case "regenerate":
      void regenerate();
      break;
    case "drop-oldest":
      if (session.isAnswering && writing === chat) break;
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
      if (choice) void load(choice);
      break;
    case "new-chat":
      newChat();
      break;
    case "settings":
      sheet.open(session.engine?.info.supportsThinking ?? false);
      break;
    case "reload":
      location.reload();
  }
}

// --- Controls

byId("stop").onclick = () => session.stop();
byId("skip").onclick = (event) => {
  event.preventDefault();
  (byId("models").hidden === false ? byId("models-title") : byId("message")).focus();
};
byId("new-chat").onclick = newChat;
byId("chats-button").onclick = () => void chats.open();
byId("settings-button").onclick = () => sheet.open(session.engine?.info.supportsThinking ?? false);
byId("toy-models").onclick = () => showModels(true);
byId("model-button").onclick = () => showModels(byId("models").hidden !== false);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || composes(event) || document.querySelector("dialog[open]")) return;
  if (session.isAnswering) session.stop();
  else if (composer.isEditing) composer.stopEditing();
  else if (byId("models").hidden === false && (session.engine || session.isLoading)) showModels(false);
});
addEventListener("pagehide", () => held.forEach((one) => one.save()));

takeDrops(chooseFiles);

// --- Start

chat.show();
conversation.show(chat.messages);
refresh();
await begin(); // before the page's files are fetched once more, to be kept
let update: HTMLElement | undefined;
void registerServiceWorker((text, reload) => {
  update?.remove();
  update = showNotice(text, ["Reload", reload]);
  update.classList.add("lasting"); // until then this page and what it loads may be of two versions
});
