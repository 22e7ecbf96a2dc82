/** The engine adapter of the driver's tests: starts `stand-in-engine.ts` and asks it over its socket. */
import { get } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { unknownAbilities } from "../../core/abilities.ts";
import { failure } from "../../core/failure.ts";
import type { Clock } from "../../ports/clock.ts";
import type { InstanceSpec } from "../../ports/driver.ts";
import type { Engine, EngineHealth } from "../../ports/engine.ts";

export const systemClock: Clock = {
  now: Date.now,
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};

export function standInSpec(
  id: string,
  behaviour: readonly string[] = [],
  servedNames: readonly string[] = [],
): InstanceSpec {
  return {
    id,
    deploymentId: "dep",
    engine: "stand-in",
    placement: { node: "here", gpus: [] },
    launch: {
      snapshotPath: "/",
      entryFile: "model",
      servedNames,
      maxBatchSize: 3,
      engineArgs: { standardArgs: {}, extraArgs: behaviour },
    },
  };
}

export const standInEngine: Engine = {
  name: "stand-in",
  runsOn: "cpu",
  abilities: { ...unknownAbilities, engine: "stand-in" },
  chooseFiles: () => ({
    ok: false,
    failure: failure("no_loadable_weights", "A stand-in loads nothing.", ""),
  }),
  refuseArgs: () => null,
  launch(spec) {
    if (spec.endpoint.kind !== "unix") throw new Error("the stand-in listens on Unix sockets");
    const [behaviour, attempts = ""] = spec.engineArgs.extraArgs;
    if (behaviour === "hostile") {
      return {
        command: process.execPath,
        args: [join(import.meta.dirname, "hostile-engine.ts"), "{dir}/attempts.json"],
        env: {},
        files: [{ name: "attempts.json", content: attempts }],
      };
    }
    const content = JSON.stringify({
      socketPath: spec.endpoint.path,
      secret: spec.secret,
      behaviour: spec.engineArgs.extraArgs,
    });
    if (spec.image !== undefined) {
      const files = [{ name: "launch.json", content }];
      return { command: "stand-in", args: ["{dir}/launch.json"], env: {}, files, image: spec.image };
    }
    return {
      command: spec.engineArgs.extraArgs.includes("missing-program")
        ? "/nonexistent/program"
        : process.execPath,
      args: [join(import.meta.dirname, "stand-in-engine.ts"), "{dir}/launch.json"],
      env: {},
      files: [{ name: "launch.json", content }],
    };
  },
  probe(endpoint, secret, timeoutMs) {
    return new Promise<EngineHealth>((resolve) => {
      if (endpoint.kind !== "unix") return resolve({ state: "silent" });
      const request = get(
        { socketPath: endpoint.path, headers: { authorization: `Bearer ${secret}` }, agent: false },
        (response) => {
          response.resume();
          if (response.statusCode === 200)
            resolve({ state: "ready", slots: 3, contextTokens: 2048, note: null });
          else
            resolve(response.statusCode === 503 ? { state: "loading", progress: 0.5 } : { state: "silent" });
        },
      );
      request.setTimeout(timeoutMs, () => request.destroy());
      request.on("error", () => resolve({ state: "silent" }));
      request.on("close", () => resolve({ state: "silent" }));
    });
  },
  /** A model of the name "mute" is healthy and says nothing. */
  warmUp: async ({ servedName }) =>
    servedName === "mute" ? failure("warm_up_failed", "It says nothing.", "See the logs.") : null,
  loadReport: (lines) =>
    lines.includes("listening")
      ? { weightBytes: 1000, workBytes: 10, cacheBytes: null, cacheTokens: null }
      : null,
  explainExit(exit, lastLines) {
    return failure("engine_crashed", `exit ${exit.code} ${exit.signal}: ${lastLines.at(-1) ?? ""}`, "");
  },
};
