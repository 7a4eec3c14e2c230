// Posts /message.json to the webhook at the address in /run/secrets/webhook; never prints the address.
// Usage: node post.mjs SECONDS
import { readFileSync } from "node:fs";

const address = readFileSync("/run/secrets/webhook", "utf8").trim();
if (!URL.canParse(address) || new URL(address).username) fail("its address is malformed, or has a user in it");
const body = readFileSync("/message.json");
try {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    signal: AbortSignal.timeout(Number(process.argv[2]) * 1000),
  });
  if (!answer.ok) throw new Error(`it answers ${answer.status}`);
  console.log("sent");
} catch (error) {
  fail(error.cause?.code ?? error.message.replaceAll(address, "…"));
}

function fail(reason) {
  console.error(`the webhook did not accept the message: ${reason}`);
  process.exit(1);
}
