/**
 * Processes of the gateway that share a port under the real supervisor, as `berth serve` starts them, for tests and
 * measurements. Owns their start, who of them is alive and their end; must not know who is in front of them or behind.
 */
import { join } from "node:path";
import { gatewayFlags } from "../../src/roles/node-flags.ts";
import { holdPort } from "../../src/supervisor/address.ts";
import { supervise } from "../../src/supervisor/supervise.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { isAlive } from "./alive.ts";

const main = join(import.meta.dirname, "../../src/main.ts");

export type GatewayGroup = {
  readonly port: number;
  /** Those that are alive. */
  pids(): number[];
  end(): Promise<void>;
};

/**
 * Resolves when all of them serve, for which control must be there.
 * @param via a command that becomes the process, such as `taskset`
 * @param env more settings
 * @param hangMs who is silent for so long is replaced; nobody is unless it is given
 */
export async function startGatewayGroup(
  home: string,
  count: number,
  {
    logLevel,
    via = [],
    env = {},
    hangMs,
  }: {
    readonly logLevel: string;
    readonly via?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly hangMs?: number;
  },
): Promise<GatewayGroup> {
  const held = await holdPort("127.0.0.1", 0);
  const node = [process.execPath, ...gatewayFlags, main, "gateway", "shared"];
  const [command = "", ...args] = [...via, ...node];
  const pids = new Set<number>();
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const supervisor = supervise({
    roles: Array.from({ length: count }, (_, seat) => ({
      ...{ name: `gateway ${seat + 1}`, command, args },
      env: {
        ...process.env,
        ...{ BERTH_HOME: home, BERTH_PORT: String(held.port), BERTH_LOG_LEVEL: logLevel },
        ...{ BERTH_GATEWAY_PROCESSES: String(count), ...env },
      },
      ...{ isRenewable: true, seat, sharedFd: held.fd },
    })),
    clock: systemClock,
    stopGraceMs: 10_000,
    ...(hangMs !== undefined && { hangMs }),
    onStopping: () => held.release(),
    onReady(_, { pid }) {
      pids.add(Number(pid));
      if (pids.size === count) resolve();
    },
    log: () => undefined,
  });
  await ready;
  return {
    port: held.port,
    pids: () => [...pids].filter(isAlive),
    async end() {
      supervisor.stop();
      await supervisor.done;
    },
  };
}
