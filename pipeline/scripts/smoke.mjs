// Asks a deployed service whether it works, and prints {"passed", "attempts", "checks": ["…"]}.
// Usage: node smoke.mjs BASE_URL COMMIT ATTEMPTS [TEST_MODULE]
// TEST_MODULE's default export is called with the base URL; it throws when a round trip fails.
import { setTimeout as sleep } from "node:timers/promises";

const [base, commit, limit, testModule] = process.argv.slice(2);
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
const TIMEOUT = 5000;

async function get(path) {
  const answer = await fetch(`${base}${path}`, { signal: AbortSignal.timeout(TIMEOUT) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${text.slice(0, 200)}`);
  return text;
}

async function version() {
  const text = await get("/version");
  const running = JSON.parse(text).commit;
  if (running !== commit) throw new Error(`/version answered commit ${running}, expected ${commit}`);
}

const checks = { "/healthz": () => get("/healthz"), "/readyz": () => get("/readyz"), "/version": version };
if (testModule) checks["round trip"] = async () => (await import(testModule)).default(base);

// fetch says "fetch failed"; why it failed stands in its cause.
const reason = (error) => [error.message, error.cause?.code ?? error.cause?.message].filter(Boolean).join(": ");

let passed = false;
let lines = [];
let attempt = 0;
while (!passed && attempt < Number(limit)) {
  if (attempt > 0) await sleep(Math.min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE));
  attempt++;
  passed = true;
  lines = [];
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      lines.push(`${name} ok`);
    } catch (error) {
      lines.push(`${name} failed: ${reason(error)}`);
      passed = false;
    }
  }
}
console.log(JSON.stringify({ passed, attempts: attempt, checks: lines }));
process.exit(0); // a round trip may have left a connection open
