// Reads an image's manifest and configs from a registry, and prints as JSON
//   {"found": false} | {"error": "…"} | {"found": true, "digest": "sha256:…", "images": [{"digest", "config", "blobs"}]}, as content.mjs
// Every digest is computed from the received bytes, never copied from a header.
// Usage: node manifest.mjs BASE_URL REPOSITORY TAG_OR_DIGEST [USER PASSWORD_FILE]
import { createHash } from "node:crypto";
import { open } from "./registry.mjs";

const [base, repository, reference, user, passwordFile] = process.argv.slice(2);
const ACCEPT = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");
const NO_IMAGE = "the artifact is not a container image";
let get;

const digestOf = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

async function imagesOf(manifest) {
  if (manifest.config) {
    const bytes = (await get(`blobs/${manifest.config.digest}`))?.bytes;
    if (!bytes) throw new Error(`the registry has no config ${manifest.config.digest}`);
    if (digestOf(bytes) !== manifest.config.digest) throw new Error(`the registry serves other bytes than ${manifest.config.digest}`);
    const config = JSON.parse(bytes);
    if (!config.rootfs?.diff_ids) throw new Error(NO_IMAGE);
    const blobs = manifest.layers.map((layer) => layer.digest);
    return [{ digest: manifest.config.digest, config, blobs }];
  }
  if (!manifest.manifests?.length) throw new Error(NO_IMAGE);
  const images = [];
  for (const { digest } of manifest.manifests) {
    const bytes = (await get(`manifests/${digest}`, ACCEPT))?.bytes;
    if (!bytes || digestOf(bytes) !== digest) throw new Error(`the registry serves other bytes than ${digest}`);
    images.push(...(await imagesOf(JSON.parse(bytes))));
  }
  return images;
}

try {
  get = open(base, repository, user, passwordFile);
  const bytes = (await get(`manifests/${reference}`, ACCEPT))?.bytes;
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
