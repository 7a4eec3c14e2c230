/** Thrown for a setting that cannot be used. The message is one line, and never holds the value of a URL. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

export type Environment = Readonly<Record<string, string | undefined>>;

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface ServiceConfig {
  host: string;
  port: number;
  logLevel: LogLevel;
  databaseUrl: string;
  databasePoolSize: number;
  shutdownTimeoutMs: number;
}

export interface MigrateConfig {
  databaseUrl: string;
  connectTimeoutMs: number;
  lockTimeoutMs: number;
}

export function serviceConfig(env: Environment): ServiceConfig {
  return {
    host: text(env, 'HOST') ?? '0.0.0.0',
    // 0 asks the system for a free port; the log says which.
    port: wholeNumber(env, 'PORT', { byDefault: 3000, min: 0, max: 65_535 }),
    logLevel: logLevel(env),
    databaseUrl: databaseUrl(env),
    databasePoolSize: wholeNumber(env, 'DATABASE_POOL_SIZE', { byDefault: 10, min: 1, max: 1000 }),
    shutdownTimeoutMs: seconds(env, 'SHUTDOWN_TIMEOUT', 8),
  };
}

export function migrateConfig(env: Environment): MigrateConfig {
  return {
    databaseUrl: databaseUrl(env),
    connectTimeoutMs: seconds(env, 'DATABASE_CONNECT_TIMEOUT', 30),
    lockTimeoutMs: seconds(env, 'MIGRATION_LOCK_TIMEOUT', 30),
  };
}

/** An empty variable counts as unset: that is what compose files and CI templates produce. */
function text(env: Environment, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === '' ? undefined : value;
}

function wholeNumber(
  env: Environment,
  name: string,
  { byDefault, min, max }: { byDefault: number; min: number; max: number },
): number {
  const value = text(env, name);
  if (value === undefined) return byDefault;
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) {
    throw new ConfigError(`${name} must be a whole number from ${min} to ${max}, not "${value}"`);
  }
  return number;
}

function seconds(env: Environment, name: string, byDefault: number): number {
  return wholeNumber(env, name, { byDefault, min: 1, max: 3600 }) * 1000;
}

function logLevel(env: Environment): LogLevel {
  const value = text(env, 'LOG_LEVEL') ?? 'info';
  const level = LOG_LEVELS.find((known) => known === value);
  if (level === undefined) {
    throw new ConfigError(`LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}, not "${value}"`);
  }
  return level;
}

function databaseUrl(env: Environment): string {
  const form = 'postgres://user:password@host:5432/database';
  const value = text(env, 'DATABASE_URL');
  if (value === undefined) throw new ConfigError(`DATABASE_URL is required, as ${form}`);
  if (!isPostgresUrl(value)) {
    // The value is left out on purpose: it holds a password.
    throw new ConfigError(`DATABASE_URL is not a URL of the form ${form}`);
  }
  return value;
}

function isPostgresUrl(value: string): boolean {
  try {
    const url = new URL(value);
    // pg decodes these when it connects, and its error would quote them.
    for (const part of [url.username, url.password, url.pathname]) decodeURIComponent(part);
    return url.protocol === 'postgres:' || url.protocol === 'postgresql:';
  } catch {
    return false;
  }
}
