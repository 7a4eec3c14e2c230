// One round trip through the deployed service: create, read, delete.
// Slipway's smoke test calls it with the base URL.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

export default async function roundTrip(base) {
  const name = `smoke-${randomUUID().slice(0, 8)}`;
  const created = await fetch(`${base}/berths`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, maxLengthCm: 1200, maxDraughtCm: 250 }),
  });
  assert.equal(created.status, 201, `POST /berths answered ${created.status}`);
  const berth = await created.json();

  const read = await fetch(`${base}/berths/${berth.id}`);
  assert.deepEqual(
    await read.json(),
    berth,
    'GET /berths/:id answered something else than was created',
  );

  const deleted = await fetch(`${base}/berths/${berth.id}`, { method: 'DELETE' });
  assert.equal(deleted.status, 204, `DELETE /berths/:id answered ${deleted.status}`);

  const gone = await fetch(`${base}/berths/${berth.id}`);
  assert.equal(gone.status, 404, `GET /berths/:id answered ${gone.status} after it was deleted`);
}
