// Reads the identity of the one image in an archive (OCI layout), and prints
//   {"digest": "sha256:…" of the config, "config": the config, "blobs": ["sha256:…" of each layer as it is pushed]}
// Usage: node content.mjs ARCHIVE. Source: OCI image specification 1.1, "image layout".
import { execFileSync } from "node:child_process";

const [archive] = process.argv.slice(2);
const read = (name) => JSON.parse(execFileSync("tar", ["-xOf", archive, name], { maxBuffer: 1 << 26 }));
const blob = (digest) => read(`blobs/${digest.replace(":", "/")}`);

let document = read("index.json");
while (document.manifests) {
  if (document.manifests.length !== 1) throw new Error(`an archive of one image holds ${document.manifests.length}`);
  document = blob(document.manifests[0].digest);
}
const { digest } = document.config;
console.log(JSON.stringify({ digest, config: blob(digest), blobs: document.layers.map((layer) => layer.digest) }));
