// A client of one repository in a registry: `open(base, repository, user, passwordFile)` returns `get(path, accept)`, which gives
// the answer, or undefined where there is nothing (404). What may pass is tried again; what is refused is not.
// Source: OCI distribution specification 1.1, "pull"; token flow of the Docker registry.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 5;
const TIMEOUT = 30_000; // milliseconds, of one request

class Refused extends Error {}

export function open(base, repository, user, passwordFile) {
  const password = user ? readFileSync(passwordFile, "utf8") : "";
  if (/\s$/.test(password)) throw new Error("the password ends with white space, perhaps a line break: registries take it for a part of it");
  const basic = user ? `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` : undefined;
  let authorization = basic;

  // Bearer realm="https://…",service="…",scope="…": ask the realm for a token with the same credentials.
  async function token(challenge) {
    const fields = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
    const url = new URL(fields.realm);
    if (fields.service) url.searchParams.set("service", fields.service);
    url.searchParams.set("scope", fields.scope ?? `repository:${repository}:pull`);
    const answer = await fetch(url, { headers: basic ? { authorization: basic } : {}, signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok) throw new Refused(`${answer.status} ${answer.statusText} from ${url.origin}`);
    const body = await answer.json();
    return `Bearer ${body.token ?? body.access_token}`;
  }

  async function once(path, accept) {
    const url = new URL(path, `${base}/v2/${repository}/`);
    // The next page, too, is this registry's: nobody else is shown the credentials.
    if (url.origin !== new URL(base).origin) throw new Refused(`with an address of another host, ${url.origin}`);
    const ask = () => fetch(url, { headers: { accept, ...(authorization && { authorization }) }, signal: AbortSignal.timeout(TIMEOUT) });
    let answer = await ask();
    const challenge = answer.headers.get("www-authenticate") ?? "";
    if (answer.status === 401 && /^bearer /i.test(challenge)) {
      authorization = await token(challenge);
      answer = await ask();
    }
    if (answer.status === 404) return undefined;
    if (answer.status >= 500 || answer.status === 429) throw new Error(`${answer.status} ${answer.statusText}`);
    if (!answer.ok) throw new Refused(`${answer.status} ${answer.statusText}`);
    const next = answer.headers.get("link")?.match(/<([^>]+)>\s*;\s*rel="?next"?/)?.[1];
    return { bytes: Buffer.from(await answer.arrayBuffer()), next };
  }

  return async function get(path, accept = "*/*") {
    for (let attempt = 1; ; attempt++) {
      try {
        return await once(path, accept);
      } catch (error) {
        const reason = error.cause?.code ?? error.message;
        if (error instanceof Refused) throw new Error(`the registry answers ${reason}`);
        if (attempt === ATTEMPTS) throw new Error(`the registry failed ${ATTEMPTS} times, last with ${reason}`);
        await sleep(Math.min(500 * 2 ** (attempt - 1), 8000));
      }
    }
  };
}
