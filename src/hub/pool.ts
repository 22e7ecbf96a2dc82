/**
 * The connections of all downloads together: looks now and then how fast the whole is, decides how many there may be,
 * and tells each download its share. Owns the clockwork around `pace.ts`; opens nothing itself.
 */
import type { Share } from "./lanes.ts";
import { nextPace, type Pace, shareWidth, startPace } from "./pace.ts";

const lookEveryMs = 500;

type Member = { want: number; width: number; readonly listeners: Set<() => void> };

export type ConnectionPool = {
  /** Adds a download; `leave` gives its connections to the others. `note` counts what it receives. */
  join(): { readonly share: Share; note(received: number): void; leave(): void };
};

export function createConnectionPool(maxWidth: number): ConnectionPool {
  const members = new Set<Member>();
  let pace: Pace = startPace(maxWidth);
  let received = 0;
  let pushedBack = false;
  let lookedAtMs = 0;
  let timer: NodeJS.Timeout | null = null;

  function divide(): void {
    const all = [...members];
    const shares = shareWidth(
      pace.width,
      all.map(({ want }) => want),
    );
    for (const [index, member] of all.entries()) {
      const width = shares[index] ?? 1;
      if (width === member.width) continue;
      member.width = width;
      for (const listener of member.listeners) listener();
    }
  }

  function look(): void {
    const nowMs = performance.now();
    const wanted = [...members].reduce((sum, { want }) => sum + want, 0);
    const bytesPerS = (received * 1000) / Math.max(1, nowMs - lookedAtMs);
    const before = pace.width;
    pace = nextPace(pace, { bytesPerS, pushedBack, hasWork: wanted > before }, maxWidth);
    received = 0;
    pushedBack = false;
    lookedAtMs = nowMs;
    if (pace.width !== before) divide();
  }

  function shareOf(member: Member): Share {
    return {
      width: () => member.width,
      watch(listener) {
        member.listeners.add(listener);
        return () => void member.listeners.delete(listener);
      },
      want(lanes) {
        if (lanes === member.want) return;
        member.want = lanes;
        divide();
      },
      pushBack() {
        pushedBack = true;
      },
    };
  }

  return {
    join() {
      const member: Member = { want: 1, width: 1, listeners: new Set() };
      members.add(member);
      if (timer === null) {
        pace = startPace(maxWidth);
        received = 0;
        lookedAtMs = performance.now();
        timer = setInterval(look, lookEveryMs);
      }
      divide();
      return {
        share: shareOf(member),
        note(bytes) {
          received += bytes;
        },
        leave() {
          members.delete(member);
          if (members.size > 0) return divide();
          if (timer !== null) clearInterval(timer);
          timer = null;
        },
      };
    },
  };
}
