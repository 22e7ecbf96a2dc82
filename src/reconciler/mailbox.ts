/**
 * One writer per deployment: pokes of a deployment are served one after another, and any number of pokes that come
 * while it is being served lead to one more look. Also owns the one timer a deployment may ask for. Knows nothing of
 * what a look does.
 */
import type { Clock } from "../ports.ts";

export type Mailboxes = {
  /** Asks for a look at `id`, now or as soon as the present one has ended. */
  poke(id: string): void;
  /** Resolves when nothing is being looked at any more; no look begins afterwards. */
  stop(): Promise<void>;
};

type Mailbox = { isBusy: boolean; isDirty: boolean; timer: AbortController | null; done: Promise<void> };

/**
 * @param look returns when to look again, milliseconds since the epoch, or null; it must not throw
 */
export function createMailboxes(clock: Clock, look: (id: string) => Promise<number | null>): Mailboxes {
  const boxes = new Map<string, Mailbox>();
  let isStopped = false;

  async function serve(id: string, box: Mailbox): Promise<void> {
    let againAtMs: number | null = null;
    while (box.isDirty && !isStopped) {
      box.isDirty = false;
      againAtMs = await look(id);
    }
    box.isBusy = false;
    if (isStopped || againAtMs === null) {
      boxes.delete(id);
      return;
    }
    const timer = new AbortController();
    box.timer = timer;
    clock.sleep(Math.max(0, againAtMs - clock.now()), timer.signal).then(
      () => poke(id),
      () => undefined, // aborted: an earlier poke or the stop has replaced this timer
    );
  }

  function poke(id: string): void {
    if (isStopped) return;
    let box = boxes.get(id);
    if (box === undefined) {
      box = { isBusy: false, isDirty: false, timer: null, done: Promise.resolve() };
      boxes.set(id, box);
    }
    box.timer?.abort();
    box.timer = null;
    box.isDirty = true;
    if (box.isBusy) return;
    box.isBusy = true;
    box.done = serve(id, box);
  }

  return {
    poke,
    async stop() {
      isStopped = true;
      for (const box of boxes.values()) box.timer?.abort();
      await Promise.all([...boxes.values()].map((box) => box.done));
    },
  };
}
