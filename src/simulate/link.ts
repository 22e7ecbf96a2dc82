/**
 * Between control and a gateway of a simulated world: messages come late, sometimes twice, in their order; a broken link loses
 * them.
 */
import type { Control } from "./control.ts";
import type { Coverage } from "./coverage.ts";
import type { Gateway } from "./front.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

const reportMs = 15_000;

export class Link {
  readonly #gateway: Gateway;
  readonly #control: Control;
  readonly #time: Timeline;
  readonly #random: Random;
  readonly #coverage: Coverage;
  #isUp = true;
  #epoch = 0;
  #cutUntilMs = 0;
  #downAtMs = 0;
  #upAtMs = 0;
  #isReportDue = false;
  #areRoutesDue = false;

  constructor(gateway: Gateway, control: Control, time: Timeline, random: Random, coverage: Coverage) {
    this.#gateway = gateway;
    this.#control = control;
    this.#time = time;
    this.#random = random;
    this.#coverage = coverage;
    gateway.onChange = () => this.sendReport();
    const again = () => {
      this.sendReport();
      time.after(reportMs, again);
    };
    again();
  }

  sendRoutes(): void {
    if (this.#areRoutesDue) return;
    this.#areRoutesDue = true;
    this.#time.after(20, () => {
      this.#areRoutesDue = false;
      if (!this.#control.isUp) return;
      const snapshot = this.#control.snapshot();
      this.#downAtMs = this.#deliver(this.#downAtMs, () => this.#gateway.take(snapshot));
    });
  }

  sendReport(): void {
    if (this.#isReportDue) return;
    this.#isReportDue = true;
    this.#time.after(100, () => {
      this.#isReportDue = false;
      if (!this.#gateway.isUp) return;
      const report = this.#gateway.report();
      this.#upAtMs = this.#deliver(this.#upAtMs, () => this.#control.takeLoad(report));
    });
  }

  /** Both ends see that it is gone. A shorter cut within a longer one changes nothing. */
  cut(downMs: number): void {
    this.#isUp = false;
    this.#epoch += 1;
    const epoch = this.#epoch;
    this.#control.dropGateway(this.#gateway.id);
    this.#cutUntilMs = Math.max(this.#cutUntilMs, this.#time.nowMs + downMs);
    this.#time.at(this.#cutUntilMs, () => {
      if (this.#epoch !== epoch) return;
      this.#isUp = true;
      this.sendRoutes();
      this.sendReport();
    });
  }

  #deliver(afterMs: number, arrive: () => void): number {
    const epoch = this.#epoch;
    if (!this.#isUp) {
      this.#coverage.count("message lost");
      return afterMs;
    }
    const isSlow = this.#random.next() < 0.05;
    if (isSlow) this.#coverage.count("message late");
    const atMs = Math.max(afterMs, this.#time.nowMs + this.#random.whole(1, isSlow ? 2_000 : 50));
    const arriveOnce = () => {
      if (this.#epoch === epoch) arrive();
      else this.#coverage.count("message lost");
    };
    this.#time.at(atMs, arriveOnce);
    if (this.#random.next() < 0.05) {
      this.#coverage.count("message twice");
      this.#time.at(atMs, arriveOnce);
    }
    return atMs;
  }
}
