/**
 * Which processes of one kind share their work, as all of them are told: a new numbered view whenever one joins or has
 * ended, in the same order to each. Who does not enter a view in time hangs, and holds up all others: it is killed. Must
 * not know what the work is.
 */
import type { Clock } from "../ports/clock.ts";
import type { SharingProcess, SupervisorMessage, View } from "./message.ts";

/** As much of a child process as is needed. */
export type Hearer = {
  readonly pid?: number | undefined;
  readonly connected: boolean;
  send(message: SupervisorMessage, callback: (error: Error | null) => void): boolean;
  kill(signal: "SIGKILL"): boolean;
};

/** A process enters a view within milliseconds. */
const enterMs = 15_000;

type Member = SharingProcess & {
  entered: number;
  /** Aborted when it has entered the newest view. */
  watch: AbortController | null;
};

export class Members {
  readonly #clock: Pick<Clock, "sleep">;
  readonly #log: (message: string) => void;
  /** In the order in which they joined. */
  readonly #joined = new Map<Hearer, Member>();
  /** All that are to hear of views, members or not yet. */
  readonly #listeners = new Set<Hearer>();
  #version = 0;

  constructor(clock: Pick<Clock, "sleep">, log: (message: string) => void) {
    this.#clock = clock;
    this.#log = log;
  }

  /** A process has been started that may join; it is told who is there already. */
  started(child: Hearer): void {
    this.#listeners.add(child);
    tell(child, { type: "view", view: this.#view() });
  }

  joins(child: Hearer, seat: number, path: string): void {
    if (this.#joined.has(child)) return;
    this.#joined.set(child, { id: String(child.pid), seat, path, entered: 0, watch: null });
    this.#publish();
  }

  entered(child: Hearer, version: number): void {
    const member = this.#joined.get(child);
    if (member === undefined) return;
    member.entered = version;
    if (version >= this.#version) member.watch?.abort();
  }

  ended(child: Hearer): void {
    this.#listeners.delete(child);
    const member = this.#joined.get(child);
    if (member === undefined) return;
    member.watch?.abort();
    this.#joined.delete(child);
    this.#publish();
  }

  #publish(): void {
    this.#version += 1;
    const view = this.#view();
    for (const child of this.#listeners) tell(child, { type: "view", view });
    for (const [child, member] of this.#joined) void this.#watch(child, member);
  }

  #view(): View {
    const processes = [...this.#joined.values()].map(({ id, seat, path }) => ({ id, seat, path }));
    return { version: this.#version, processes };
  }

  async #watch(child: Hearer, member: Member): Promise<void> {
    const wanted = this.#version;
    member.watch?.abort();
    const watch = new AbortController();
    member.watch = watch;
    await this.#clock.sleep(enterMs, watch.signal).catch(() => undefined); // aborted: it has entered, or ended
    if (watch.signal.aborted || member.entered >= wanted) return;
    this.#log(`a process hangs (${member.id}) and is killed`);
    child.kill("SIGKILL");
  }
}

export function tell(child: Hearer, message: SupervisorMessage): void {
  // A child that has just ended hears nothing, and its end is noticed.
  if (child.connected) child.send(message, () => undefined);
}
