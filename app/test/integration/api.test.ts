import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import type { Berth } from '../../src/berths.ts';
import {
  call,
  createDatabase,
  migrate,
  startService,
  type Answer,
  type Database,
  type Service,
} from './harness.ts';

interface Booking {
  id: string;
  berthId: number;
  vessel: { name: string; lengthCm: number; draughtCm: number };
  startsAt: string;
  endsAt: string;
  createdAt: string;
}
interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}
interface Problem {
  type: string;
  status: number;
  errors?: { pointer: string }[];
}

let database: Database;
let service: Service;
before(async () => {
  database = await createDatabase();
  const { code, stderr } = await migrate(database.url);
  assert.equal(code, 0, stderr);
  service = await startService(database.url);
});
after(async () => {
  await service.stop();
  await database.drop();
});

let berths = 0;
async function createBerth(): Promise<Berth> {
  berths += 1;
  const body = { name: `T-${berths}`, maxLengthCm: 1200, maxDraughtCm: 250 };
  return (await call<Berth>(service, 'POST', '/berths', body)).body;
}

const DAY = 86_400_000;
/** Midday, so many days from now. */
function day(offset: number): string {
  const today = Math.floor(Date.now() / DAY) * DAY;
  return new Date(today + offset * DAY + DAY / 2).toISOString();
}

function bookingOf(berthId: number, from: number, to: number, name = 'Seeadler'): object {
  const vessel = { name, lengthCm: 900, draughtCm: 160 };
  return { berthId, vessel, startsAt: day(from), endsAt: day(to) };
}

async function book(berthId: number, from: number, to: number): Promise<Answer<Booking & Problem>> {
  return call(service, 'POST', '/bookings', bookingOf(berthId, from, to));
}

test('a berth can be created, read, and removed', async () => {
  const body = { name: 'Quay-7', maxLengthCm: 2500, maxDraughtCm: 400 };
  const created = await call<Berth>(service, 'POST', '/berths', body);
  assert.equal(created.status, 201);
  const { id, createdAt, ...rest } = created.body;
  assert.deepEqual(rest, body);
  assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 60_000);
  const path = `/berths/${id}`;
  assert.equal(created.headers.get('location'), path);

  assert.deepEqual((await call(service, 'GET', path)).body, created.body);
  assert.equal((await call(service, 'DELETE', path)).status, 204);
  assert.equal((await call(service, 'GET', path)).status, 404);
  assert.equal((await call(service, 'DELETE', path)).status, 404);
});

test('no two berths have one name', async () => {
  const { name } = await createBerth();
  const again = await call<Problem>(service, 'POST', '/berths', {
    name,
    maxLengthCm: 1,
    maxDraughtCm: 1,
  });
  assert.equal(again.status, 409);
  assert.equal(again.body.type, 'urn:harbour:problem:berth-name-taken');
});

test('a booking can be made, read, and cancelled', async () => {
  const berth = await createBerth();
  const request = bookingOf(berth.id, 1, 3, "Möwe's 2nd 🚢");
  const created = await call<Booking>(service, 'POST', '/bookings', request);
  assert.equal(created.status, 201);
  const { id, createdAt, ...rest } = created.body;
  assert.deepEqual(rest, request);
  assert.ok(Date.parse(createdAt));
  const path = `/bookings/${id}`;
  assert.equal(created.headers.get('location'), path);

  assert.deepEqual((await call(service, 'GET', path)).body, created.body);
  assert.equal((await call(service, 'DELETE', path)).status, 204);
  assert.equal((await call(service, 'GET', path)).status, 404);
  assert.equal((await call(service, 'DELETE', path)).status, 404);
});

test('a time in another zone is the same time', async () => {
  const berth = await createBerth();
  const startsAt = day(1).replace('T12:00:00.000Z', 'T14:00:00+02:00');
  const created = await call<Booking>(service, 'POST', '/bookings', {
    ...bookingOf(berth.id, 1, 2),
    startsAt,
  });
  assert.equal(created.body.startsAt, day(1));
});

test('bookings of one berth may touch but not overlap', async () => {
  const { id } = await createBerth();
  assert.equal((await book(id, 10, 20)).status, 201);
  for (const [from, to] of [
    [10, 20],
    [9, 11],
    [19, 21],
    [12, 13],
    [5, 25],
  ] as const) {
    const refused = await book(id, from, to);
    assert.equal(refused.status, 409, `${from} to ${to}`);
    assert.equal(refused.body.type, 'urn:harbour:problem:booking-overlap');
  }
  assert.equal((await book(id, 5, 10)).status, 201);
  assert.equal((await book(id, 20, 25)).status, 201);
  const other = await createBerth();
  assert.equal((await book(other.id, 10, 20)).status, 201);
});

test('a cancelled booking frees its berth', async () => {
  const { id } = await createBerth();
  const first = await book(id, 10, 20);
  assert.equal((await book(id, 12, 14)).status, 409);
  await call(service, 'DELETE', `/bookings/${first.body.id}`);
  assert.equal((await book(id, 12, 14)).status, 201);
});

test('of many who want one berth at once, exactly one gets it, and the rest hear why', async () => {
  const { id } = await createBerth();
  // Each overlaps each, and no two are the same.
  const answers = await Promise.all(Array.from({ length: 24 }, (_, i) => book(id, 30 + i, 60 + i)));
  const statuses = answers.map(({ status }) => status).sort();
  assert.deepEqual(statuses, [201, ...Array<number>(23).fill(409)]);
  const list = await call<Page<Booking>>(service, 'GET', `/bookings?berthId=${id}`);
  assert.equal(list.body.items.length, 1);
});

test("the harbour's rules are enforced, with a pointer to what broke them", async () => {
  const { id } = await createBerth();
  const tooLong = { name: 'Titan', lengthCm: 1201, draughtCm: 160 };
  for (const [change, pointer] of [
    [{ startsAt: day(-1) }, '#/startsAt'],
    [{ endsAt: day(1) }, '#/endsAt'],
    [{ vessel: tooLong }, '#/vessel/lengthCm'],
    [{ berthId: 999_999_999 }, '#/berthId'],
  ] as const) {
    const body = { ...bookingOf(id, 2, 3), ...change };
    const refused = await call<Problem>(service, 'POST', '/bookings', body);
    assert.equal(refused.status, 422);
    assert.equal(refused.body.errors?.[0]?.pointer, pointer);
  }
});

test('a booking that has started stays', async () => {
  const { id } = await createBerth();
  const { body } = await book(id, 1, 2);
  await database.client.query(
    "UPDATE bookings SET starts_at = now() - interval '1 minute' WHERE id = $1",
    [body.id],
  );
  const refused = await call<Problem>(service, 'DELETE', `/bookings/${body.id}`);
  assert.equal(refused.status, 409);
  assert.equal(refused.body.type, 'urn:harbour:problem:booking-started');
  assert.equal((await call(service, 'GET', `/bookings/${body.id}`)).status, 200);
});

test('a berth with bookings stays, and goes when they are gone', async () => {
  const { id } = await createBerth();
  const { body } = await book(id, 1, 2);
  const refused = await call<Problem>(service, 'DELETE', `/berths/${id}`);
  assert.equal(refused.status, 409);
  assert.equal(refused.body.type, 'urn:harbour:problem:berth-in-use');
  await call(service, 'DELETE', `/bookings/${body.id}`);
  assert.equal((await call(service, 'DELETE', `/berths/${id}`)).status, 204);
});

/** Follows the cursors from the first page to the last. */
async function pagesOf<Item>(path: string, limit: number): Promise<Item[][]> {
  const pages: Item[][] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const url = `${path}limit=${limit}${cursor && `&cursor=${cursor}`}`;
    const answer: Answer<Page<Item>> = await call(service, 'GET', url);
    assert.equal(answer.status, 200);
    assert.ok(answer.body.items.length <= limit);
    pages.push(answer.body.items);
    cursor = answer.body.nextCursor;
  }
  return pages;
}

test('pages of berths hold every berth once, in order', async () => {
  for (let i = 0; i < 5; i += 1) await createBerth();
  const { rows } = await database.client.query<{ id: number }>('SELECT id FROM berths ORDER BY id');
  const items = (await pagesOf<Berth>('/berths?', 2)).flat();
  assert.deepEqual(
    items.map(({ id }) => id),
    rows.map(({ id }) => id),
  );
});

test('pages of bookings follow their start, also where many start at once, and can be of one berth', async () => {
  const [one, two, three] = [await createBerth(), await createBerth(), await createBerth()];
  const made: Booking[] = [];
  for (const [berth, from, to] of [
    [one, 300, 301],
    [two, 299, 300],
    [three, 299, 301],
    [one, 299, 300],
    [two, 300, 301],
    [one, 298, 299],
  ] as const) {
    made.push((await book(berth.id, from, to)).body);
  }
  const inOrder = (bookings: Booking[]) =>
    bookings
      .map(({ id, startsAt }) => `${startsAt} ${id}`)
      .sort()
      .map((key) => key.split(' ')[1]);

  const all = await pagesOf<Booking>('/bookings?', 2);
  const ours = new Set(made.map(({ id }) => id));
  const ids = all.flat().map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(
    ids.filter((id) => ours.has(id)),
    inOrder(made),
  );

  const ofOne = await pagesOf<Booking>(`/bookings?berthId=${one.id}&`, 2);
  assert.deepEqual(
    ofOne.flat().map(({ id }) => id),
    inOrder(made.filter(({ berthId }) => berthId === one.id)),
  );
  assert.equal(ofOne.length, 2);
});
