import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { askLoad, type LoadNames, readLoad } from "./engine-load.ts";

const names: LoadNames = {
  running: ["vllm:num_requests_running"],
  waiting: ["vllm:num_requests_waiting"],
  cacheShare: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
};

/** As vLLM 0.32 prints it, cut. */
const page = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="ann/starter"} 2.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
vllm:num_requests_waiting{engine="0",model_name="ann/starter"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="ann/starter",reason="capacity"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="ann/starter"} 0.25
`;

describe("an engine's page of metrics", () => {
  test("says what runs, what waits, and how full its cache is", () => {
    expect(readLoad(page, names)).toEqual({ running: 2, waiting: 1, cacheShare: 0.25 });
  });

  test("an older name counts as well, and several cores are one engine", () => {
    const older = page.replaceAll("kv_cache", "gpu_cache");
    const two = older + older.replaceAll('engine="0"', 'engine="1"');
    expect(readLoad(two, names)).toMatchObject({ running: 4, waiting: 2, cacheShare: 0.25 });
  });

  test("without what runs it says nothing", () => {
    expect(readLoad("llamacpp:requests_processing 1\n", names)).toBeNull();
    expect(readLoad("vllm:num_requests_running NaN\n", names)).toBeNull();
  });
});

test("is asked with the engine's secret, and silence is no error", async () => {
  const server = createServer((request, response) => {
    const isKnown = request.headers.authorization === "Bearer right" && request.url === "/metrics";
    response.writeHead(isKnown ? 200 : 401).end(isKnown ? page : "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const endpoint = { kind: "tcp", host: "127.0.0.1", port } as const;
  expect(await askLoad({ endpoint, secret: "right" }, names, 5000)).toMatchObject({ running: 2 });
  expect(await askLoad({ endpoint, secret: "wrong" }, names, 5000)).toBeNull();
  await new Promise((resolve) => server.close(resolve));
  expect(await askLoad({ endpoint, secret: "right" }, names, 5000)).toBeNull();
});
