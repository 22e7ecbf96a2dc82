/**
 * Deployments as they were read last, so that a list of thousands checks only the rows that were written since. A row is
 * the same as long as its version is: every write counts it up. Bounded; must never be asked without the version that
 * the database names now.
 */
import type { Deployment } from "../core/deployment.ts";
import { readDeployment } from "./rows.ts";
import type { DeploymentTable } from "./tables.ts";

/** Above this, those read longest ago go; a deployment takes some 3 kB. */
const maxKept = 20_000;

export class DeploymentCache {
  readonly #kept = new Map<string, { readonly version: number; readonly deployment: Deployment }>();

  /** Null when this version of the row was not read yet. */
  find(id: string, version: number): Deployment | null {
    const kept = this.#kept.get(id);
    return kept?.version === version ? kept.deployment : null;
  }

  read(row: DeploymentTable): Deployment {
    const kept = this.find(row.id, row.version);
    if (kept !== null) return kept;
    const deployment = readDeployment(row);
    this.#kept.delete(row.id);
    this.#kept.set(row.id, { version: row.version, deployment });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > maxKept && oldest !== undefined) this.#kept.delete(oldest);
    return deployment;
  }
}
