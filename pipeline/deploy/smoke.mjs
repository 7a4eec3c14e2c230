// Asks a deployed service whether it works, and writes {"passed", "attempts", "checks": ["…"]} to a file: what a test
// module prints is its own.
// Usage: node smoke.mjs RESULT_FILE BASE_URL COMMIT ATTEMPTS [TEST_MODULE]
// TEST_MODULE's default export is called with the base URL; it throws when a round trip fails.
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [resultFile, base, commit, limit, testModule] = process.argv.slice(2);
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
const TIMEOUT = 5000;
const ROUND_TRIP_TIMEOUT = 30000;

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
if (testModule) checks["round trip"] = async () => {
  const late = sleep(ROUND_TRIP_TIMEOUT).then(() => Promise.reject(new Error(`not done within ${ROUND_TRIP_TIMEOUT} ms`)));
  await Promise.race([(await import(testModule)).default(base), late]);
};

// fetch says "fetch failed"; the reason is in its cause.
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
writeFileSync(resultFile, JSON.stringify({ passed, attempts: attempt, checks: lines }));
process.exit(0); // a round trip may have left a connection open
