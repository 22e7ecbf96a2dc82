/**
 * Wires `berth down` for a Berth that does not run any more.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Settings } from "../settings.ts";
import type { Log } from "../telemetry/log.ts";
import { engineGraceMs, openDriver, openEngines } from "./machine.ts";
import { loadSettings, openLog, takeLock } from "./process.ts";

/** Ends the engines of a Berth that does not run any more. */
export async function down(extra: Readonly<Record<string, string>>, wantsJson: boolean): Promise<number> {
  const settings = loadSettings(extra);
  const log = openLog("down", { ...settings, BERTH_LOG_LEVEL: "warn" });
  const home = settings.BERTH_HOME;
  const ended = existsSync(home) ? await endEngines(settings, log) : 0;
  const engines = ended === 1 ? "1 engine" : `${ended} engines`;
  process.stdout.write(
    wantsJson
      ? `${JSON.stringify({ status: "stopped", engines: ended })}\n`
      : `Berth was not running; ${engines} ended.\n`,
  );
  return 0;
}

/** Ends every engine that is left on this home and returns how many there were. */
async function endEngines(settings: Settings, log: Log): Promise<number> {
  const home = settings.BERTH_HOME;
  const lock = await takeLock(
    join(home, "control.lock"),
    10_000,
    `Berth runs on ${home} but does not answer; see its log.`,
  );
  const driver = openDriver(settings, await openEngines(settings, log), log);
  const instances = await driver.observe();
  await Promise.all(instances.map((instance) => driver.remove(instance.id, engineGraceMs)));
  await driver.close();
  lock.release();
  return instances.length;
}
