import type { FastifyInstance } from 'fastify';
import type pg from 'pg';

import type { BuildInfo } from './build-info.ts';
import { errorCode } from './database.ts';
import { pendingMigrations } from './migrations.ts';

interface Options {
  pool: pg.Pool;
  buildInfo: BuildInfo;
  /** The migrations that must be in the database before this build takes requests. */
  migrations: readonly string[];
}

/** What the platform asks, as opposed to the harbour's customers. */
export function operationsRoutes(
  app: FastifyInstance,
  { pool, buildInfo, migrations }: Options,
): void {
  // Probes come every few seconds; only what goes wrong is worth a line.
  const quiet = { logLevel: 'warn' } as const;

  // Alive: the process answers. It touches nothing, for a restart would not repair the database.
  app.get('/healthz', quiet, () => ({ status: 'ok' }));

  app.get('/version', quiet, () => buildInfo);

  app.get('/readyz', quiet, async (request, reply) => {
    let reason: string;
    try {
      const pending = await pendingMigrations(pool, migrations);
      if (pending.length === 0) return { status: 'ready' };
      reason = `migrations not applied: ${pending.join(', ')}`;
    } catch (error) {
      request.log.warn({ err: error }, 'not ready');
      // The code alone: the message may name hosts and users, and probes are open to all.
      reason = `database unreachable: ${errorCode(error) ?? 'no answer in time'}`;
    }
    return reply.code(503).send({ status: 'unavailable', reason });
  });
}
