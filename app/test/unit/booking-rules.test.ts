import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  brokenRules,
  FARTHEST_AHEAD_MS,
  LONGEST_STAY_MS,
  SHORTEST_STAY_MS,
} from '../../src/booking-rules.ts';

const now = new Date('2030-06-01T12:00:00Z');
const berth = { maxLengthCm: 1200, maxDraughtCm: 250 };

/** The pointers of the broken rules, for a booking that starts and lasts as given, in milliseconds. */
function faults({ ahead = 0, stay = SHORTEST_STAY_MS, lengthCm = 900, draughtCm = 160 }): string[] {
  const startsAt = new Date(now.getTime() + ahead);
  const endsAt = new Date(startsAt.getTime() + stay);
  const vessel = { name: 'Seeadler', lengthCm, draughtCm };
  return brokenRules({ vessel, startsAt, endsAt }, berth, now).map((fault) =>
    'pointer' in fault ? fault.pointer : fault.parameter,
  );
}

test('a booking on every limit is fine', () => {
  assert.deepEqual(faults({ lengthCm: 1200, draughtCm: 250 }), []);
  assert.deepEqual(faults({ ahead: FARTHEST_AHEAD_MS, stay: LONGEST_STAY_MS }), []);
});

for (const [promise, booking, pointer] of [
  ['may not start in the past', { ahead: -1 }, '#/startsAt'],
  ['may not start too far ahead', { ahead: FARTHEST_AHEAD_MS + 1 }, '#/startsAt'],
  ['may not end when it starts', { stay: 0 }, '#/endsAt'],
  ['may not end before it starts', { stay: -SHORTEST_STAY_MS }, '#/endsAt'],
  ['may not be too short', { stay: SHORTEST_STAY_MS - 1 }, '#/endsAt'],
  ['may not be too long', { stay: LONGEST_STAY_MS + 1 }, '#/endsAt'],
  ['may not be longer than its berth', { lengthCm: 1201 }, '#/vessel/lengthCm'],
  ['may not be deeper than its berth', { draughtCm: 251 }, '#/vessel/draughtCm'],
] as const) {
  test(`a booking or its vessel ${promise}`, () => {
    assert.deepEqual(faults(booking), [pointer]);
  });
}

test('every broken rule is told, not only the first', () => {
  assert.deepEqual(faults({ ahead: -1, stay: 0, lengthCm: 5000, draughtCm: 5000 }), [
    '#/startsAt',
    '#/endsAt',
    '#/vessel/lengthCm',
    '#/vessel/draughtCm',
  ]);
});
