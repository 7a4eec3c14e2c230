import { Problem } from './problem.ts';

/** Query parameters arrive as text, and are checked as text: coercion would take "true" for 1. */
export const pageQuery = {
  limit: {
    type: 'string',
    pattern: '^([1-9][0-9]?|100)$',
    description: 'how many items at most, 1 to 100; 20 when not given',
  },
  cursor: {
    type: 'string',
    minLength: 1,
    maxLength: 200,
    description: 'nextCursor of the page before',
  },
} as const;

export const nextCursor = { type: ['string', 'null'] } as const;

const DEFAULT_LIMIT = 20;

export function pageLimit(limit: string | undefined): number {
  return limit === undefined ? DEFAULT_LIMIT : Number(limit);
}

/** A position in a list: the sort key of the last item that was seen. Opaque to clients, so that it may change. */
export function encodeCursor(key: readonly (number | string)[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** The key in the cursor, if `isKey` knows it: a cursor is a client's input like any other. */
export function decodeCursor<Key>(cursor: string, isKey: (value: unknown) => value is Key): Key {
  let key: unknown;
  try {
    key = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    key = undefined;
  }
  if (isKey(key)) return key;
  const detail = 'is not a cursor of this list';
  throw new Problem('invalid-request', `cursor ${detail}`, [{ parameter: 'cursor', detail }]);
}

/**
 * Cuts a page from rows of which one more than `limit` was asked for: that one tells whether there is a next page,
 * and saves the client a request for an empty one.
 */
export function toPage<Row>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => readonly (number | string)[],
): { rows: readonly Row[]; nextCursor: string | null } {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { rows: page, nextCursor: more ? encodeCursor(keyOf(last)) : null };
}
