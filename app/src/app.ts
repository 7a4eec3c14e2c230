import { randomUUID } from 'node:crypto';

import Fastify, { type FastifyInstance } from 'fastify';
import type pg from 'pg';

import { berthRoutes } from './berths.ts';
import { bookingRoutes } from './bookings.ts';
import type { BuildInfo } from './build-info.ts';
import type { LogLevel } from './config.ts';
import { operationsRoutes } from './operations.ts';
import { errorHandler, notFoundHandler } from './problem.ts';

export interface AppOptions {
  pool: pg.Pool;
  buildInfo: BuildInfo;
  migrations: readonly string[];
  logLevel: LogLevel;
  /** Where the log goes; standard output when not given. */
  logTo?: { write(line: string): void };
  now?: () => Date;
}

/** The service without its process: no environment, no signals, no port. It owns the pool from here on. */
export function buildApp(options: AppOptions): FastifyInstance {
  const { pool, buildInfo, migrations, logLevel, logTo, now = () => new Date() } = options;

  const app = Fastify({
    logger: {
      level: logLevel,
      redact: {
        paths: [
          'authorization',
          'cookie',
          '*.authorization',
          '*.cookie',
          '*.*.authorization',
          '*.*.cookie',
        ],
        censor: '[redacted]',
      },
      ...(logTo && { stream: logTo }),
    },
    // Ours, never the client's: an id in the log names one request.
    genReqId: () => randomUUID(),
    bodyLimit: 16 * 1024,
    ajv: {
      customOptions: {
        // A wrong type is told, not bent; an unknown member is told, not dropped.
        coerceTypes: false,
        removeAdditional: false,
        // All faults at once. The size of a body is bounded, and so is their number.
        allErrors: true,
      },
    },
    frameworkErrors: (error, request, reply) => void errorHandler(error, request, reply),
  });

  // A connection that breaks while idle is no reason to end the process; the pool opens another.
  pool.on('error', (error) => {
    app.log.warn({ err: error }, 'idle database connection lost');
  });
  app.addHook('onClose', () => pool.end());

  // Closing drops the connections that are idle by then. One that still has a request under way would stay
  // open after its answer, until the client's keep-alive runs out; so the answer says that it is the last.
  let closing = false;
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) void reply.header('connection', 'close');
    done();
  });

  app.setErrorHandler(errorHandler);
  app.setNotFoundHandler(notFoundHandler);
  operationsRoutes(app, { pool, buildInfo, migrations });
  berthRoutes(app, pool);
  bookingRoutes(app, pool, now);
  return app;
}
