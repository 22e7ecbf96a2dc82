import { expect, test } from "vitest";
import { pickDeployments } from "./find.ts";
import { sampleDeployment } from "./stand-in.ts";

const starter = sampleDeployment({ deploy_id: "id0000000001", model_name: "berth/starter" });
const own = sampleDeployment({ deploy_id: "id0000000002", model_name: "ann/starter" });
const qwen = sampleDeployment({ deploy_id: "id0000000003", model_name: "ann/Qwen3" });
const bob = sampleDeployment({ deploy_id: "id0000000004", model_name: "bob/Qwen3" });

test("full name, bare name and id find a deployment, ignoring case last", () => {
  const list = [starter, qwen];
  for (const name of ["ann/Qwen3", "Qwen3", "id0000000003", "qwen3", "ANN/QWEN3"]) {
    expect(pickDeployments(list, name)).toEqual([qwen]);
  }
  expect(pickDeployments(list, "qwen")).toEqual([]);
});

test("one's own comes before the built-in account's", () => {
  expect(pickDeployments([starter], "starter")).toEqual([starter]);
  expect(pickDeployments([starter, own], "starter")).toEqual([own]);
  expect(pickDeployments([starter, own], "berth/starter")).toEqual([starter]);
});

test("a bare name of several accounts is not decided", () => {
  expect(pickDeployments([qwen, bob], "Qwen3")).toEqual([qwen, bob]);
  expect(pickDeployments([qwen, bob], "bob/Qwen3")).toEqual([bob]);
});
