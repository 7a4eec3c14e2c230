/** A database of its own for each test file, and the service as a real process in front of it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

/** TEST_TARGET=dist runs the same tests against the build. */
const target = process.env.TEST_TARGET === 'dist' ? 'dist' : 'src';

function entry(name: 'main' | 'migrate'): string {
  const file = `../../${target}/${name}.${target === 'dist' ? 'js' : 'ts'}`;
  return fileURLToPath(new URL(file, import.meta.url));
}

// The tests start many processes from the same sources: they compile once. It halves the time of a start.
const compileCache = mkdtempSync(join(tmpdir(), 'harbour-test-'));
process.on('exit', () => {
  rmSync(compileCache, { recursive: true, force: true });
});
const commonEnv = { PATH: process.env.PATH, NODE_COMPILE_CACHE: compileCache };

const serverUrl = process.env.DATABASE_URL;
if (!serverUrl) {
  process.stderr.write('DATABASE_URL must name a Postgres whose user may create databases\n');
  process.exit(1);
}

export interface Database {
  url: string;
  client: pg.Client;
  drop(): Promise<void>;
}

export async function createDatabase(): Promise<Database> {
  const name = `harbour_test_${randomBytes(6).toString('hex')}`;
  await onServer(`CREATE DATABASE ${name}`);
  const url = withDatabase(name);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return {
    url,
    client,
    async drop() {
      await client.end();
      await onServer(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

async function onServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function withDatabase(name: string): string {
  const url = new URL(String(serverUrl));
  url.pathname = `/${name}`;
  return url.href;
}

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program of the service to its end. */
export async function run(
  program: 'main' | 'migrate',
  args: readonly string[],
  env: Record<string, string>,
): Promise<Outcome> {
  const child = spawn(process.execPath, [entry(program), ...args], {
    env: { ...commonEnv, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

export async function migrate(url: string, ...args: string[]): Promise<Outcome> {
  return run('migrate', args, { DATABASE_URL: url });
}

export interface Service {
  url: string;
  /** The log so far, a line of JSON each. */
  log: string[];
  signal(name: NodeJS.Signals): void;
  /** The exit code, once the process has ended. */
  exited: Promise<number | null>;
  stop(): Promise<void>;
}

/** Starts the service on a free port, and waits until it says which. */
export async function startService(
  databaseUrl: string,
  env: Record<string, string> = {},
): Promise<Service> {
  const child = spawn(process.execPath, [entry('main')], {
    env: {
      ...commonEnv,
      DATABASE_URL: databaseUrl,
      HOST: '127.0.0.1',
      PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // 'close' rather than 'exit': the log is complete by then.
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const log: string[] = [];
  const listening = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      log.push(line);
      const address = /Server listening at (http:[^"]+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
    void exited.then((code) => {
      reject(new Error(`the service ended with ${code}:\n${log.join('\n')}`));
    });
  });
  return {
    url: await listening,
    log,
    exited,
    signal: (name) => child.kill(name),
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

export interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
}

/** One request with a JSON body, and its JSON answer. */
export async function call<Body>(
  service: Service,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  payload?: unknown,
): Promise<Answer<Body>> {
  const response = await fetch(service.url + path, {
    method,
    ...(payload !== undefined && {
      body: JSON.stringify(payload),
      headers: { 'content-type': 'application/json' },
    }),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: (text === '' ? undefined : JSON.parse(text)) as Body,
  };
}

/** Asks until the answer is the one waited for; the deadline is the test's failure. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export interface Cable {
  url: string;
  cut(): Promise<void>;
  mend(): Promise<void>;
}

/** A way to the database that can be cut: the service sees resets and refusals, as when the server goes away. */
export async function cable(databaseUrl: string): Promise<Cable> {
  const database = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(database.port || 5432), database.hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const near = new URL(databaseUrl);
  near.hostname = '127.0.0.1';
  near.port = String(port);
  return {
    url: near.href,
    async cut() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.resetAndDestroy();
      await closed;
    },
    async mend() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
}
