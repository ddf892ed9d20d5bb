// Which hosts this page may connect to. The policy in index.html is the only list; this reads it.

function sources(): string[] {
  const policy = document.querySelector<HTMLMetaElement>('meta[http-equiv="Content-Security-Policy"]')?.content ?? "";
  const directive = policy.split(";").map((d) => d.trim().split(/\s+/)).find(([name]) => name === "connect-src");
  return directive?.slice(1) ?? [];
}

function matches(source: string, url: URL): boolean {
  if (source === "'self'") return url.origin === location.origin;
  const parts = /^(https?):\/\/(\*\.)?([^:/]+)(?::(\*|\d+))?$/.exec(source);
  if (!parts) return false;
  const [, scheme, wildcard, host, port] = parts;
  if (url.protocol !== `${scheme}:` || (port !== "*" && (port ?? "") !== url.port)) return false;
  return wildcard ? url.hostname.endsWith(`.${host}`) : url.hostname === host;
}

/** Whether the page's own policy lets it fetch from `url`. */
export function mayConnect(url: URL): boolean {
  return sources().some((source) => matches(source, url));
}
