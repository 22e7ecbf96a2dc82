/** What control of a simulated world has stored: it survives a crash. Counts its writes by deployment; decides nothing. */
import type { Deployment } from "../core/deployment.ts";
import type { InstanceRecord } from "../core/instance.ts";

export class Disk {
  readonly facts = new Map<string, Deployment>();
  readonly records = new Map<string, InstanceRecord>();
  readonly #byDeployment = new Map<string, Map<string, InstanceRecord>>();
  /** Called with the deployment of which something was written that routes are made of. */
  onWrite: (deploymentId: string) => void = () => undefined;

  putFacts(deployment: Deployment): void {
    this.facts.set(deployment.id, deployment);
    this.onWrite(deployment.id);
  }

  put(record: InstanceRecord): void {
    this.records.set(record.id, record);
    const siblings = this.#byDeployment.get(record.deploymentId) ?? new Map<string, InstanceRecord>();
    siblings.set(record.id, record);
    this.#byDeployment.set(record.deploymentId, siblings);
    this.onWrite(record.deploymentId);
  }

  remove(instanceId: string): void {
    const record = this.records.get(instanceId);
    if (record === undefined) return;
    this.records.delete(instanceId);
    this.#byDeployment.get(record.deploymentId)?.delete(instanceId);
    this.onWrite(record.deploymentId);
  }

  of(deploymentId: string): InstanceRecord[] {
    return [...(this.#byDeployment.get(deploymentId)?.values() ?? [])];
  }
}
