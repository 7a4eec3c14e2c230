import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts';
import type { FastifyInstance } from 'fastify';
import type pg from 'pg';

import { findBerth } from './berths.ts';
import { brokenRules, type Vessel } from './booking-rules.ts';
import { violates } from './database.ts';
import { decodeCursor, nextCursor, pageLimit, pageQuery, toPage } from './pagination.ts';
import { type Fault, Problem, summary } from './problem.ts';

interface Booking {
  id: string;
  berthId: number;
  vessel: Vessel;
  startsAt: string;
  endsAt: string;
  createdAt: string;
}

interface BookingRow {
  id: string;
  berth_id: number;
  vessel_name: string;
  vessel_length_cm: number;
  vessel_draught_cm: number;
  starts_at: Date;
  ends_at: Date;
  created_at: Date;
}

const vessel = {
  type: 'object',
  required: ['name', 'lengthCm', 'draughtCm'],
  additionalProperties: false,
  properties: {
    // Letters of any script, but no control characters (Postgres refuses NUL), and not blank.
    name: { type: 'string', maxLength: 80, pattern: '^(?=.*\\S)\\P{Cc}+$' },
    lengthCm: { type: 'integer', minimum: 1, maximum: 50_000 },
    draughtCm: { type: 'integer', minimum: 1, maximum: 5_000 },
  },
} as const;

const newBooking = {
  type: 'object',
  required: ['berthId', 'vessel', 'startsAt', 'endsAt'],
  additionalProperties: false,
  properties: {
    berthId: { type: 'integer', minimum: 1, maximum: 999_999_999 },
    vessel,
    startsAt: { type: 'string', format: 'date-time' },
    endsAt: { type: 'string', format: 'date-time' },
  },
} as const;

const booking = {
  type: 'object',
  required: ['id', 'berthId', 'vessel', 'startsAt', 'endsAt', 'createdAt'],
  additionalProperties: false,
  properties: {
    id: { type: 'string' },
    berthId: { type: 'integer' },
    vessel,
    startsAt: { type: 'string' },
    endsAt: { type: 'string' },
    createdAt: { type: 'string' },
  },
} as const;

const bookingPage = {
  type: 'object',
  required: ['items', 'nextCursor'],
  additionalProperties: false,
  properties: { items: { type: 'array', items: booking }, nextCursor },
} as const;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const bookingParams = {
  type: 'object',
  required: ['id'],
  additionalProperties: false,
  properties: { id: { type: 'string', pattern: UUID.source } },
} as const;

const listQuery = {
  type: 'object',
  additionalProperties: false,
  properties: { ...pageQuery, berthId: { type: 'string', pattern: '^[1-9][0-9]{0,8}$' } },
} as const;

export function bookingRoutes(server: FastifyInstance, pool: pg.Pool, now: () => Date): void {
  const app = server.withTypeProvider<JsonSchemaToTsProvider>();

  app.post(
    '/bookings',
    { schema: { body: newBooking, response: { 201: booking } } },
    async (request, reply) => {
      const { berthId, vessel } = request.body;
      const startsAt = toDate(request.body.startsAt, '#/startsAt');
      const endsAt = toDate(request.body.endsAt, '#/endsAt');

      const berth = await findBerth(pool, berthId);
      if (berth === undefined) throw refused([noSuchBerth(berthId)]);
      const faults = brokenRules({ vessel, startsAt, endsAt }, berth, now());
      if (faults.length > 0) throw refused(faults);

      const created = await insert(pool, berthId, vessel, startsAt, endsAt);
      return reply.code(201).header('location', `/bookings/${created.id}`).send(created);
    },
  );

  app.get(
    '/bookings',
    { schema: { querystring: listQuery, response: { 200: bookingPage } } },
    async (request) => {
      const { berthId, cursor } = request.query;
      const limit = pageLimit(request.query.limit);
      const [startsAt, id] =
        cursor === undefined ? [null, null] : decodeCursor(cursor, isBookingKey);
      const { rows } = await pool.query<BookingRow>(
        `SELECT * FROM bookings
          WHERE ($1::integer IS NULL OR berth_id = $1)
            AND ($2::timestamptz IS NULL OR (starts_at, id) > ($2, $3::uuid))
          ORDER BY starts_at, id
          LIMIT $4`,
        [berthId === undefined ? null : Number(berthId), startsAt, id, limit + 1],
      );
      const page = toPage(rows, limit, (row) => [row.starts_at.toISOString(), row.id]);
      return { items: page.rows.map(toBooking), nextCursor: page.nextCursor };
    },
  );

  app.get(
    '/bookings/:id',
    { schema: { params: bookingParams, response: { 200: booking } } },
    async (request) => {
      const { id } = request.params;
      const found = await findBooking(pool, id);
      if (found === undefined) throw noSuchBooking(id);
      return found;
    },
  );

  app.delete('/bookings/:id', { schema: { params: bookingParams } }, async (request, reply) => {
    const { id } = request.params;
    // Looked at and deleted in one statement: it cannot start in between.
    const { rowCount } = await pool.query('DELETE FROM bookings WHERE id = $1 AND starts_at > $2', [
      id,
      now(),
    ]);
    if (rowCount === 0) {
      if ((await findBooking(pool, id)) === undefined) throw noSuchBooking(id);
      throw new Problem('booking-started', 'A booking can be cancelled until it starts');
    }
    return reply.code(204).send();
  });
}

async function insert(
  pool: pg.Pool,
  berthId: number,
  vessel: Vessel,
  startsAt: Date,
  endsAt: Date,
): Promise<Booking> {
  try {
    // DO NOTHING instead of catching the violation: two inserts that wait for each other under an exclusion
    // constraint deadlock, and one of them would learn that after a second. This way the later one waits.
    const { rows } = await pool.query<BookingRow>(
      `INSERT INTO bookings
         (berth_id, vessel_name, vessel_length_cm, vessel_draught_cm, starts_at, ends_at)
       VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT ON CONSTRAINT bookings_no_overlap DO NOTHING
       RETURNING *`,
      [berthId, vessel.name, vessel.lengthCm, vessel.draughtCm, startsAt, endsAt],
    );
    const [created] = rows.map(toBooking);
    if (created !== undefined) return created;
  } catch (error) {
    // The berth went away after it was looked up.
    if (violates(error, 'bookings_berth_exists')) throw refused([noSuchBerth(berthId)]);
    throw error;
  }
  throw new Problem('booking-overlap', `Berth ${berthId} is taken for some of that time`);
}

async function findBooking(pool: pg.Pool, id: string): Promise<Booking | undefined> {
  const { rows } = await pool.query<BookingRow>('SELECT * FROM bookings WHERE id = $1', [id]);
  return rows.map(toBooking)[0];
}

function toBooking(row: BookingRow): Booking {
  return {
    id: row.id,
    berthId: row.berth_id,
    vessel: {
      name: row.vessel_name,
      lengthCm: row.vessel_length_cm,
      draughtCm: row.vessel_draught_cm,
    },
    startsAt: row.starts_at.toISOString(),
    endsAt: row.ends_at.toISOString(),
    createdAt: row.created_at.toISOString(),
  };
}

/** RFC 3339 knows times that Date does not, such as a leap second. */
function toDate(text: string, pointer: string): Date {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date;
  const detail = 'is not a time that this service can keep';
  throw new Problem('invalid-request', `${pointer} ${detail}`, [{ pointer, detail }]);
}

function refused(faults: readonly Fault[]): Problem {
  return new Problem('booking-refused', summary(faults), faults);
}

function noSuchBerth(id: number): Fault {
  return { pointer: '#/berthId', detail: `names berth ${id}, which does not exist` };
}

function isBookingKey(value: unknown): value is [startsAt: string, id: string] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [startsAt, id] = value as unknown[];
  return (
    typeof startsAt === 'string' &&
    // Four digits of year, as toISOString writes them and Postgres reads them.
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(startsAt) &&
    !Number.isNaN(Date.parse(startsAt)) &&
    typeof id === 'string' &&
    UUID.test(id)
  );
}

function noSuchBooking(id: string): Problem {
  return new Problem('not-found', `There is no booking ${id}`);
}
