/**
 * A driver that answers in time or fails: one that hangs must not hold up the deployments that others of it serve. What
 * comes too late is not lost, since every look asks anew what there is: a late start is adopted where its record is still
 * there, else ended as an orphan.
 */
import type { Clock } from "../ports/clock.ts";
import type { Driver } from "../ports/driver.ts";

const answerMs = 15_000;
/** Recording an instance and starting its process; loading goes on afterwards. */
const startMs = 60_000;
/** Beyond the time the engine is given. */
const removeMs = 30_000;

/** The driver has not answered in time; it may still do what it was asked for. */
export class LateAnswer extends Error {
  /** Calls back once the driver has answered after all, with whether it did what it was asked for. */
  readonly onAnswer: (then: (isDone: boolean) => void) => void;

  constructor(message: string, asked: Promise<unknown>) {
    super(message);
    this.onAnswer = (then) => {
      asked.then(
        () => then(true),
        () => then(false),
      );
    };
  }
}

export function withDeadlines(driver: Driver, clock: Clock): Driver {
  async function within<T>(what: string, limitMs: number, asked: Promise<T>): Promise<T> {
    // Nearly all answers come from memory, and thousands are asked for in a sweep: a timer would cost more than they do.
    if (await isAnsweredAtOnce(asked)) return await asked;
    const over = new AbortController();
    const late = clock.sleep(limitMs, over.signal).then(
      () => {
        throw new LateAnswer(`the driver did not ${what} within ${limitMs / 1000} s`, asked);
      },
      () => new Promise<never>(() => undefined), // aborted: it has answered
    );
    try {
      return await Promise.race([asked, late]);
    } finally {
      over.abort();
    }
  }
  return {
    capacity: () => within("say what the machines have", answerMs, driver.capacity()),
    isolation: () => within("say how engines are shut in", answerMs, driver.isolation()),
    observe: () => within("say what runs", answerMs, driver.observe()),
    // Has a limit of its own, and holds up nobody but who waits for the image.
    fetchImage: (image, onLayers, signal) => driver.fetchImage(image, onLayers, signal),
    start: (spec) => within("start an instance", startMs, driver.start(spec)),
    remove: (id, graceMs) => within("end an instance", graceMs + removeMs, driver.remove(id, graceMs)),
    watch: (onChange) => driver.watch(onChange),
    watchCapacity: (onChange) => driver.watchCapacity(onChange),
    readLogs: (deploymentId) => driver.readLogs(deploymentId),
  };
}

/** Whether it has answered or failed by the end of this turn of the event loop. */
async function isAnsweredAtOnce(asked: Promise<unknown>): Promise<boolean> {
  const answered = asked.then(
    () => true,
    () => true,
  );
  return await Promise.race([answered, new Promise<false>((resolve) => setImmediate(resolve, false))]);
}
