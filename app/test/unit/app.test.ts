/** The HTTP side by itself: everything that is decided before the database is asked, and when it cannot be. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { buildApp } from '../../src/app.ts';
import { createPool } from '../../src/database.ts';

const buildInfo = {
  name: 'harbour',
  version: '1.2.3',
  commit: 'abc',
  built: '2030-01-01T00:00:00Z',
};
const log: string[] = [];

// Nothing listens on port 1: whoever asks the database hears so.
const app = buildApp({
  pool: createPool('postgres://harbour:hunter2@127.0.0.1:1/harbour', 1),
  buildInfo,
  migrations: ['0001_berths'],
  logLevel: 'info',
  logTo: { write: (line) => void log.push(line) },
});
app.get('/log', (request) => {
  request.log.info({ headers: request.headers }, 'headers');
  return {};
});
app.get('/bug', () => {
  throw new Error('a detail that nobody outside should read');
});
after(() => app.close());

test('closing the service closes its pool', async () => {
  const pool = createPool('postgres://127.0.0.1:1/harbour', 1);
  const other = buildApp({ pool, buildInfo, migrations: [], logLevel: 'silent' });
  await other.ready();
  assert.equal(pool.ended, false);
  await other.close();
  assert.equal(pool.ended, true);
});

const berth = { name: 'A-1', maxLengthCm: 1200, maxDraughtCm: 250 };
const booking = {
  berthId: 1,
  vessel: { name: 'Seeadler', lengthCm: 900, draughtCm: 160 },
  startsAt: '2030-06-01T12:00:00Z',
  endsAt: '2030-06-02T12:00:00Z',
};

interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  requestId: string;
  errors?: { pointer?: string; parameter?: string; detail: string }[];
}

async function problem(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  payload?: object,
): Promise<ProblemBody> {
  const response = await app.inject({ method, url, ...(payload && { payload }) });
  assert.match(String(response.headers['content-type']), /^application\/problem\+json/);
  const body = response.json<ProblemBody>();
  assert.equal(body.status, response.statusCode);
  assert.equal(body.instance, url.split('?')[0]);
  assert.ok(body.requestId && body.title && body.detail);
  return body;
}

test('alive and version need no database', async () => {
  const health = await app.inject('/healthz');
  assert.equal(health.statusCode, 200);
  assert.deepEqual(health.json(), { status: 'ok' });
  const version = await app.inject('/version');
  assert.equal(version.statusCode, 200);
  assert.deepEqual(version.json(), buildInfo);
});

test('without a database it is not ready, and says why but not where', async () => {
  const response = await app.inject('/readyz');
  assert.equal(response.statusCode, 503);
  assert.deepEqual(response.json(), {
    status: 'unavailable',
    reason: 'database unreachable: ECONNREFUSED',
  });
});

test('without a database a request is answered with 503 and when to come back', async () => {
  assert.equal((await problem('GET', '/berths')).type, 'urn:harbour:problem:database-unavailable');
  assert.equal((await app.inject('/berths')).headers['retry-after'], '5');
});

for (const [fault, body, pointer] of [
  ['a missing member', { name: 'A-1', maxLengthCm: 1200 }, '#/maxDraughtCm'],
  ['an unknown member', { ...berth, colour: 'red' }, '#/colour'],
  ['a number as text', { ...berth, maxLengthCm: '1200' }, '#/maxLengthCm'],
  ['a fraction', { ...berth, maxLengthCm: 12.5 }, '#/maxLengthCm'],
  ['nothing for a number', { ...berth, maxLengthCm: null }, '#/maxLengthCm'],
  ['a length of zero', { ...berth, maxLengthCm: 0 }, '#/maxLengthCm'],
  ['a name with a space', { ...berth, name: 'A 1' }, '#/name'],
  ['a name with a line break at the end', { ...berth, name: 'A-1\n' }, '#/name'],
] as const) {
  test(`a berth with ${fault} is refused at ${pointer}`, async () => {
    const { status, type, errors } = await problem('POST', '/berths', body);
    assert.equal(status, 400);
    assert.equal(type, 'urn:harbour:problem:invalid-request');
    assert.deepEqual(
      errors?.map((one) => one.pointer),
      [pointer],
    );
  });
}

for (const [fault, change, pointer] of [
  ['a time without a zone', { startsAt: '2030-06-01T12:00:00' }, '#/startsAt'],
  ['a date only', { startsAt: '2030-06-01' }, '#/startsAt'],
  ['a day that is not in the calendar', { endsAt: '2030-02-30T12:00:00Z' }, '#/endsAt'],
  ['a leap second', { endsAt: '2030-06-30T23:59:60Z' }, '#/endsAt'],
  ['a blank vessel name', { vessel: { ...booking.vessel, name: '  ' } }, '#/vessel/name'],
  ['a NUL in the vessel name', { vessel: { ...booking.vessel, name: 'a\0b' } }, '#/vessel/name'],
  ['an unknown member deep inside', { vessel: { ...booking.vessel, flag: 'DE' } }, '#/vessel/flag'],
  ['a berth id beyond the database', { berthId: 2 ** 40 }, '#/berthId'],
] as const) {
  test(`a booking with ${fault} is refused at ${pointer}`, async () => {
    const { status, errors } = await problem('POST', '/bookings', { ...booking, ...change });
    assert.equal(status, 400);
    assert.deepEqual(
      errors?.map((one) => one.pointer),
      [pointer],
    );
  });
}

test('all faults are told at once', async () => {
  const { errors } = await problem('POST', '/berths', { name: '', maxLengthCm: -1 });
  assert.deepEqual(errors?.map((one) => one.pointer).sort(), [
    '#/maxDraughtCm',
    '#/maxLengthCm',
    '#/name',
  ]);
});

for (const [method, url] of [
  ['GET', '/berths/0'],
  ['GET', '/berths/1.5'],
  ['GET', '/berths/9999999999'],
  ['DELETE', '/berths/true'],
  ['GET', '/bookings/1'],
  ['GET', '/bookings/00000000-0000-0000-0000-00000000000G'],
  ['GET', '/berths?limit=0'],
  ['GET', '/berths?limit=101'],
  ['GET', '/berths?limit=ten'],
  ['GET', '/berths?limit=1&limit=2'],
  ['GET', '/berths?size=3'],
  ['GET', '/berths?cursor=x'],
  ['GET', '/berths?cursor=WzQyOTQ5NjcyOTZd'], // [4294967296], beyond the database
  ['GET', '/bookings?cursor=WzFd'], // a cursor of the other list
  ['GET', '/bookings?berthId=-1'],
] as const) {
  test(`${method} ${url} is refused, with the parameter's name`, async () => {
    const { status, errors } = await problem(method, url);
    assert.equal(status, 400);
    assert.ok(errors?.[0]?.parameter);
  });
}

test('what the framework refuses has the same form', async () => {
  assert.equal((await problem('GET', '/nowhere')).status, 404);
  assert.equal((await problem('GET', '/berths/%zz')).status, 400);
  const post = { method: 'POST', url: '/berths' } as const;
  const cases = [
    [400, { 'content-type': 'application/json' }, '{"name":'],
    [415, { 'content-type': 'text/xml' }, '<berth/>'],
    [413, { 'content-type': 'application/json' }, JSON.stringify({ name: 'x'.repeat(20_000) })],
  ] as const;
  for (const [status, headers, payload] of cases) {
    const response = await app.inject({ ...post, headers, payload });
    assert.equal(response.statusCode, status);
    assert.match(String(response.headers['content-type']), /^application\/problem\+json/);
    assert.equal(response.json<ProblemBody>().status, status);
  }
});

test('a bug is a 500 that tells nothing but where to look', async () => {
  const body = await problem('GET', '/bug');
  assert.equal(body.status, 500);
  assert.doesNotMatch(JSON.stringify(body), /nobody outside/);
  const line = log.find((one) => one.includes('nobody outside'));
  assert.ok(line?.includes(body.requestId));
});

test('the log holds no credentials, and no probes', async () => {
  log.length = 0;
  await app.inject({
    url: '/log',
    headers: { authorization: 'Bearer s3cret', cookie: 'sid=s3cret' },
  });
  await app.inject('/berths');
  await app.inject('/healthz');
  const text = log.join('');
  assert.match(text, /"authorization":"\[redacted\]"/);
  assert.doesNotMatch(text, /s3cret|hunter2|healthz/);
});
