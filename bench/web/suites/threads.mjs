// Two threads against one: wall time, in pairs, of which the one counts during which the rest of the machine did least.
import { busy } from "../lib/machine.mjs";
import { openAll } from "../lib/opened.mjs";
import { summary } from "../lib/stats.mjs";

const PAIRS = 10;
/** Times that the memory is read over in one measurement. */
const READS = 4;

export async function threads(run, model) {
  const opened = await openAll(run, model, ["qwenlet", "qwenlet 2 threads"]);
  const [one, two] = opened.map(({ browser }) => browser);
  // What memory itself has for a second thread.
  const limit = await openAll(run, model, ["memory read", "memory read 2 threads"]);
  const readers = limit.map(({ browser }) => browser);
  if (two) {
    for (const browser of [one, two]) {
      await browser.call("prefill", run.pp, 1);
      await browser.call("decode", 8);
    }
    const pairs = [];
    for (let i = 0; i < PAIRS; i++) {
      // What is decoded starts behind what was prefilled just before: four measurements a pair.
      const a = [await quiet(one, "prefill", run.pp, i), await quiet(two, "prefill", run.pp, i)];
      const b = [await quiet(one, "decode", run.tg), await quiet(two, "decode", run.tg)];
      pairs.push({ prefill: a, decode: b, ...(readers.length === 2 && { read: [await quiet(readers[0], "decode", READS), await quiet(readers[1], "decode", READS)] }) });
      run.progress(`${model.name}: pair ${i + 1} of ${PAIRS}`);
    }
    for (const figure of Object.keys(pairs[0])) {
      const found = pairs.map(({ [figure]: [a, b] }) => ({ ratio: a.seconds / b.seconds, other: a.other + b.other }));
      const quietest = found.reduce((best, pair) => (pair.other < best.other ? pair : best));
      run.line({
        figure: "threads", of: figure, model: model.name, engine: "qwenlet 2 threads", quietest: quietest.ratio, otherCpu: quietest.other,
        ratio: summary(found.map(({ ratio }) => ratio)), others: found.map(({ other }) => other),
        perSecond: summary(pairs.map(({ [figure]: [, b] }) => b.tokens / b.seconds)),
      });
    }
  }
  await Promise.all([...opened, ...limit].map(({ browser }) => browser.close()));
}

/** A measurement with the CPU that others used meanwhile, as a share of one core's time. */
async function quiet(browser, verb, ...args) {
  const before = busy();
  const result = await browser.measured(verb, ...args);
  return { ...result, other: before === undefined ? 0 : Math.max(0, busy() - before - result.cpu) / result.seconds };
}
