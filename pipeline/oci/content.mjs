// Reads the digests of the one image in an archive (OCI layout), and prints
//   {"digest": "sha256:…" of the config, "config": the config, "blobs": ["sha256:…" of each layer as it is pushed],
//    "layers": ["sha256:…" of each uncompressed layer, computed from its bytes]}
// Usage: node content.mjs ARCHIVE. Source: OCI image specification 1.1, "image layout".
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";

const [archive] = process.argv.slice(2);
const path = (digest) => `blobs/${digest.replace(":", "/")}`;
const read = (name) => JSON.parse(execFileSync("tar", ["-xOf", archive, name], { maxBuffer: 1 << 26 }));

const decompressor = (type) => {
  if (/[.+]gzip$/.test(type)) return createGunzip();
  return /[.+]zstd$/.test(type) ? createZstdDecompress() : new PassThrough();
};

async function diffId({ digest, mediaType }) {
  const hash = createHash("sha256");
  const tar = spawn("tar", ["-xOf", archive, path(digest)], { stdio: ["ignore", "pipe", "inherit"] });
  await pipeline(tar.stdout, decompressor(mediaType), hash);
  return `sha256:${hash.digest("hex")}`;
}

let document = read("index.json");
while (document.manifests) {
  if (document.manifests.length !== 1) throw new Error(`expected one image in the archive, got ${document.manifests.length}`);
  document = read(path(document.manifests[0].digest));
}
const { digest } = document.config;
const layers = [];
for (const layer of document.layers) layers.push(await diffId(layer));
const blobs = document.layers.map((layer) => layer.digest);
console.log(JSON.stringify({ digest, config: read(path(digest)), blobs, layers }));
