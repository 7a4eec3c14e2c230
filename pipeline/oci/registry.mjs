// A client of one repository in a registry: `open(base, repository, user, passwordFile)` returns `get(path, accept)`, which
// returns the response, or undefined for 404. Transient failures are retried, refusals are not.
// Source: OCI distribution specification 1.1, "pull"; token flow of the Docker registry.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 5;
const TIMEOUT = 30_000; // milliseconds, per request

class Refused extends Error {}

export function open(base, repository, user, passwordFile) {
  const password = user ? readFileSync(passwordFile, "utf8") : "";
  if (/\s$/.test(password)) throw new Error("the password ends with white space, perhaps a line break, which a registry reads as part of it");
  const basic = user ? `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` : undefined;
  let authorization = basic;

  // Bearer realm="https://…",service="…",scope="…": request a token from the realm with the same credentials.
  async function token(challenge) {
    const fields = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
    const url = new URL(fields.realm);
    if (fields.service) url.searchParams.set("service", fields.service);
    url.searchParams.set("scope", fields.scope ?? `repository:${repository}:pull`);
    const response = await fetch(url, { headers: basic ? { authorization: basic } : {}, signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw new Refused(`${response.status} ${response.statusText} from ${url.origin}`);
    const body = await response.json();
    return `Bearer ${body.token ?? body.access_token}`;
  }

  async function once(path, accept) {
    const url = new URL(path, `${base}/v2/${repository}/`);
    // A link to the next page must stay on this registry, because the request has the credentials.
    if (url.origin !== new URL(base).origin) throw new Refused(`a link to another host, ${url.origin}`);
    const send = () => fetch(url, { headers: { accept, ...(authorization && { authorization }) }, signal: AbortSignal.timeout(TIMEOUT) });
    let response = await send();
    const challenge = response.headers.get("www-authenticate") ?? "";
    if (response.status === 401 && /^bearer /i.test(challenge)) {
      authorization = await token(challenge);
      response = await send();
    }
    if (response.status === 404) return undefined;
    if (response.status >= 500 || response.status === 429) throw new Error(`${response.status} ${response.statusText}`);
    if (!response.ok) throw new Refused(`${response.status} ${response.statusText}`);
    const next = response.headers.get("link")?.match(/<([^>]+)>\s*;\s*rel="?next"?/)?.[1];
    return { bytes: Buffer.from(await response.arrayBuffer()), next };
  }

  return async function get(path, accept = "*/*") {
    for (let attempt = 1; ; attempt++) {
      try {
        return await once(path, accept);
      } catch (error) {
        const reason = error.cause?.code ?? error.message;
        if (error instanceof Refused) throw new Error(`the registry answered ${reason}`);
        if (attempt === ATTEMPTS) throw new Error(`the registry failed ${ATTEMPTS} times, last with ${reason}`);
        await sleep(Math.min(500 * 2 ** (attempt - 1), 8000));
      }
    }
  };
}
