import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ConfigError, migrateConfig, serviceConfig } from '../../src/config.ts';

const DATABASE_URL = 'postgres://harbour:secret@db/harbour';

test('only DATABASE_URL is required, the rest has defaults', () => {
  assert.deepEqual(serviceConfig({ DATABASE_URL, PORT: '', HOST: ' ' }), {
    host: '0.0.0.0',
    port: 3000,
    logLevel: 'info',
    databaseUrl: DATABASE_URL,
    databasePoolSize: 10,
    shutdownTimeoutMs: 8_000,
  });
  assert.deepEqual(migrateConfig({ DATABASE_URL }), {
    databaseUrl: DATABASE_URL,
    connectTimeoutMs: 30_000,
    lockTimeoutMs: 30_000,
  });
});

test('what is set is used', () => {
  const config = serviceConfig({
    DATABASE_URL,
    HOST: '::1',
    PORT: '0',
    LOG_LEVEL: 'debug',
    SHUTDOWN_TIMEOUT: '20',
    DATABASE_POOL_SIZE: '3',
  });
  assert.equal(config.host, '::1');
  assert.equal(config.port, 0);
  assert.equal(config.logLevel, 'debug');
  assert.equal(config.shutdownTimeoutMs, 20_000);
  assert.equal(config.databasePoolSize, 3);
});

for (const [name, value] of [
  ['PORT', '65536'],
  ['PORT', '-1'],
  ['PORT', '3000x'],
  ['PORT', '1e3'],
  ['LOG_LEVEL', 'verbose'],
  ['SHUTDOWN_TIMEOUT', '0'],
  ['SHUTDOWN_TIMEOUT', '1.5'],
  ['DATABASE_POOL_SIZE', '0'],
] as const) {
  test(`${name}=${value} is refused by name, in one line`, () => {
    assert.throws(() => serviceConfig({ DATABASE_URL, [name]: value }), isOneLineAbout(name));
  });
}

for (const url of [
  undefined,
  '',
  'db:5432',
  'mysql://harbour:s3cret@db/x',
  'postgres://u:s3cret%zz@db/x',
]) {
  test(`DATABASE_URL ${JSON.stringify(url)} is refused without repeating it`, () => {
    for (const read of [serviceConfig, migrateConfig]) {
      assert.throws(
        () => read({ DATABASE_URL: url }),
        (error) => isOneLineAbout('DATABASE_URL')(error) && !String(error).includes('s3cret'),
      );
    }
  });
}

function isOneLineAbout(name: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof ConfigError && error.message.includes(name) && !error.message.includes('\n');
}
