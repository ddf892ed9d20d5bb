export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** What a line of the results says of repeated values. */
export function summary(values) {
  return { n: values.length, median: median(values), min: Math.min(...values), max: Math.max(...values), values };
}
