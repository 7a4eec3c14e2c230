import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { readBuildInfo } from '../../src/build-info.ts';
import { knownMigrations } from '../../src/migrations.ts';

test('what the build wrote is what /version tells; without a build it is unknown', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'harbour-'));
  t.after(() => {
    rmSync(dir, { recursive: true });
  });
  const url = pathToFileURL(join(dir, 'build-info.json'));
  assert.equal(readBuildInfo(url).commit, 'unknown');

  const info = {
    name: 'harbour',
    version: '1.0.0',
    commit: 'c0ffee',
    built: '2030-01-01T00:00:00Z',
  };
  writeFileSync(url, JSON.stringify(info));
  assert.deepEqual(readBuildInfo(url), info);

  writeFileSync(url, '{"name":');
  assert.throws(() => readBuildInfo(url), SyntaxError);
});

test('migrations are numbered without a gap, so that their order is never in doubt', async () => {
  const names = await knownMigrations();
  assert.ok(names.length > 0);
  names.forEach((name, index) => {
    assert.equal(name.slice(0, 5), `${String(index + 1).padStart(4, '0')}_`);
  });
});
