import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import { knownMigrations, MIGRATIONS_DIR } from '../../src/migrations.ts';
import {
  createDatabase,
  eventually,
  migrate,
  run,
  type Database,
  type Outcome,
} from './harness.ts';

const known = await knownMigrations();

let database: Database;
before(async () => {
  database = await createDatabase();
});
after(() => database.drop());
beforeEach(async () => {
  await database.client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
});

async function tables(): Promise<string[]> {
  const { rows } = await database.client.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
  );
  return rows.map(({ name }) => name);
}

async function applied(): Promise<string[]> {
  const { rows } = await database.client.query<{ name: string }>(
    'SELECT name FROM pgmigrations ORDER BY id',
  );
  return rows.map(({ name }) => name);
}

function assertFailed({ code, stderr }: Outcome, expected: RegExp): void {
  assert.equal(code, 1);
  assert.match(stderr, expected);
  assert.equal(stderr.trimEnd().split('\n').length, 1, `one line, not:\n${stderr}`);
}

test('a dry run prints the SQL and changes nothing, not even for its own records', async () => {
  const { code, stdout, stderr } = await migrate(database.url, '--dry-run');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /CREATE TABLE berths/);
  assert.match(stdout, /CREATE TABLE bookings/);
  assert.match(stdout, new RegExp(`${known.length} to apply, 0 of ${known.length} already there`));
  assert.deepEqual(await tables(), []);
});

test('a run applies all in order; the next one finds nothing to do', async () => {
  const first = await migrate(database.url);
  assert.equal(first.code, 0, first.stderr);
  assert.deepEqual(await applied(), known);
  assert.deepEqual(await tables(), ['berths', 'bookings', 'pgmigrations']);

  for (const [args, count] of [
    [[], '0 applied'],
    [['--dry-run'], '0 to apply'],
  ] as const) {
    const { code, stdout } = await migrate(database.url, ...args);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`${count}, ${known.length} of ${known.length}`));
    assert.doesNotMatch(stdout, /CREATE/);
  }
});

test('three runs at once apply everything once', async () => {
  const runs = await Promise.all([1, 2, 3].map(() => migrate(database.url)));
  assert.deepEqual(
    runs.map(({ code, stderr }) => `${code} ${stderr}`),
    ['0 ', '0 ', '0 '],
  );
  assert.deepEqual(await applied(), known);
});

test('a run waits for another one, but not for ever', async () => {
  const lock = 7241865325823964n; // of node-pg-migrate
  await database.client.query(`SELECT pg_advisory_lock(${lock})`);
  try {
    const env = { DATABASE_URL: database.url, MIGRATION_LOCK_TIMEOUT: '1' };
    assertFailed(await run('migrate', [], env), /another migration is still running after 1 s/);
  } finally {
    await database.client.query(`SELECT pg_advisory_unlock(${lock})`);
  }
  assert.deepEqual(await tables(), []);
});

test('a bad migration is named, leaves nothing of itself, and keeps what came before', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'harbour-'));
  t.after(() => {
    rmSync(dir, { recursive: true });
  });
  cpSync(MIGRATIONS_DIR, dir, { recursive: true });
  writeFileSync(join(dir, '9999_bad.sql'), 'CREATE TABLE half ();\nCREAT TABLE other ();\n');
  const outcome = await migrate(database.url, '--dir', dir);
  assertFailed(outcome, /migration 9999_bad failed: syntax error at or near "CREAT" \(42601\)/);
  assert.deepEqual(await applied(), known);
  assert.deepEqual(await tables(), ['berths', 'bookings', 'pgmigrations']);
});

test('a database that is ahead of the service is left alone', async () => {
  await migrate(database.url);
  await database.client.query(
    "INSERT INTO pgmigrations (name, run_on) VALUES ('9999_later', now())",
  );
  const { code, stdout } = await migrate(database.url);
  assert.equal(code, 0);
  assert.match(stdout, /0 applied/);
});

test('a database that never comes is given up on, in one line without the password', async () => {
  const url = 'postgres://harbour:s3cret@127.0.0.1:1/harbour';
  const outcome = await run('migrate', [], { DATABASE_URL: url, DATABASE_CONNECT_TIMEOUT: '1' });
  assertFailed(outcome, /no database after 1 s: .*ECONNREFUSED/);
  assert.doesNotMatch(outcome.stdout + outcome.stderr, /s3cret/);
});

test('a database that refuses is not waited for', async () => {
  const url = new URL(database.url);
  url.pathname = '/no_such_database';
  const outcome = await migrate(url.href);
  assertFailed(outcome, /the database refused: .*no_such_database.* \(3D000\)/);
  assert.doesNotMatch(outcome.stdout, /waiting for the database/);
});

test('a wrong command line is refused before the database is asked', async () => {
  for (const args of [['--dryrun'], ['--dry-run', 'now']]) {
    const { code, stderr } = await run('migrate', args, {});
    assert.equal(code, 2);
    assert.match(stderr, /^migrate: .*--help\n$/);
  }
  assertFailed(await run('migrate', [], {}), /DATABASE_URL is required/);
});

test('a migration that cannot get its lock gives up instead of blocking everybody', async () => {
  await migrate(database.url);
  await database.client.query(
    "DELETE FROM pgmigrations WHERE name LIKE '0002%'; DROP TABLE bookings",
  );
  await database.client.query('BEGIN; LOCK TABLE berths IN ACCESS EXCLUSIVE MODE');
  try {
    const env = { DATABASE_URL: database.url, MIGRATION_LOCK_TIMEOUT: '1' };
    assertFailed(await run('migrate', [], env), /migration 0002_bookings failed: .*lock timeout/);
  } finally {
    await database.client.query('ROLLBACK');
  }
  await eventually('the failed session is gone', async () => {
    const { rows } = await database.client.query(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'harbour-migrate' AND datname = current_database()",
    );
    return rows.length === 0;
  });
  assert.deepEqual(await tables(), ['berths', 'pgmigrations']);
});
