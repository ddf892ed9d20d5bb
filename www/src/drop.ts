// Files may be dropped anywhere on the page.

import { byId } from "./dom.js";

export function takeDrops(onFiles: (files: File[]) => void): void {
  // Counting tells leaving the page from crossing its parts.
  let over = 0;
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  const show = (n: number): void => {
    over = Math.max(0, n);
    byId("drop").hidden = over === 0;
  };
  addEventListener("dragenter", (event) => hasFiles(event) && show(over + 1));
  addEventListener("dragleave", (event) => hasFiles(event) && show(over - 1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(0);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) onFiles(files);
  });
}
