/**
 * Takes over what an earlier control left on this machine: reads every instance's folder, finds its process and asks
 * it how it is. A healthy engine is never touched. Ends what nobody can own: processes whose record is damaged or gone.
 */
import { realpath } from "node:fs/promises";
import type { LocalContext } from "./context.ts";
import { makeInstance } from "./instance.ts";
import type { MarkedProcess, ProcessIdentity } from "./process.ts";
import { idPattern, type SavedInstance } from "./record.ts";
import { clearInstance } from "./start.ts";
import { probe, settleExit } from "./watch.ts";

/** Returns false when a folder could not be read for now, so that adoption has to be repeated. */
export async function adoptInstances(context: LocalContext): Promise<boolean> {
  const root = await realpath(context.folders.root);
  const all = await context.processes.findMarked();
  const marked = all.filter(({ folder, instanceId }) =>
    (folder ?? `${root}/${instanceId}`).startsWith(`${root}/`),
  );
  const ids = await context.folders.list();
  const outcomes = await Promise.all([
    ...ids
      .filter((id) => !context.isKept(id))
      .map((id) => attempt(context, id, () => adoptOne(context, id, marked))),
    ...orphansOf(root, ids, marked)
      .filter((id) => !context.isKept(id))
      .map((id) => attempt(context, id, () => endNobodys(context, id, "its folder is gone"))),
  ]);
  return outcomes.every((isDone) => isDone);
}

/** One instance that makes trouble must not hide the others. */
async function attempt(context: LocalContext, id: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    context.log("error", "an instance could not be taken over yet", { instanceId: id, error: String(error) });
    return false;
  }
}

async function adoptOne(context: LocalContext, id: string, marked: readonly MarkedProcess[]): Promise<void> {
  const saved = await context.folders.read(id);
  if (!saved.ok) return await endNobodys(context, id, saved.why);
  const process = saved.record.process ?? findEngine(id, marked);
  // Control ended between the record and the process: it never started, and whoever wanted it starts another.
  if (process === null) return await endNobodys(context, id, "its process was never started");
  await adoptRecorded(context, saved, process);
}

async function adoptRecorded(
  context: LocalContext,
  saved: SavedInstance & { ok: true },
  process: ProcessIdentity,
): Promise<void> {
  const record = { ...saved.record, process };
  const engine = context.engines.get(record.engine) ?? null;
  const output = await context.shelf.open(
    { deploymentId: record.deploymentId, instanceId: record.id },
    record.secret,
  );
  const instance = makeInstance(record, engine, output, saved.exit);
  if (saved.record.process === null) await context.folders.saveRecord(record);
  // Settled before anyone can look: what is reported is true from the first moment.
  if (saved.exit === null && (await context.processes.isAlive(process))) {
    await probe(instance, context);
    context.log("info", "a running engine was taken over", { instanceId: record.id, pid: process.pid });
  } else if (saved.exit === null) await settleExit(instance, context);
  context.keep(instance);
}

/** The engine itself: children carry its mark too, and may lead groups of their own. */
function findEngine(id: string, marked: readonly MarkedProcess[]): ProcessIdentity | null {
  const own = marked.filter((one) => one.instanceId === id);
  const pids = new Set(own.map((one) => one.identity.pid));
  return own.find((one) => one.isLeader && !pids.has(one.parent))?.identity ?? null;
}

/** Instances of this Berth whose folder is gone. */
function orphansOf(root: string, ids: readonly string[], marked: readonly MarkedProcess[]): string[] {
  const own = marked.filter(({ folder, instanceId }) => folder === `${root}/${instanceId}`);
  const lost = new Set(own.map((one) => one.instanceId).filter((id) => !ids.includes(id)));
  return [...lost].filter((id) => idPattern.test(id));
}

/** Its container, if it has one, is found by its label then (`containers/sweep.ts`): a runtime that hangs must not hold up the rest. */
async function endNobodys(context: LocalContext, id: string, why: string): Promise<void> {
  context.log("warn", "an instance is cleaned up", { instanceId: id, why });
  await clearInstance(id, context.limits.endGraceMs, null, context);
}
