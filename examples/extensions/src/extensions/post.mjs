// Posts an action to a platform's API, and prints the URL that it answers with. Usage: node post.mjs API ACTION REFERENCE ENVIRONMENT
const [api, action, reference, environment] = process.argv.slice(2);
const body = JSON.stringify({ action, reference, environment });
const answer = await fetch(api, { method: "POST", headers: { "content-type": "application/json" }, body, signal: AbortSignal.timeout(60_000) });
if (!answer.ok) throw new Error(`${action} answered ${answer.status}: ${(await answer.text()).slice(0, 200)}`);
console.log((await answer.json()).url);
