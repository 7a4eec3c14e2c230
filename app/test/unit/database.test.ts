import assert from 'node:assert/strict';
import { test } from 'node:test';

import { describe, isUnavailable } from '../../src/database.ts';

const withCode = (code: string, message = 'boom') => Object.assign(new Error(message), { code });

test('a database that cannot answer differs from one that refuses', () => {
  for (const error of [
    withCode('ECONNREFUSED'),
    withCode('57P03'),
    withCode('08006'),
    new Error('timeout exceeded when trying to connect'),
    new Error('Connection terminated unexpectedly'),
  ]) {
    assert.equal(isUnavailable(error), true, describe(error));
  }
  for (const error of [
    withCode('28P01'), // wrong password
    withCode('3D000'), // no such database
    withCode('23505'),
    new Error('anything else'),
    'text',
    null,
  ]) {
    assert.equal(isUnavailable(error), false, describe(error));
  }
});

test('an error is told in one line, also when a host has several addresses', () => {
  assert.equal(
    describe(withCode('42601', 'syntax error\n  at "CREAT"')),
    'syntax error at "CREAT" (42601)',
  );
  const refused = withCode('ECONNREFUSED', 'connect ECONNREFUSED ::1:1');
  const both = Object.assign(new AggregateError([refused, refused], ''), { code: 'ECONNREFUSED' });
  assert.equal(describe(both), 'connect ECONNREFUSED ::1:1');
});
