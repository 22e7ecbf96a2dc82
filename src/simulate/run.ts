/** Lets a scenario happen: the same scenario always goes the same way. */
import { noTries } from "../core/deployment.ts";
import { Control } from "./control.ts";
import { Gateway, refuse, type SimulatedRequest } from "./front.ts";
import { Judge, type Violation } from "./judge.ts";
import { Machines } from "./machines.ts";
import { createRandom, type Random } from "./random.ts";
import { type Happening, quietFromMs, type Scenario } from "./scenario.ts";
import { Timeline } from "./timeline.ts";

export type Outcome = {
  readonly violations: readonly Violation[];
  readonly events: number;
  readonly answered: number;
  readonly refused: number;
};

/** After the last fault there is this long until everything must be as it is wanted. */
const endMs = quietFromMs + 900_000;
const reportMs = 15_000;
/** More than this is a world that never rests. */
const maxEvents = 60_000;

export function simulate(scenario: Scenario): Outcome {
  const world = createWorld(scenario);
  const { time, judge } = world;
  for (const one of scenario.deployments) world.control.deploy(one);
  world.control.boot();
  for (const happening of scenario.happenings) time.at(happening.atMs, () => happen(world, happening));
  while (judge.violations.length === 0 && time.step(endMs)) judge.judgeEffort(time.events, maxEvents);
  if (judge.violations.length === 0) judge.judgeRest(world.control, world.machines, world.requests);
  const answered = world.requests.filter(({ outcome }) => outcome === "answered").length;
  const { violations } = judge;
  return { violations, events: time.events, answered, refused: world.requests.length - answered };
}

type Simulated = ReturnType<typeof createWorld>;

function createWorld(scenario: Scenario) {
  const time = new Timeline();
  const random = createRandom(scenario.seed + 1);
  const machines = new Machines(time, scenario.machines);
  const judge = new Judge(() => time.nowMs);
  const gateways = Array.from(
    { length: scenario.gateways },
    (_, index) => new Gateway(`g${index}`, time, machines),
  );
  const control: Control = new Control(time, machines, random, (world, action) =>
    judge.judgeAction(world, action, control, machines, gateways),
  );
  const links = gateways.map((gateway) => new Link(gateway, control, time, random));
  control.onRoutes = () => {
    for (const link of links) link.sendRoutes();
  };
  control.onLook = (deployment, records) => judge.judgeStatus(deployment, records, machines);
  machines.onChange = ({ deploymentId }) => control.poke(deploymentId);
  machines.onGone = (id) => {
    for (const gateway of gateways) gateway.loseInstance(id);
  };
  const requests: SimulatedRequest[] = [];
  return { time, random, machines, judge, gateways, control, links, requests };
}

/** Between control and a gateway: messages come late, sometimes twice, in their order; a broken link loses them. */
class Link {
  readonly #gateway: Gateway;
  readonly #control: Control;
  readonly #time: Timeline;
  readonly #random: Random;
  #isUp = true;
  #epoch = 0;
  #downAtMs = 0;
  #upAtMs = 0;
  #isReportDue = false;
  #areRoutesDue = false;

  constructor(gateway: Gateway, control: Control, time: Timeline, random: Random) {
    this.#gateway = gateway;
    this.#control = control;
    this.#time = time;
    this.#random = random;
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

  /** Both ends see that it is gone. */
  cut(downMs: number): void {
    this.#isUp = false;
    this.#epoch += 1;
    const epoch = this.#epoch;
    this.#control.dropGateway(this.#gateway.id);
    this.#time.after(downMs, () => {
      if (this.#epoch !== epoch) return;
      this.#isUp = true;
      this.sendRoutes();
      this.sendReport();
    });
  }

  #deliver(afterMs: number, arrive: () => void): number {
    const epoch = this.#epoch;
    if (!this.#isUp) return afterMs;
    const isSlow = this.#random.next() < 0.05;
    const atMs = Math.max(afterMs, this.#time.nowMs + this.#random.whole(1, isSlow ? 2_000 : 50));
    const arriveOnce = () => {
      if (this.#epoch === epoch) arrive();
    };
    this.#time.at(atMs, arriveOnce);
    if (this.#random.next() < 0.05) this.#time.at(atMs, arriveOnce);
    return atMs;
  }
}

function happen(world: Simulated, happening: Happening): void {
  const { control, machines, time } = world;
  switch (happening.what) {
    case "request":
      ask(world, happening);
      return;
    case "settings": {
      const { min, max } = happening;
      control.change(happening.deployment, ({ settings }) => ({
        settings: { ...settings, minInstances: min, maxInstances: max },
      }));
      return;
    }
    case "stop":
    case "delete":
      control.change(happening.deployment, () => ({
        desired: happening.what === "stop" ? "stop" : "delete",
      }));
      return;
    case "start":
      control.change(happening.deployment, () => ({
        desired: "run",
        failure: null,
        hasRun: false,
        tries: noTries,
        weightsReadyAtMs: null,
      }));
      return;
    case "update":
      control.update(happening.deployment);
      return;
    case "crash-control":
    case "crash-gateway":
    case "cut-link":
      breakProcess(world, happening);
      return;
    case "crash-engine": {
      const victim = machines.pick(happening.pick, "running");
      victim === undefined ? undefined : machines.crash(victim);
      return;
    }
    case "hang-load": {
      const victim = machines.pick(happening.pick, "starting");
      if (victim !== undefined) victim.hangs = true;
      return;
    }
    case "crash-machine":
      machines.crashMachine(happening.pick, happening.downMs);
      return;
    case "lose-gpu":
      machines.loseGpu(happening.pick, happening.downMs);
      return;
    case "fill-disk":
      machines.isDiskFull = true;
      time.after(happening.downMs, () => {
        machines.isDiskFull = false;
      });
      return;
    case "shift-clock":
      control.skewMs += happening.byMs;
  }
}

function ask(
  { gateways, requests, random }: Simulated,
  happening: Extract<Happening, { what: "request" }>,
): void {
  const { deployment, workMs } = happening;
  const request: SimulatedRequest = { deployment, workMs, outcome: null, tries: 0 };
  requests.push(request);
  const gateway = gateways[random.whole(0, gateways.length - 1)];
  if (gateway === undefined) refuse(request, "no gateway");
  else gateway.accept(request);
}

type Break = Extract<Happening, { what: "crash-control" | "crash-gateway" | "cut-link" }>;

function breakProcess(
  { control, gateways, links, time }: Simulated,
  { what, gateway: index, downMs }: Break,
): void {
  if (what === "crash-control") {
    if (!control.isUp) return;
    control.crash();
    for (const link of links) link.cut(downMs + 50);
    time.after(downMs, () => control.boot());
    return;
  }
  const gateway = gateways[index];
  const link = links[index];
  if (gateway === undefined || link === undefined) return;
  if (what === "crash-gateway") {
    gateway.crash();
    time.after(downMs, () => {
      gateway.isUp = true;
    });
  }
  link.cut(what === "crash-gateway" ? downMs + 50 : downMs);
}
