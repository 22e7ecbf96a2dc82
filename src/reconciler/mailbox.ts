/**
 * One writer per deployment: pokes of a deployment are served one after another, and any number of pokes that come
 * while it is being served lead to one more look. At most a few are served at once, hints before the sweep, and of the
 * sweep's one begins in each turn of the event loop, so that
 * neither a thousand deployments nor a driver that answers late hold up the rest of the process. Also owns the one
 * timer a deployment may ask for. Knows nothing of what a look does.
 */
import type { Clock } from "../ports/clock.ts";

export type Mailboxes = {
  /** Asks for a look at `id`, as soon as the present one has ended and it is its turn. */
  poke(id: string): void;
  /** The same, after everything that was poked. */
  pokeLater(id: string): void;
  /** Resolves when nothing is being looked at any more; no look begins afterwards. */
  stop(): Promise<void>;
};

type Mailbox = { isBusy: boolean; isDirty: boolean; timer: AbortController | null };

/** Looks at once. Nearly all of a look is waiting; a start waits for a process. */
const defaultMaxBusy = 8;

/**
 * @param look returns when to look again, milliseconds since the epoch, or null; it must not throw
 */
export function createMailboxes(
  clock: Clock,
  look: (id: string) => Promise<number | null>,
  maxBusy = defaultMaxBusy,
): Mailboxes {
  const boxes = new Map<string, Mailbox>();
  const urgent = new Set<string>();
  const later = new Set<string>();
  const serving = new Set<Promise<void>>();
  let isStopped = false;
  /** One that can wait has begun in this turn: whoever asks the process for something comes first. */
  let isGivingWay = false;

  async function serve(id: string, box: Mailbox): Promise<void> {
    box.isBusy = true;
    box.isDirty = false;
    const againAtMs = await look(id);
    // Looks that find everything in memory would never let go of the process otherwise.
    await new Promise((resolve) => setImmediate(resolve));
    box.isBusy = false;
    if (isStopped) return;
    if (box.isDirty) urgent.add(id);
    else if (againAtMs === null) boxes.delete(id);
    else setTimer(id, box, againAtMs);
  }

  function setTimer(id: string, box: Mailbox, atMs: number): void {
    const timer = new AbortController();
    box.timer = timer;
    clock.sleep(Math.max(0, atMs - clock.now()), timer.signal).then(
      () => poke(id),
      () => undefined, // aborted: an earlier poke or the stop has replaced this timer
    );
  }

  function serveNext(): void {
    while (!isStopped && serving.size < maxBusy) {
      const [id] = urgent.size > 0 || isGivingWay ? urgent : later;
      if (id === undefined) return;
      if (!urgent.delete(id)) giveWay();
      later.delete(id);
      const box = boxes.get(id);
      if (box === undefined) continue;
      const done = serve(id, box).finally(() => {
        serving.delete(done);
        serveNext();
      });
      serving.add(done);
    }
  }

  function giveWay(): void {
    isGivingWay = true;
    setImmediate(() => {
      isGivingWay = false;
      serveNext();
    });
  }

  function ask(id: string, line: Set<string>): void {
    if (isStopped) return;
    let box = boxes.get(id);
    if (box === undefined) {
      box = { isBusy: false, isDirty: false, timer: null };
      boxes.set(id, box);
    }
    box.timer?.abort();
    box.timer = null;
    box.isDirty = true;
    if (box.isBusy) return;
    line.add(id);
    serveNext();
  }

  const poke = (id: string) => ask(id, urgent);

  return {
    poke,
    pokeLater: (id) => ask(id, later),
    async stop() {
      isStopped = true;
      for (const box of boxes.values()) box.timer?.abort();
      await Promise.all(serving);
    },
  };
}
