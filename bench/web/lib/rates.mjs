// What several engines do in turn, as many times as the run says.
import { summary } from "./stats.mjs";

/**
 * `warm(engine)` once, then `measure(engine, rep)`, which gives a result a figure: `{ tokens, seconds, cpu }`. An engine that
 * fails takes no further part, and what it has done until then counts. Closes all of them.
 */
export async function rates(run, model, opened, { warm, measure }) {
  const results = new Map(opened.map(({ name, info }) => [name, { info, figures: {} }]));
  let left = opened;
  const round = async (take) => {
    const well = [];
    for (const engine of left) {
      try {
        await take(engine);
        well.push(engine);
      } catch (error) {
        run.line({ figure: "left out", model: model.name, engine: engine.name, reason: String(error.message).split("\n")[0] });
        await engine.browser.close();
      }
    }
    left = well;
  };
  await round(warm);
  for (let rep = 0; rep < run.reps; rep++) {
    await round(async (engine) => {
      const { figures } = results.get(engine.name);
      for (const [figure, result] of Object.entries(await measure(engine, rep))) (figures[figure] ??= []).push(result);
    });
    run.progress(`${model.name}: ${rep + 1} of ${run.reps}`);
  }
  for (const [engine, { info, figures }] of results) {
    for (const [figure, list] of Object.entries(figures)) {
      const rate = (time) => summary(list.map((r) => r.tokens / r[time]));
      const common = { model: model.name, engine, features: info.features, bytesPerToken: model.readPerToken };
      run.line({ figure, tokens: list[0].tokens, ...common, perCpuSecond: rate("cpu"), perSecond: rate("seconds") });
    }
  }
  await Promise.all(left.map(({ browser }) => browser.close()));
}
