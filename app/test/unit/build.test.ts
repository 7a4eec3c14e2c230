import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../scripts/build.ts', import.meta.url));

for (const [name, value] of [
  ['COMMIT', 'main; rm'],
  ['BUILT', 'yesterday'],
  ['BUILT', '2030-01-01 00:00:00'],
] as const) {
  test(`the build refuses ${name}=${value} before it touches anything`, () => {
    const { status, stderr } = spawnSync(process.execPath, [script, '--out-dir', '/nowhere/dist'], {
      env: { PATH: process.env.PATH, [name]: value },
      encoding: 'utf8',
    });
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`^build: ${name} must be .*\n$`));
  });
}
