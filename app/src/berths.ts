import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts';
import type { FastifyInstance } from 'fastify';
import type pg from 'pg';

import { violates } from './database.ts';
import { decodeCursor, nextCursor, pageLimit, pageQuery, toPage } from './pagination.ts';
import { Problem } from './problem.ts';

export interface Berth {
  id: number;
  name: string;
  maxLengthCm: number;
  maxDraughtCm: number;
  createdAt: string;
}

interface BerthRow {
  id: number;
  name: string;
  max_length_cm: number;
  max_draught_cm: number;
  created_at: Date;
}

const dimensions = {
  maxLengthCm: { type: 'integer', minimum: 1, maximum: 50_000 },
  maxDraughtCm: { type: 'integer', minimum: 1, maximum: 5_000 },
} as const;

const newBerth = {
  type: 'object',
  required: ['name', 'maxLengthCm', 'maxDraughtCm'],
  additionalProperties: false,
  properties: {
    name: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9-]{0,39}$' },
    ...dimensions,
  },
} as const;

const berth = {
  type: 'object',
  required: ['id', 'name', 'maxLengthCm', 'maxDraughtCm', 'createdAt'],
  additionalProperties: false,
  properties: {
    id: { type: 'integer' },
    name: { type: 'string' },
    ...dimensions,
    createdAt: { type: 'string' },
  },
} as const;

const berthPage = {
  type: 'object',
  required: ['items', 'nextCursor'],
  additionalProperties: false,
  properties: { items: { type: 'array', items: berth }, nextCursor },
} as const;

const berthParams = {
  type: 'object',
  required: ['id'],
  additionalProperties: false,
  // Nine digits fit Postgres' integer.
  properties: { id: { type: 'string', pattern: '^[1-9][0-9]{0,8}$' } },
} as const;

const listQuery = { type: 'object', additionalProperties: false, properties: pageQuery } as const;

export function berthRoutes(server: FastifyInstance, pool: pg.Pool): void {
  const app = server.withTypeProvider<JsonSchemaToTsProvider>();

  app.post(
    '/berths',
    { schema: { body: newBerth, response: { 201: berth } } },
    async (request, reply) => {
      const { name, maxLengthCm, maxDraughtCm } = request.body;
      try {
        const { rows } = await pool.query<BerthRow>(
          'INSERT INTO berths (name, max_length_cm, max_draught_cm) VALUES ($1, $2, $3) RETURNING *',
          [name, maxLengthCm, maxDraughtCm],
        );
        const [created] = rows.map(toBerth) as [Berth];
        return await reply.code(201).header('location', `/berths/${created.id}`).send(created);
      } catch (error) {
        if (violates(error, 'berths_name_unique')) {
          throw new Problem('berth-name-taken', `There is a berth ${name} already`);
        }
        throw error;
      }
    },
  );

  app.get(
    '/berths',
    { schema: { querystring: listQuery, response: { 200: berthPage } } },
    async (request) => {
      const limit = pageLimit(request.query.limit);
      const { cursor } = request.query;
      const [after] = cursor === undefined ? [0] : decodeCursor(cursor, isBerthKey);
      const { rows } = await pool.query<BerthRow>(
        'SELECT * FROM berths WHERE id > $1 ORDER BY id LIMIT $2',
        [after, limit + 1],
      );
      const page = toPage(rows, limit, ({ id }) => [id]);
      return { items: page.rows.map(toBerth), nextCursor: page.nextCursor };
    },
  );

  app.get(
    '/berths/:id',
    { schema: { params: berthParams, response: { 200: berth } } },
    async (request) => {
      const id = Number(request.params.id);
      const found = await findBerth(pool, id);
      if (found === undefined) throw noSuchBerth(id);
      return found;
    },
  );

  app.delete('/berths/:id', { schema: { params: berthParams } }, async (request, reply) => {
    const id = Number(request.params.id);
    try {
      const { rowCount } = await pool.query('DELETE FROM berths WHERE id = $1', [id]);
      if (rowCount === 0) throw noSuchBerth(id);
    } catch (error) {
      if (violates(error, 'bookings_berth_exists')) {
        throw new Problem('berth-in-use', `Berth ${id} has bookings; cancel them first`);
      }
      throw error;
    }
    return reply.code(204).send();
  });
}

export async function findBerth(pool: pg.Pool, id: number): Promise<Berth | undefined> {
  const { rows } = await pool.query<BerthRow>('SELECT * FROM berths WHERE id = $1', [id]);
  return rows.map(toBerth)[0];
}

function toBerth(row: BerthRow): Berth {
  return {
    id: row.id,
    name: row.name,
    maxLengthCm: row.max_length_cm,
    maxDraughtCm: row.max_draught_cm,
    createdAt: row.created_at.toISOString(),
  };
}

function noSuchBerth(id: number): Problem {
  return new Problem('not-found', `There is no berth ${id}`);
}

function isBerthKey(value: unknown): value is [id: number] {
  return (
    Array.isArray(value) &&
    value.length === 1 &&
    Number.isSafeInteger(value[0]) &&
    value[0] > 0 &&
    value[0] < 2 ** 31
  );
}
