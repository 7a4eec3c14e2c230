/** The service as a process: readiness, losing the database, shutting down. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { after, afterEach, before, test } from 'node:test';

import {
  cable,
  call,
  createDatabase,
  eventually,
  migrate,
  run,
  startService,
  type Database,
  type Service,
} from './harness.ts';

let database: Database;
before(async () => {
  database = await createDatabase();
});
after(() => database.drop());

const running: Service[] = [];
async function start(url: string, env?: Record<string, string>): Promise<Service> {
  const service = await startService(url, env);
  running.push(service);
  return service;
}
afterEach(async () => {
  await Promise.all(running.splice(0).map((service) => service.stop()));
});

interface Readiness {
  status: string;
  reason?: string;
}
const readiness = (service: Service) => call<Readiness>(service, 'GET', '/readyz');

test('it is ready when every migration is applied, and tells which is not', async () => {
  await database.client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  const service = await start(database.url);
  const before = await readiness(service);
  assert.equal(before.status, 503);
  assert.deepEqual(before.body, {
    status: 'unavailable',
    reason: 'migrations not applied: 0001_berths, 0002_bookings',
  });
  assert.equal((await call(service, 'GET', '/healthz')).status, 200);

  assert.equal((await migrate(database.url)).code, 0);
  const ready = await readiness(service);
  assert.equal(ready.status, 200);
  assert.deepEqual(ready.body, { status: 'ready' });

  await database.client.query("DELETE FROM pgmigrations WHERE name = '0002_bookings'");
  assert.equal((await readiness(service)).body.reason, 'migrations not applied: 0002_bookings');
  await database.client.query(
    "INSERT INTO pgmigrations (name, run_on) VALUES ('0002_bookings', now()), ('9999_later', now())",
  );
  assert.equal((await readiness(service)).status, 200);
});

test('it outlives the loss of its database, and recovers by itself', async (t) => {
  const line = await cable(database.url);
  t.after(() => line.cut());
  const service = await start(line.url);
  assert.equal((await readiness(service)).status, 200);

  await line.cut();
  await eventually('readiness notices', async () => (await readiness(service)).status === 503);
  assert.equal((await call(service, 'GET', '/berths')).status, 503);
  assert.equal((await call(service, 'GET', '/healthz')).status, 200);

  await line.mend();
  await eventually('readiness recovers', async () => (await readiness(service)).status === 200);
  assert.equal((await call(service, 'GET', '/berths')).status, 200);
});

/** Runs while a request hangs in the database. */
async function withRequestUnderWay(
  service: Service,
  body: (request: Promise<{ status: number }>, release: () => Promise<void>) => Promise<void>,
): Promise<void> {
  let locked = true;
  const release = async () => {
    if (locked) await database.client.query('ROLLBACK');
    locked = false;
  };
  try {
    await database.client.query('BEGIN; LOCK TABLE berths IN ACCESS EXCLUSIVE MODE');
    const request = call(service, 'GET', '/berths');
    request.catch(() => undefined);
    await eventually('the request waits in the database', async () => {
      const { rows } = await database.client.query(
        "SELECT 1 FROM pg_locks WHERE relation = 'berths'::regclass AND NOT granted",
      );
      return rows.length > 0;
    });
    await body(request, release);
  } finally {
    await release();
  }
}

async function refusesConnections(service: Service): Promise<boolean> {
  try {
    // A connection of its own: one that is kept alive would be answered still.
    await fetch(`${service.url}/healthz`, { headers: { connection: 'close' } });
    return false;
  } catch (error) {
    return error instanceof Error && String(error.cause).includes('ECONNREFUSED');
  }
}

test('on SIGTERM it takes no more, finishes what is under way, and exits with 0', async () => {
  const service = await start(database.url, { SHUTDOWN_TIMEOUT: '30' });
  await withRequestUnderWay(service, async (request, release) => {
    service.signal('SIGTERM');
    await eventually('new connections are refused', () => refusesConnections(service));
    await release();
    assert.equal((await request).status, 200);
    assert.equal(await service.exited, 0);
  });
  assert.ok(service.log.some((line) => line.includes('"stopped"')));
  // PostgreSQL lists a closed connection until its backend has noticed.
  await eventually('the pool is closed', async () => {
    const { rows } = await database.client.query(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'harbour' AND datname = current_database()",
    );
    return rows.length === 0;
  });
});

test('on SIGTERM it gives up after its deadline, says so, and exits with 1', async () => {
  const service = await start(database.url, { SHUTDOWN_TIMEOUT: '1' });
  await withRequestUnderWay(service, async (request) => {
    const started = Date.now();
    service.signal('SIGTERM');
    assert.equal(await service.exited, 1);
    assert.ok(Date.now() - started >= 900);
    await assert.rejects(request);
  });
  assert.ok(service.log.some((line) => line.includes('giving up')));
});

test('a kept-alive connection does not hold it up', async () => {
  const service = await start(database.url, { SHUTDOWN_TIMEOUT: '5' });
  // This client never closes its connection first: a service that waited for it would give up, and exit with 1.
  const agent = new Agent({ keepAlive: true });
  try {
    const [response] = (await once(get(`${service.url}/healthz`, { agent }), 'response')) as [
      IncomingMessage,
    ];
    assert.equal(response.statusCode, 200);
    await once(response.resume(), 'end');
    service.signal('SIGINT');
    assert.equal(await service.exited, 0);
  } finally {
    agent.destroy();
  }
});

test('a wrong setting ends the start with one line that names it', async () => {
  for (const [env, expected] of [
    [{}, /^harbour: DATABASE_URL is required/],
    [{ DATABASE_URL: database.url, PORT: 'x' }, /^harbour: PORT must be/],
  ] as const) {
    const { code, stdout, stderr } = await run('main', [], env);
    assert.equal(code, 1);
    assert.match(stderr, expected);
    assert.equal(stderr.split('\n').length, 2);
    assert.equal(stdout, '');
  }
});

test('a port that is taken ends the start with one line', async () => {
  const service = await start(database.url);
  const { port } = new URL(service.url);
  const env = { DATABASE_URL: database.url, HOST: '127.0.0.1', PORT: port, LOG_LEVEL: 'silent' };
  const { code, stderr } = await run('main', [], env);
  assert.equal(code, 1);
  assert.match(stderr, /^harbour: cannot start: .*EADDRINUSE.*\n$/);
});

test('the log is JSON and never holds the password', async () => {
  const url = new URL(database.url);
  url.username ||= 'postgres';
  url.password = 'wr0ng-s3cret';
  url.port = '1';
  const service = await start(url.href, { LOG_LEVEL: 'trace' });
  await readiness(service);
  await call(service, 'GET', '/berths');
  service.signal('SIGTERM');
  await service.exited;
  assert.ok(service.log.length > 3);
  for (const line of service.log) assert.equal(typeof JSON.parse(line), 'object');
  assert.doesNotMatch(service.log.join('\n'), /wr0ng-s3cret/);
});
