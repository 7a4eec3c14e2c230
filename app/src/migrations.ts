import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

import type pg from 'pg';

import { errorCode } from './database.ts';

/** The SQL files lie beside this module, in the sources as in the build. */
export const MIGRATIONS_DIR = fileURLToPath(new URL('./migrations', import.meta.url));

export const MIGRATIONS_SCHEMA = 'public';
export const MIGRATIONS_TABLE = 'pgmigrations';

const UNDEFINED_TABLE = '42P01';

/** The migrations that this build knows, in their order. */
export async function knownMigrations(dir = MIGRATIONS_DIR): Promise<string[]> {
  const files = await readdir(dir);
  return files
    .filter((file) => file.endsWith('.sql'))
    .map((file) => basename(file, '.sql'))
    .sort();
}

/**
 * Those of `known` that the database does not have. What the database has beyond them does not matter:
 * after a roll back of the service, the database is ahead of it, and that must be fine.
 */
export async function pendingMigrations(
  database: pg.Pool | pg.Client,
  known: readonly string[],
): Promise<string[]> {
  const applied = new Set(await appliedMigrations(database));
  return known.filter((name) => !applied.has(name));
}

async function appliedMigrations(database: pg.Pool | pg.Client): Promise<string[]> {
  try {
    const { rows } = await database.query<{ name: string }>(
      `SELECT name FROM ${MIGRATIONS_SCHEMA}.${MIGRATIONS_TABLE}`,
    );
    return rows.map(({ name }) => name);
  } catch (error) {
    if (errorCode(error) === UNDEFINED_TABLE) return [];
    throw error;
  }
}
