// What the browser's storage has of a model, read and changed past the package.

import type { Page } from "@playwright/test";

/** The bytes of a model's first part; undefined: there is no such model. */
export async function storedBytes(page: Page, id: string): Promise<Buffer | undefined> {
  const base64 = await page.evaluate(async (id) => {
    const done = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const database = await done(indexedDB.open("qwenlet"));
    const record = await done(database.transaction("models").objectStore("models").get(id)) as { parts: { stored: number }[] } | undefined;
    const pieces = await done(database.transaction("chunks").objectStore("chunks").getAll(IDBKeyRange.bound([id, 0], [id, 0, []])));
    database.close();
    if (!record) return undefined;
    const reader = new FileReader();
    reader.readAsDataURL(new Blob(pieces as BlobPart[]).slice(0, record.parts[0]!.stored));
    await new Promise((resolve) => (reader.onload = resolve));
    return (reader.result as string).split(",")[1]!;
  }, id);
  return base64 === undefined ? undefined : Buffer.from(base64, "base64");
}

/** What kinds of values the pieces of a model are. */
export const storedForms = (page: Page, id: string): Promise<string[]> => page.evaluate(async (id) => {
  const done = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const database = await done(indexedDB.open("qwenlet"));
  const pieces = await done(database.transaction("chunks").objectStore("chunks").getAll(IDBKeyRange.bound([id, 0], [id, 0, []]))) as object[];
  database.close();
  return [...new Set(pieces.map((piece) => piece.constructor.name))];
}, id);

/** Changes one byte of the first part, in a copy: what the browser stored is a file of its own. */
export const damage = (page: Page, id: string, at: number): Promise<void> => page.evaluate(async ([id, at]) => {
  const done = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const database = await done(indexedDB.open("qwenlet"));
  const record = await done(database.transaction("models").objectStore("models").get(id)) as { chunkBytes: number };
  const index = Math.floor(at / record.chunkBytes);
  const piece = await done(database.transaction("chunks").objectStore("chunks").get([id, 0, index])) as BlobPart;
  const bytes = new Uint8Array(await new Blob([piece]).arrayBuffer());
  bytes[at % record.chunkBytes]! ^= 1;
  await done(database.transaction("chunks", "readwrite").objectStore("chunks").put(new Blob([bytes]), [id, 0, index]));
  database.close();
}, [id, at] as const);
