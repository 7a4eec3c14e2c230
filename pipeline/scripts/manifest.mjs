// Reads an image's manifest and configs from a registry, and prints what it received as JSON:
//   {"found": false} | {"error": "…"} | {"found": true, "digest": "sha256:…", "images": [{"digest", "config", "blobs"}]}, as content.mjs
// Every digest is computed from the bytes received, never taken from a header.
// Usage: node manifest.mjs BASE_URL REPOSITORY TAG_OR_DIGEST [USER PASSWORD_FILE]
// Source: OCI distribution specification 1.1, "pull"; token flow of the Docker registry.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [base, repository, reference, user, passwordFile] = process.argv.slice(2);
const password = user ? readFileSync(passwordFile, "utf8") : "";
const basic = user ? `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` : undefined;
const ACCEPT = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");
const ATTEMPTS = 5;
let authorization = basic;

class Refused extends Error {}
const TIMEOUT = 30_000; // milliseconds, of one request

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

async function once(path) {
  const ask = () => fetch(`${base}/v2/${repository}/${path}`, { headers: { accept: ACCEPT, ...(authorization && { authorization }) }, signal: AbortSignal.timeout(TIMEOUT) });
  let answer = await ask();
  const challenge = answer.headers.get("www-authenticate") ?? "";
  if (answer.status === 401 && /^bearer /i.test(challenge)) {
    authorization = await token(challenge);
    answer = await ask();
  }
  if (answer.status === 404) return undefined;
  if (answer.status >= 500 || answer.status === 429) throw new Error(`${answer.status} ${answer.statusText}`);
  if (!answer.ok) throw new Refused(`${answer.status} ${answer.statusText}`);
  return Buffer.from(await answer.arrayBuffer());
}

async function get(path) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(path);
    } catch (error) {
      const reason = error.cause?.code ?? error.message;
      if (error instanceof Refused) throw new Error(`the registry answers ${reason}`);
      if (attempt === ATTEMPTS) throw new Error(`the registry failed ${ATTEMPTS} times, last with ${reason}`);
      await sleep(Math.min(500 * 2 ** (attempt - 1), 8000));
    }
  }
}

const digestOf = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

async function imagesOf(manifest) {
  if (manifest.config) {
    const bytes = await get(`blobs/${manifest.config.digest}`);
    if (!bytes) throw new Error(`the registry has no config ${manifest.config.digest}`);
    if (digestOf(bytes) !== manifest.config.digest) throw new Error(`the registry serves other bytes than ${manifest.config.digest}`);
    const config = JSON.parse(bytes);
    if (!config.rootfs?.diff_ids) throw new Error("it is no container image, but something else that registries keep");
    const blobs = manifest.layers.map((layer) => layer.digest);
    return [{ digest: manifest.config.digest, config, blobs }];
  }
  if (!manifest.manifests?.length) throw new Error("it is no container image, but something else that registries keep");
  const images = [];
  for (const { digest } of manifest.manifests) {
    const bytes = await get(`manifests/${digest}`);
    if (!bytes || digestOf(bytes) !== digest) throw new Error(`the registry serves other bytes than ${digest}`);
    images.push(...(await imagesOf(JSON.parse(bytes))));
  }
  return images;
}

try {
  if (/\s$/.test(password)) throw new Error("the password ends with white space, perhaps a line break: registries take it for a part of it");
  const bytes = await get(`manifests/${reference}`);
  if (!bytes) {
    console.log(JSON.stringify({ found: false }));
  } else {
    const digest = digestOf(bytes);
    if (reference.startsWith("sha256:") && digest !== reference)
      throw new Error(`the registry serves other bytes: asked for ${reference}, got ${digest}`);
    console.log(JSON.stringify({ found: true, digest, images: await imagesOf(JSON.parse(bytes)) }));
  }
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
