import { parseArgs } from 'node:util';

import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import type pg from 'pg';

import { migrateConfig, type MigrateConfig } from './config.ts';
import { connectWithin, describe, errorCode } from './database.ts';
import {
  knownMigrations,
  MIGRATIONS_DIR,
  MIGRATIONS_SCHEMA,
  MIGRATIONS_TABLE,
  pendingMigrations,
} from './migrations.ts';

const USAGE = `usage: migrate [--dry-run] [--dir <folder>]

Applies the migrations that the database at DATABASE_URL does not have, in order, each in a transaction of its own.

  --dry-run       print the SQL, change nothing
  --dir <folder>  read the migrations from here instead of those that came with the service

DATABASE_CONNECT_TIMEOUT  seconds to wait for the database (30)
MIGRATION_LOCK_TIMEOUT    seconds to wait for another run, and for each lock on a table (30)`;

const LOCK_NOT_AVAILABLE = '55P03';

interface Options {
  dir: string;
  dryRun: boolean;
}

async function migrate(config: MigrateConfig, options: Options): Promise<void> {
  let waiting = false;
  const client = await connectWithin(config.connectTimeoutMs, config.databaseUrl, (reason) => {
    if (!waiting) print(`waiting for the database: ${reason}`);
    waiting = true;
  });
  try {
    // It bounds the wait for the other run, and for tables: a migration that queues behind a long
    // transaction makes every other query queue behind the migration.
    await client.query(`SET lock_timeout = ${config.lockTimeoutMs}`);
    await takeTurn(client, config.lockTimeoutMs);
    await apply(client, options);
  } finally {
    // Closing the session releases the lock and undoes what was not committed.
    await client.end();
  }
}

/** One run at a time. The lock is the library's own, so that its command line is kept out, too. */
async function takeTurn(client: pg.Client, timeoutMs: number): Promise<void> {
  try {
    await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
  } catch (error) {
    if (errorCode(error) !== LOCK_NOT_AVAILABLE) throw error;
    throw new Error(`another migration is still running after ${timeoutMs / 1000} s`, {
      cause: error,
    });
  }
}

async function apply(client: pg.Client, { dir, dryRun }: Options): Promise<void> {
  const known = await knownMigrations(dir);
  if (known.length === 0) throw new Error(`no migrations in ${dir}`);
  const pending = await pendingMigrations(client, known);
  for (const name of pending) {
    try {
      if (dryRun) await preview(client, dir, name);
      else await run(client, dir, name);
    } catch (error) {
      throw new Error(`migration ${name} failed: ${describe(error)}`, { cause: error });
    }
    print(dryRun ? `-- would apply ${name}` : `applied ${name}`);
  }
  const count = `${pending.length} ${dryRun ? 'to apply' : 'applied'}`;
  const already = `${known.length - pending.length} of ${known.length} already there`;
  print(`${dryRun ? '-- dry run: ' : ''}${count}, ${already}`);
}

/** All of the migration or nothing of it. */
async function run(client: pg.Client, dir: string, name: string): Promise<void> {
  await runner({ ...common(client, dir, name), singleTransaction: true });
}

/** The library creates its table even in a dry run, so the whole of it is rolled back. */
async function preview(client: pg.Client, dir: string, name: string): Promise<void> {
  await client.query('BEGIN');
  try {
    await runner({
      ...common(client, dir, name),
      // The library would commit for us otherwise; this way it only prints BEGIN and COMMIT.
      singleTransaction: false,
      dryRun: true,
      verbose: true,
      logger: { debug: print, info: nothing, warn: nothing, error: nothing },
    });
  } finally {
    await client.query('ROLLBACK');
  }
}

function common(client: pg.Client, dir: string, name: string) {
  return {
    dbClient: client,
    dir,
    file: name,
    direction: 'up',
    migrationsSchema: MIGRATIONS_SCHEMA,
    migrationsTable: MIGRATIONS_TABLE,
    noLock: true, // we hold it
    logger: { debug: nothing, info: nothing, warn: nothing, error: nothing },
  } as const;
}

function nothing(): void {
  // The library's own words are several lines long; ours follow in the error.
}

function print(line: string): void {
  process.stdout.write(`${line.trimEnd()}\n`);
}

function fail(message: string, exitCode: number): void {
  process.stderr.write(`migrate: ${message}\n`);
  process.exitCode = exitCode;
}

function readArguments() {
  return parseArgs({
    options: {
      'dry-run': { type: 'boolean', default: false },
      dir: { type: 'string', default: MIGRATIONS_DIR },
      help: { type: 'boolean', default: false },
    },
  }).values;
}

async function main(): Promise<void> {
  let args: ReturnType<typeof readArguments>;
  try {
    args = readArguments();
  } catch (error) {
    fail(`${describe(error).split('. ', 1).join('')}; see --help`, 2);
    return;
  }
  if (args.help) {
    print(USAGE);
    return;
  }
  try {
    await migrate(migrateConfig(process.env), { dir: args.dir, dryRun: args['dry-run'] });
  } catch (error) {
    fail(describe(error), 1);
  }
}

await main();
