/**
 * Fills a home with deployments, as if they had been made one by one over months: straight into the tables, in one
 * transaction, through the code that writes rows. Owns the mix; must not be used on a home that matters.
 */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Deployment } from "../../src/core/deployment.ts";
import { writeDeployment } from "../../src/store/rows.ts";

/** Deployments by state; what is at zero is wanted and has nothing to do. */
export type Mix = { readonly stopped: number; readonly asleep: number; readonly failed: number };

export function fillState(home: string, account: string, mix: Mix): void {
  const db = new DatabaseSync(join(home, "berth.db"));
  const kinds = [
    ...Array.from({ length: mix.stopped }, () => "stopped" as const),
    ...Array.from({ length: mix.asleep }, () => "asleep" as const),
    ...Array.from({ length: mix.failed }, () => "failed" as const),
  ];
  db.exec("begin");
  for (const [index, kind] of kinds.entries()) {
    const row = writeDeployment(exampleDeployment(index, account, kind), null, 1);
    const columns = Object.keys(row);
    const marks = columns.map(() => "?").join(", ");
    db.prepare(`insert into deployments (${columns.join(", ")}) values (${marks})`).run(
      ...Object.values(row),
    );
  }
  db.exec("commit");
  db.close();
}

/** As one with weights of several files looks in the store. */
export function exampleDeployment(
  index: number,
  account: string,
  kind: "stopped" | "asleep" | "failed" | "running",
): Deployment {
  const commit = index.toString(16).padStart(40, "0");
  const file = (path: string, bytes: number) => ({ path, bytes, sha256: "0".repeat(64), gitOid: null });
  const noTries = { count: 0, lastAtMs: null, lastFailure: null };
  return {
    id: `bench${String(index).padStart(11, "0")}`,
    account,
    name: `${account}/model-${index}`,
    isPublic: false,
    config: {
      ...{ gpu: "other", numGpus: 1, maxBatchSize: 4, baseModel: null, containerImage: null },
      weights: { repo: `org/model-${index}`, revision: null },
    },
    settings: {
      ...{ minInstances: kind === "running" ? 1 : 0, maxInstances: 2, inactiveShutdownS: null },
    },
    desired: kind === "stopped" ? "stop" : "run",
    createdAtMs: 1_700_000_000_000 + index,
    updatedAtMs: 1_700_000_000_000 + index,
    loadTimeMs: null,
    resolved: {
      commit,
      files: [file("config.json", 700), file("tokenizer.json", 7_000_000), file("model.gguf", 600_000_000)],
      ...{ engine: "embedded", entryFile: "model.gguf", task: "text-generation" },
    },
    weightsReadyAtMs: 1_700_000_000_000 + index,
    failure:
      kind === "failed"
        ? { code: "engine_crashed", message: "The engine ended.", next: "See the deployment's logs." }
        : null,
    hasRun: true,
    tries: noTries,
    revisions: {
      wanted: { id: 1, args: { standardArgs: {}, extraArgs: [] } },
      ...{ fallback: null, tries: noTries, updateError: null, retired: [] },
    },
  };
}
