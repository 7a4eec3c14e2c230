import pg from 'pg';

/**
 * No statement outlives this, so that a drain at shutdown ends by itself: SHUTDOWN_TIMEOUT's default is above it.
 */
const STATEMENT_TIMEOUT_MS = 5_000;

/** A probe or a caller should hear "unavailable" rather than hang. */
const CONNECT_TIMEOUT_MS = 2_000;

export function createPool(url: string, size: number): pg.Pool {
  return new pg.Pool({
    connectionString: url,
    application_name: 'harbour',
    max: size,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // The server's limit, and ours for a server that no longer answers at all.
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
  });
}

/** Connects, and waits for a server that is still starting, until the time is up. */
export async function connectWithin(
  timeoutMs: number,
  url: string,
  onWait: (reason: string) => void,
): Promise<pg.Client> {
  const deadline = Date.now() + timeoutMs;
  for (let pause = 100; ; pause = Math.min(pause * 2, 2_000)) {
    const client = new pg.Client({
      connectionString: url,
      application_name: 'harbour-migrate',
      connectionTimeoutMillis: Math.max(deadline - Date.now(), 1),
    });
    // Without a listener, a connection that breaks later would end the process with a stack trace.
    client.on('error', () => undefined);
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      const reason = describe(error);
      if (!isUnavailable(error))
        throw new Error(`the database refused: ${reason}`, { cause: error });
      if (Date.now() + pause >= deadline) {
        throw new Error(`no database after ${timeoutMs / 1000} s: ${reason}`, { cause: error });
      }
      onWait(reason);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/** The SQLSTATE of Postgres, or the code of the system call that failed. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** Whether a Postgres error names this constraint. */
export function violates(error: unknown, constraint: string): boolean {
  return error instanceof pg.DatabaseError && error.constraint === constraint;
}

const UNAVAILABLE_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT', // a Unix socket that is not there yet
  '53300', // too many connections
  '57014', // the statement ran out of time
  '57P01', // shut down by the administrator
  '57P02', // crashed
  '57P03', // starting up
  '25006', // read-only: a failover under way
]);

/** pg gives these no code. */
const UNAVAILABLE_MESSAGES = [
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Query read timeout',
  'Connection terminated',
  'Client has encountered a connection error',
];

/** Whether the database could not answer, as opposed to: answered that the request is wrong. Worth a retry. */
export function isUnavailable(error: unknown): boolean {
  const code = errorCode(error);
  if (code !== undefined) return UNAVAILABLE_CODES.has(code) || /^08...$/.test(code);
  return (
    error instanceof Error &&
    UNAVAILABLE_MESSAGES.some((message) => error.message.startsWith(message))
  );
}

/** One line for a person: the message, and the code where there is one. */
export function describe(error: unknown): string {
  // A host with several addresses fails with several errors, and an empty message of its own.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const message = (first instanceof Error ? first.message : String(first)).replaceAll(/\s+/g, ' ');
  const code = errorCode(error);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
