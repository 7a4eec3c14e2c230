// Checks whether a Sigstore signature or attestation is attached to an image; prints {"attached": true | false} or {"error": "…"}.
// It looks for a bundle in the referrers API and under its fallback tag, and for the tags of older versions of cosign.
// Usage: node attached.mjs BASE_URL REPOSITORY DIGEST [USER PASSWORD_FILE]
// Source: OCI distribution specification 1.1, "listing referrers"; cosign's signature specification.
import { open } from "./registry.mjs";

const [base, repository, digest, user, passwordFile] = process.argv.slice(2);
const INDEX = "application/vnd.oci.image.index.v1+json";
const tag = digest.replace(":", "-");

const isSigstore = (manifest) => /sigstore|cosign/.test(`${manifest.artifactType} ${JSON.stringify(manifest.annotations ?? {})}`);

try {
  const get = open(base, repository, user, passwordFile);
  async function manifestsOf(path) {
    const pages = [];
    for (let page = await get(path, INDEX); page; page = page.next ? await get(page.next, INDEX) : undefined) pages.push(page);
    return pages.flatMap((page) => JSON.parse(page.bytes).manifests ?? []);
  }
  const tags = await Promise.all([`${tag}.sig`, `${tag}.att`].map((name) => get(`manifests/${name}`, `${INDEX}, application/vnd.oci.image.manifest.v1+json`)));
  const referrers = [...(await manifestsOf(`referrers/${digest}`)), ...(await manifestsOf(`manifests/${tag}`))];
  console.log(JSON.stringify({ attached: tags.some(Boolean) || referrers.some(isSigstore) }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
