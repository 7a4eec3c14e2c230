import { STATUS_CODES } from 'node:http';

import type {
  FastifyError,
  FastifyReply,
  FastifyRequest,
  FastifySchemaValidationError,
} from 'fastify';

import { isUnavailable } from './database.ts';

/** What is wrong, and where: a JSON pointer into the body, or the name of a parameter. */
export type Fault = { detail: string } & ({ pointer: string } | { parameter: string });

/** The body of every error, in the form of RFC 9457. */
interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  requestId: string;
  errors?: readonly Fault[];
}

const KINDS = {
  'invalid-request': { status: 400, title: 'The request is malformed' },
  'not-found': { status: 404, title: 'There is no such thing' },
  'berth-name-taken': { status: 409, title: 'Another berth has this name' },
  'berth-in-use': { status: 409, title: 'The berth has bookings' },
  'booking-overlap': { status: 409, title: 'The berth is taken' },
  'booking-started': { status: 409, title: 'The booking has started' },
  'booking-refused': { status: 422, title: 'The booking breaks a rule of the harbour' },
  'database-unavailable': { status: 503, title: 'The database is unavailable' },
} as const;

export type ProblemKind = keyof typeof KINDS;

/** Thrown by handlers; the error handler turns it into a response. */
export class Problem extends Error {
  override name = 'Problem';
  readonly kind: ProblemKind;
  readonly faults: readonly Fault[] | undefined;

  constructor(kind: ProblemKind, detail: string, faults?: readonly Fault[]) {
    super(detail);
    this.kind = kind;
    this.faults = faults;
  }
}

export function notFoundHandler(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return send(
    request,
    reply,
    new Problem('not-found', `${request.method} ${path(request)} is not served`),
  );
}

export function errorHandler(
  error: FastifyError | Problem,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  if (error instanceof Problem) return send(request, reply, error);
  if (error.validation !== undefined) {
    const faults = error.validation.map((one) => fault(one, error.validationContext));
    return send(request, reply, new Problem('invalid-request', summary(faults), faults));
  }
  if (isUnavailable(error)) {
    request.log.error({ err: error }, 'database unavailable');
    void reply.header('retry-after', 5);
    return send(request, reply, new Problem('database-unavailable', 'Try again in a few seconds'));
  }
  // Fastify's own refusals: a body that is no JSON, too large, of another media type.
  const { statusCode } = error;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return sendPlain(request, reply, statusCode, error.message);
  }
  request.log.error({ err: error }, 'unexpected error');
  return sendPlain(
    request,
    reply,
    500,
    'Something went wrong here; the log has it under requestId',
  );
}

function send(request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
  const { status, title } = KINDS[problem.kind];
  return write(reply, {
    type: `urn:harbour:problem:${problem.kind}`,
    title,
    status,
    detail: problem.message,
    instance: path(request),
    requestId: request.id,
    ...(problem.faults && { errors: problem.faults }),
  });
}

function sendPlain(
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  detail: string,
): FastifyReply {
  return write(reply, {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    instance: path(request),
    requestId: request.id,
  });
}

function write(reply: FastifyReply, document: ProblemDocument): FastifyReply {
  // Serialized here: a route's schema for this status must not drop a member.
  return reply
    .code(document.status)
    .header('content-type', 'application/problem+json')
    .serializer(JSON.stringify)
    .send(document);
}

function path(request: FastifyRequest): string {
  return request.url.split('?', 1).join('');
}

function fault(error: FastifySchemaValidationError, context: string | undefined): Fault {
  const { additionalProperty, missingProperty } = error.params;
  let at = error.instancePath;
  let detail = error.message ?? 'is not valid';
  if (typeof additionalProperty === 'string') {
    at += `/${additionalProperty}`;
    detail = 'is not known';
  } else if (typeof missingProperty === 'string') {
    at += `/${missingProperty}`;
    detail = 'is required';
  }
  return context === 'body' ? { pointer: `#${at}`, detail } : { parameter: at.slice(1), detail };
}

/** All faults in one line. */
export function summary(faults: readonly Fault[]): string {
  return faults
    .map((one) => `${'pointer' in one ? one.pointer : one.parameter} ${one.detail}`)
    .join('; ');
}
