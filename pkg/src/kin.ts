/** Workers of a worker. */

/** Of classic workers, and of module ones, where every call throws; TypeScript's library for pages has it not. */
declare function importScripts(...urls: string[]): void;

/** What this worker is: a bundler may have made a classic one of it, which could then not run as a module. */
function ownType(): WorkerType {
  try {
    importScripts();
    return "classic";
  } catch {
    return "module";
  }
}

/** Starts this very script in another worker, wherever a bundler put it; by its name it finds what it is to be. */
export function startKin(name: string): Worker {
  return new Worker(self.location.href, { type: ownType(), name });
}
