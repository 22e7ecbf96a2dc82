/**
 * What has happened in simulated worlds, counted: so that a run that finds nothing shows that it had something to find. A kind
 * that never happens stands there with 0.
 */

export const kinds = [
  "control crashed",
  "gateway crashed",
  "engine crashed",
  "machine crashed",
  "GPU lost",
  "disk full",
  "engine that lies about its health",
  "liar found and replaced",
  "load that hung",
  "slow load",
  "clock put back",
  "clock put forward",
  "message late",
  "message twice",
  "message lost",
  "driver did not answer",
  "driver failed to start",
  "driver started late",
  "driver started after its deadline",
  "driver failed to end",
  "driver's notice lost, late or twice",
  "update asked for",
  "update of bad arguments",
  "update finished",
  "update taken back",
  "instance started",
  "instance drained",
  "scaled up for work",
  "scaled down",
  "minimum by schedule",
  "woken from zero",
  "instance given up for others",
  "waited for room",
  "deployment failed",
  "request answered",
  "request tried again",
  "request refused",
] as const;
export type Kind = (typeof kinds)[number];

export class Coverage {
  readonly counts = new Map<Kind, number>();

  count(kind: Kind, times = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + times);
  }

  of(kind: Kind): number {
    return this.counts.get(kind) ?? 0;
  }

  add(other: ReadonlyMap<Kind, number>): void {
    for (const [kind, times] of other) this.count(kind, times);
  }

  /** Two columns for a terminal. */
  table(): string {
    const width = Math.max(...kinds.map((kind) => kind.length));
    return kinds.map((kind) => `  ${kind.padEnd(width)}  ${this.of(kind)}\n`).join("");
  }
}
