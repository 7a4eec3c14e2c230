// Tells whether anything of Sigstore's is attached to an image, and prints {"attached": true | false} or {"error": "…"}:
// a bundle by the referrers API or the tag that stands in for it, or a signature by one of the tags that older versions used.
// Usage: node attached.mjs BASE_URL REPOSITORY DIGEST [USER PASSWORD_FILE]
// Source: OCI distribution specification 1.1, "listing referrers"; cosign's signature specification.
import { open } from "./registry.mjs";

const [base, repository, digest, user, passwordFile] = process.argv.slice(2);
const INDEX = "application/vnd.oci.image.index.v1+json";
const tag = digest.replace(":", "-");

const isOfSigstore = (found) => /sigstore|cosign/.test(`${found.artifactType} ${JSON.stringify(found.annotations ?? {})}`);

try {
  const get = open(base, repository, user, passwordFile);
  async function listed(path) {
    const pages = [];
    for (let page = await get(path, INDEX); page; page = page.next ? await get(page.next, INDEX) : undefined) pages.push(page);
    return pages.flatMap((page) => JSON.parse(page.bytes).manifests ?? []);
  }
  const tags = await Promise.all([`${tag}.sig`, `${tag}.att`].map((name) => get(`manifests/${name}`, `${INDEX}, application/vnd.oci.image.manifest.v1+json`)));
  const referrers = [...(await listed(`referrers/${digest}`)), ...(await listed(`manifests/${tag}`))];
  console.log(JSON.stringify({ attached: tags.some(Boolean) || referrers.some(isOfSigstore) }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
