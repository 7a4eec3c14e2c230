/**
 * Compiles src/ into a folder that runs with production dependencies alone.
 * The same inputs give the same bytes: nothing here reads the clock or Git.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: { 'out-dir': { type: 'string', default: join(root, 'dist') } },
});
const outDir = resolve(values['out-dir']);

function input(name: string, form: RegExp, accepted: string): string {
  const value = process.env[name]?.trim() ?? '';
  if (value === '') return 'unknown';
  if (!form.test(value)) {
    process.stderr.write(`build: ${name} must be ${accepted}, not "${value}"\n`);
    process.exit(1);
  }
  return value;
}

// Checked first: a wrong value is known in milliseconds.
const commit = input('COMMIT', /^[\w.+-]{1,100}$/, 'a commit id');
const built = input(
  'BUILT',
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  'an RFC 3339 time such as 2025-01-31T12:00:00Z',
);

rmSync(outDir, { recursive: true, force: true });
const tsc = fileURLToPath(import.meta.resolve('typescript/lib/tsc.js'));
const { status } = spawnSync(
  process.execPath,
  [tsc, '--project', join(root, 'tsconfig.build.json'), '--outDir', outDir],
  { stdio: 'inherit' },
);
if (status !== 0) process.exit(status ?? 1);

cpSync(join(root, 'src/migrations'), join(outDir, 'migrations'), { recursive: true });
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
};
const info = { name, version, commit, built };
writeFileSync(join(outDir, 'build-info.json'), `${JSON.stringify(info, null, 2)}\n`);
