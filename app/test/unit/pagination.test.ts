import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodeCursor, encodeCursor, pageLimit, toPage } from '../../src/pagination.ts';
import { Problem } from '../../src/problem.ts';

const isKey = (value: unknown): value is [number] =>
  Array.isArray(value) && typeof value[0] === 'number';
const keyOf = (row: number): [number] => [row];

test('a cursor comes back as the key it was made of, and needs no escaping in a URL', () => {
  const cursor = encodeCursor([1234]);
  assert.deepEqual(decodeCursor(cursor, isKey), [1234]);
  assert.match(cursor, /^[\w-]+$/);
});

for (const cursor of ['', '!', 'bm9uc2Vuc2U', encodeCursor(['text']), encodeCursor([]), 'bnVsbA']) {
  test(`cursor "${cursor}" is the client's fault`, () => {
    assert.throws(
      () => decodeCursor(cursor, isKey),
      (error) => error instanceof Problem && error.kind === 'invalid-request',
    );
  });
}

test('there is a next page only if a row was left over', () => {
  assert.deepEqual(toPage([1, 2, 3], 3, keyOf), { rows: [1, 2, 3], nextCursor: null });
  assert.deepEqual(toPage([1, 2, 3, 4], 3, keyOf), {
    rows: [1, 2, 3],
    nextCursor: encodeCursor([3]),
  });
  assert.deepEqual(toPage([], 3, keyOf), { rows: [], nextCursor: null });
});

test('a page has twenty items unless told otherwise', () => {
  assert.equal(pageLimit(undefined), 20);
  assert.equal(pageLimit('7'), 7);
});
