import { expect, test } from "vitest";
import { sampleDeployment, sampleInstance } from "../store/samples.ts";
import { deploymentJson, isWritten } from "./deployment-json.ts";
import { toDeploymentOut } from "./deployment-out.ts";

test("a text is what the deployment says, is kept with it, and never once there are instances", () => {
  const deployment = sampleDeployment({ id: "d1" });
  const running = [sampleInstance({ deploymentId: "d1" })];
  for (const instances of [[], running, []]) {
    const { text, status } = deploymentJson(deployment, instances, 1);
    expect(JSON.parse(text)).toEqual(toDeploymentOut(deployment, instances, 1));
    expect(JSON.parse(text).status).toBe(status);
  }
  expect(deploymentJson(deployment, [], 1)).toBe(deploymentJson(deployment, [], 1));
  // A deployment that was written is another value.
  const written = { ...deployment, desired: "stop" as const };
  expect(isWritten(written)).toBe(false);
  expect(deploymentJson(written, [], 1).status).toBe("stopped");
});
