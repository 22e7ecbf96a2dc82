/** What a happening of a scenario does to its world. */
import { noTries } from "../core/deployment.ts";
import { ask, refuse } from "./front.ts";
import type { Simulated } from "./run.ts";
import type { Happening } from "./scenario.ts";

export function happen(world: Simulated, happening: Happening): void {
  const { control, machines, driver, time, coverage } = world;
  switch (happening.what) {
    case "request":
      receive(world, happening);
      return;
    case "settings": {
      const { min, max } = happening;
      control.change(happening.deployment, ({ settings }) => ({
        settings: { ...settings, minInstances: min, maxInstances: max, schedule: undefined },
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
      start(control, happening.deployment);
      return;
    case "update":
      coverage.count("update asked for");
      if (happening.quality !== "good") coverage.count("update of bad arguments");
      if (control.isUp) world.judge.judgeUpdate(happening.deployment, happening.quality);
      control.update(happening.deployment, happening.quality);
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
      if (victim !== undefined) {
        victim.hangs = true;
        coverage.count("load that hung");
      }
      return;
    }
    case "mute-engine": {
      const victim = machines.pick(happening.pick, "running");
      if (victim !== undefined) {
        victim.isMute = true;
        coverage.count("engine that lies about its health");
      }
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
      coverage.count("disk full");
      time.after(happening.downMs, () => {
        machines.isDiskFull = false;
      });
      return;
    case "driver-trouble":
      driver.troubleUntilMs = time.nowMs + happening.downMs;
      return;
    case "shift-clock":
      coverage.count(happening.byMs < 0 ? "clock put back" : "clock put forward");
      control.skewMs += happening.byMs;
  }
}

/** As the API does it: what is started already is left alone. */
function start(control: Simulated["control"], id: string): void {
  control.change(id, ({ desired, failure, revisions }) => {
    if (desired === "run" && failure === null) return {};
    return {
      ...{ desired: "run", failure: null, hasRun: false, tries: noTries, weightsReadyAtMs: null },
      revisions: { ...revisions, tries: noTries },
    };
  });
}

function receive(
  { gateways, requests, random }: Simulated,
  { deployment, workMs }: Extract<Happening, { what: "request" }>,
): void {
  const request = ask(deployment, workMs);
  requests.push(request);
  const gateway = gateways[random.whole(0, gateways.length - 1)];
  if (gateway === undefined) refuse(request, "no gateway");
  else gateway.accept(request);
}

type Break = Extract<Happening, { what: "crash-control" | "crash-gateway" | "cut-link" }>;

function breakProcess(
  { control, gateways, links, time, coverage }: Simulated,
  { what, gateway: index, downMs }: Break,
): void {
  if (what === "crash-control") {
    if (!control.isUp) return;
    coverage.count("control crashed");
    control.crash();
    for (const link of links) link.cut(downMs + 50);
    time.after(downMs, () => control.boot());
    return;
  }
  const gateway = gateways[index];
  const link = links[index];
  if (gateway === undefined || link === undefined) return;
  if (what === "crash-gateway") {
    coverage.count("gateway crashed");
    gateway.crash();
    time.after(downMs, () => {
      gateway.isUp = true;
    });
  }
  link.cut(what === "crash-gateway" ? downMs + 50 : downMs);
}
