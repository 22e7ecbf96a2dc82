/** Lets a scenario happen: the same scenario always goes the same way. */
import { Control } from "./control.ts";
import { Coverage, type Kind } from "./coverage.ts";
import { Driver } from "./driver.ts";
import { Gateway, type SimulatedRequest } from "./front.ts";
import { happen } from "./happen.ts";
import { Judge, type Violation } from "./judge.ts";
import { Link } from "./link.ts";
import { Machines } from "./machines.ts";
import { createRandom } from "./random.ts";
import { quietFromMs, type Scenario } from "./scenario.ts";
import { Timeline } from "./timeline.ts";

export type Outcome = {
  readonly violations: readonly Violation[];
  readonly events: number;
  readonly answered: number;
  readonly refused: number;
  /** How often each kind of thing happened. */
  readonly counts: ReadonlyMap<Kind, number>;
};

/** After the last fault there is this long until everything must be as it is wanted. */
const endMs = quietFromMs + 900_000;
/** More than this is a world that never rests. */
const maxEvents = 60_000;

export function simulate(scenario: Scenario): Outcome {
  const world = createWorld(scenario);
  const { time, judge, coverage, control, requests } = world;
  for (const one of scenario.deployments) control.deploy(one);
  control.boot();
  for (const happening of scenario.happenings) time.at(happening.atMs, () => happen(world, happening));
  while (judge.violations.length === 0 && time.step(endMs)) judge.judgeEffort(time.events, maxEvents);
  if (judge.violations.length === 0) judge.judgeRest(requests, control.now());
  const answered = requests.filter(({ outcome }) => outcome === "answered").length;
  const refused = requests.length - answered;
  coverage.count("request answered", answered);
  coverage.count("request refused", refused);
  const { violations } = judge;
  return { violations, events: time.events, answered, refused, counts: coverage.counts };
}

export type Simulated = ReturnType<typeof createWorld>;

function createWorld(scenario: Scenario) {
  const time = new Timeline();
  const random = createRandom(scenario.seed + 1);
  const coverage = new Coverage();
  const machines = new Machines(time, scenario.machines, coverage);
  const driver = new Driver(time, machines, random, coverage);
  const gateways = Array.from(
    { length: scenario.gateways },
    (_, index) => new Gateway(`g${index}`, time, machines, coverage),
  );
  const control: Control = new Control({
    ...{ time, random, driver, machines, coverage },
    watch: (world, action) => judge.judgeAction(world, action),
    onLook: (deployment, records) => judge.judgeStatus(deployment, records, control.now()),
    onRoutes: () => {
      for (const link of links) link.sendRoutes();
    },
  });
  const judge: Judge = new Judge({ time, machines, driver, gateways, coverage, disk: control.disk });
  const links: Link[] = gateways.map((gateway) => new Link(gateway, control, time, random, coverage));
  machines.onStart = (process) => judge.judgeProcess(process);
  machines.onGone = (id) => {
    for (const gateway of gateways) gateway.loseInstance(id);
  };
  for (const gateway of gateways) gateway.onGrant = (id) => judge.judgeSlots(gateway, id);
  const requests: SimulatedRequest[] = [];
  return { time, random, coverage, machines, driver, judge, gateways, control, links, requests };
}
