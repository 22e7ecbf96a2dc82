/**
 * Keeps engines away from Berth's state and from each other where this machine allows it: finds out once whether it does, by
 * shutting a program in, and prepares each instance's walls (`confine.ts`). Where it does not, says what is missing.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Isolation } from "../../core/isolation.ts";
import type { Launch } from "../../ports/engine.ts";
import { mountTable, shutIn, systemFolders, type View } from "./confine.ts";
import { engineUser, furnish, give, type Quarters } from "./quarters.ts";

const run = promisify(execFile);
const checkTimeoutMs = 10_000;
/** chroot(8) is not on every user's PATH. */
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin";

export type IsolationOptions = {
  /** `$BERTH_HOME`, absolute. */
  readonly home: string;
  /** Folders with the programs of engines and with Berth itself, read by every engine. */
  readonly programs: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** False: an administrator wants none. */
  readonly isWanted: boolean;
};

/** A launch as it is started. */
export type Walled = {
  readonly launch: Launch;
  /** Variables that replace inherited ones. */
  readonly env: Readonly<Record<string, string>>;
};

export type Isolator = {
  /** What this machine allows, found out once. Never rejects. */
  state(): Promise<Isolation>;
  /** Makes the walls of one instance; the launch as it is where there are none. Call after its files were written. */
  wall(quarters: Quarters): Promise<Walled>;
};

export function createIsolator(options: IsolationOptions): Isolator {
  const { home, programs } = options;
  let found: Promise<Isolation> | null = null;

  const searchPath = () =>
    [options.environment.PATH, systemPath].filter((part) => part !== undefined).join(":");

  async function find(): Promise<Isolation> {
    if (!options.isWanted) return open("BERTH_ISOLATION is off", "Set BERTH_ISOLATION=auto.");
    if (process.platform !== "linux") {
      return open(
        "this system has no namespaces",
        "Run Berth on Linux where accounts do not trust each other.",
      );
    }
    const outer = join(home, "instances", ".check");
    try {
      await check(outer);
      return { isIsolated: true };
    } catch (error) {
      return open(
        `a program could not be shut in (${lastWords(error)})`,
        "Install util-linux 2.35 or newer and allow user namespaces, or run Berth as root outside a container.",
      );
    } finally {
      await rm(outer, { recursive: true, force: true });
    }
  }

  /** Shuts Node in, reading Berth's own files, as an engine would be. */
  async function check(outer: string): Promise<void> {
    const folder = join(outer, "engine");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const read = "require('node:fs').readdirSync(process.argv[1])";
    const launch = { command: process.execPath, args: ["-e", read, programs[0] ?? "/"], env: {}, files: [] };
    const quarters = { ...{ instanceId: "check", launch, outer, folder }, socketFolder: folder };
    const { launch: walled } = await build({ ...quarters, snapshotPath: folder });
    await run(walled.command, [...walled.args], {
      ...{ timeout: checkTimeoutMs, killSignal: "SIGKILL", env: { PATH: searchPath(), LC_ALL: "C" } },
    });
  }

  async function build(quarters: Quarters): Promise<Walled> {
    const { launch, outer, folder } = quarters;
    const user = engineUser(quarters.instanceId);
    const [root, temporary, table] = [join(outer, "root"), join(outer, "tmp"), join(outer, "mounts")];
    for (const made of [root, temporary]) await mkdir(made, { recursive: true, mode: 0o700 });
    if (user !== null) await give([temporary], user);
    const reads = [...systemFolders, ...programs, ...(launch.reads ?? [])].filter((one) => existsSync(one));
    const furnished = await furnish(quarters, { home, user });
    const view: View = {
      ...{ root, hidden: home, writes: furnished.writes, temporary, folder },
      reads: [...reads, ...furnished.reads],
      covers: furnished.covers,
      hasOwnUser: user !== null,
    };
    await writeFile(table, mountTable(view), { mode: 0o600 });
    const hasNetwork = launch.needsNetwork === true;
    return {
      launch: { ...launch, ...shutIn(launch, { table, view, user, hasNetwork }) },
      env: {
        PATH: searchPath(),
        HOME: folder,
        TMPDIR: "/tmp",
        USER: "berth-engine",
        LOGNAME: "berth-engine",
      },
    };
  }

  const state = () => {
    found ??= find();
    return found;
  };
  return {
    state,
    async wall(quarters) {
      return (await state()).isIsolated ? await build(quarters) : { launch: quarters.launch, env: {} };
    },
  };
}

function open(reason: string, next: string): Isolation {
  return { isIsolated: false, reason, next };
}

/** The end of what the program that failed has said, without the path of any file. */
function lastWords(error: unknown): string {
  const { stderr = "", code, message } = error as { stderr?: string; code?: unknown; message: string };
  const line = stderr.trim().split("\n").at(-1) ?? "";
  if (line !== "") return line.slice(0, 200);
  return code === "ENOENT" ? "unshare is not installed" : (message.split("\n")[0]?.slice(0, 200) ?? "");
}
