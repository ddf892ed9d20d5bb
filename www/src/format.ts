// Numbers as people read them.

const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Decimal units, as download pages and disks count: 639 MB. */
export function bytes(n: number): string {
  if (n < 1000) return `${n} bytes`;
  if (n < 1e6) return `${whole.format(n / 1e3)} kB`;
  if (n < 1e9) return n < 1e7 ? `${decimal.format(n / 1e6)} MB` : `${whole.format(n / 1e6)} MB`;
  return `${(n / 1e9).toFixed(2)} GB`;
}

export function count(n: number): string {
  return whole.format(n);
}

/** 494 million, 1.5 billion. */
export function parameters(n: number): string {
  if (n >= 1e9) return `${decimal.format(n / 1e9)} billion`;
  if (n >= 1e6) return `${whole.format(n / 1e6)} million`;
  return whole.format(n);
}

export function rate(n: number): string {
  return n >= 100 ? whole.format(n) : decimal.format(n);
}

/** A remaining time, coarse on purpose: it is a guess. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${decimal.format(seconds / 3600)} h`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(time: number, now = Date.now()): string {
  const minutes = Math.round((time - now) / 60_000);
  if (minutes > -1) return "just now";
  if (minutes > -60) return relative.format(minutes, "minute");
  if (minutes > -1440) return relative.format(Math.round(minutes / 60), "hour");
  return relative.format(Math.round(minutes / 1440), "day");
}
