import type { Fault } from './problem.ts';

export interface Vessel {
  name: string;
  lengthCm: number;
  draughtCm: number;
}

export interface BookingRequest {
  vessel: Vessel;
  startsAt: Date;
  endsAt: Date;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export const SHORTEST_STAY_MS = HOUR;
export const LONGEST_STAY_MS = 90 * DAY;
export const FARTHEST_AHEAD_MS = 366 * DAY;

/**
 * The harbour's rules for one booking by itself, every one that is broken. That no two bookings overlap is not
 * among them: only the database can tell.
 */
export function brokenRules(
  { vessel, startsAt, endsAt }: BookingRequest,
  berth: { maxLengthCm: number; maxDraughtCm: number },
  now: Date,
): Fault[] {
  const faults: Fault[] = [];
  const stay = endsAt.getTime() - startsAt.getTime();
  const ahead = startsAt.getTime() - now.getTime();

  if (ahead < 0) faults.push({ pointer: '#/startsAt', detail: 'lies in the past' });
  if (ahead > FARTHEST_AHEAD_MS) {
    faults.push({ pointer: '#/startsAt', detail: 'is more than 366 days ahead' });
  }
  if (stay <= 0) faults.push({ pointer: '#/endsAt', detail: 'is not after startsAt' });
  else if (stay < SHORTEST_STAY_MS) {
    faults.push({ pointer: '#/endsAt', detail: 'makes the stay shorter than an hour' });
  } else if (stay > LONGEST_STAY_MS) {
    faults.push({ pointer: '#/endsAt', detail: 'makes the stay longer than 90 days' });
  }
  if (vessel.lengthCm > berth.maxLengthCm) {
    faults.push({
      pointer: '#/vessel/lengthCm',
      detail: `exceeds the berth's ${berth.maxLengthCm} cm`,
    });
  }
  if (vessel.draughtCm > berth.maxDraughtCm) {
    faults.push({
      pointer: '#/vessel/draughtCm',
      detail: `exceeds the berth's ${berth.maxDraughtCm} cm`,
    });
  }
  return faults;
}
