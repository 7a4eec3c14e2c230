import { buildApp } from './app.ts';
import { readBuildInfo } from './build-info.ts';
import { ConfigError, serviceConfig } from './config.ts';
import { createPool } from './database.ts';
import { knownMigrations } from './migrations.ts';

async function main(): Promise<void> {
  const config = serviceConfig(process.env);
  const buildInfo = readBuildInfo();
  const app = buildApp({
    pool: createPool(config.databaseUrl, config.databasePoolSize),
    buildInfo,
    migrations: await knownMigrations(),
    logLevel: config.logLevel,
  });

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      app.log.warn({ signal }, 'second signal, stopping at once');
      process.exit(1);
    }
    stopping = true;
    app.log.info({ signal }, 'stopping');
    // The platform kills without a word after a while; better to leave by ourselves, and to say so.
    setTimeout(() => {
      app.log.error({ timeoutMs: config.shutdownTimeoutMs }, 'requests still open, giving up');
      process.exit(1);
    }, config.shutdownTimeoutMs).unref();
    // Stops accepting, waits for the requests under way, then closes the pool.
    app.close().then(
      () => {
        app.log.info('stopped');
        process.exit(0);
      },
      (error: unknown) => {
        app.log.error({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  };
  // Before listening: a signal during the start must not be lost, for as PID 1 nothing else would handle it.
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  app.log.info({ ...buildInfo, node: process.version }, 'starting');
  await app.listen({ host: config.host, port: config.port });
}

try {
  await main();
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `harbour: ${error instanceof ConfigError ? '' : 'cannot start: '}${message}\n`,
  );
  process.exit(1);
}
