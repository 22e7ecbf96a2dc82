/**
 * Bounds engines as far as this machine lets it: with control groups, which count what an engine uses, else with a limit of what
 * it may map. Finds out once which, and says so in the log. Outside of Linux nothing is bounded.
 */
import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import type { Launch } from "../../ports/engine.ts";
import { bindEngine, dataLimit } from "./bounds.ts";
import { type EngineGroups, findDelegation, openEngineGroups } from "./engine-groups.ts";

export type Bounder = {
  /** The launch within its bounds; call it last, right before the start. Rejects where the program is not there. */
  bound(instanceId: string, launch: Launch, memoryBytes: number | null): Promise<Launch>;
  /** True where the kernel ended something of the instance at its limit. */
  wasKilled(instanceId: string): Promise<boolean>;
  /** The instance is gone. */
  release(instanceId: string): Promise<void>;
};

type Log = (level: "info", message: string, fields?: Record<string, unknown>) => void;

export function createBounder(platform: NodeJS.Platform, log: Log): Bounder {
  let found: Promise<EngineGroups | null> | null = null;

  async function find(): Promise<EngineGroups | null> {
    const lacking = (reason: string) => {
      log("info", "engines are bounded by what they map, not by what they use", { reason });
      return null;
    };
    try {
      const place = findDelegation(
        await readFile("/proc/self/cgroup", "utf8"),
        await readFile("/proc/self/mountinfo", "utf8"),
      );
      return "parent" in place ? await openEngineGroups(place.parent) : lacking(place.reason);
    } catch (error) {
      return lacking((error as Error).message);
    }
  }

  const groups = () => {
    found ??= platform === "linux" ? find() : Promise.resolve(null);
    return found;
  };

  return {
    async bound(instanceId, launch, memoryBytes) {
      if (platform !== "linux") return launch;
      // The shell that becomes the engine could only say so in the engine's log.
      if (launch.command.startsWith("/")) await access(launch.command, constants.X_OK);
      const own = memoryBytes === null ? null : await groups();
      const groupFile = own === null || memoryBytes === null ? null : await own.make(instanceId, memoryBytes);
      const dataBytes = memoryBytes === null || groupFile !== null ? null : dataLimit(memoryBytes);
      return { ...launch, ...bindEngine(launch, { groupFile, dataBytes }) };
    },
    wasKilled: async (instanceId) => ((await (await groups())?.kills(instanceId)) ?? 0) > 0,
    release: async (instanceId) => (await groups())?.remove(instanceId),
  };
}
