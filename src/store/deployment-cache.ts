/**
 * Deployments as they were read last, so that a list of thousands checks only the rows that were written since. A row is
 * the same as long as its version is: every write counts it up. And since no row is ever removed, a list is the same as
 * long as the sum of its versions is. Bounded; must never be asked without the version or sum that the database names now.
 */
import type { Deployment } from "../core/deployment.ts";
import { readDeployment } from "./rows.ts";
import type { DeploymentTable } from "./tables.ts";

/** Above this, those read longest ago go; a deployment takes some 3 kB. */
const maxKept = 20_000;
/** Lists that are kept: of all deployments, and of the accounts that asked last. */
const maxLists = 32;

export type ListQuery = { readonly account?: string; readonly includeDeleted: boolean };

export class DeploymentCache {
  readonly #kept = new Map<string, { readonly version: number; readonly deployment: Deployment }>();

  readonly #lists = new Map<string, { readonly sum: string; readonly deployments: readonly Deployment[] }>();

  /** Null when it was not read at this sum of versions. */
  findList(query: ListQuery, sum: string): readonly Deployment[] | null {
    const kept = this.#lists.get(keyOf(query));
    return kept?.sum === sum ? kept.deployments : null;
  }

  /** @param sum as it was before they were read: what was written meanwhile is read once more */
  keepList(query: ListQuery, sum: string, deployments: readonly Deployment[]): void {
    const key = keyOf(query);
    this.#lists.delete(key);
    this.#lists.set(key, { sum, deployments });
    const [oldest] = this.#lists.keys();
    if (this.#lists.size > maxLists && oldest !== undefined) this.#lists.delete(oldest);
  }

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

function keyOf({ account, includeDeleted }: ListQuery): string {
  return `${includeDeleted ? "all" : "not deleted"} ${account ?? ""}`;
}
