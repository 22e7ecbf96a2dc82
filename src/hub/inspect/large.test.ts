/** A repository of 400 GB is known from a few megabytes of it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startHeaderHub } from "../../../tools/model-headers/hub.ts";
import { expertsModel } from "../../../tools/model-headers/large.ts";
import { weightFilesChooser } from "../../engines/weight-files.ts";
import { systemClock } from "../../telemetry/clock.ts";
import { createHub } from "../hub.ts";

test("headers of many shards are read once each, and their rest from where their beginning was", async () => {
  const shards = 40;
  await using server = await startHeaderHub([{ name: "acme/large", config: expertsModel, shards }]);
  const home = await mkdtemp(join(tmpdir(), "berth-large-"));
  try {
    const hub = createHub({
      home,
      endpoint: server.url,
      allowPrivateRedirects: true,
      builtin: new Map(),
      chooseFiles: weightFilesChooser({ allowPickle: false }),
      clock: systemClock,
      threads: 0,
    });
    const weights = { repo: "acme/large", revision: null };
    const outcome = await hub.inspect(weights, null, new AbortController().signal);
    if (!outcome.ok) throw new Error(outcome.failure.message);
    const facts = outcome.value;
    expect(facts).toMatchObject({
      isCounted: true,
      layers: 94,
      heads: 64,
      kvHeads: 4,
      hasChatTemplate: true,
    });
    expect((facts.parameters ?? 0) / 1e9).toBeCloseTo(235.1, 1);
    expect(facts.weightBytes).toBeGreaterThan(470e9);
    expect(facts.bytesByPart.routedExperts).toBe(94 * 128 * 3 * 4096 * 1536 * 2);
    expect(server.sentBytes()).toBeLessThan(5e6 + shards * 4096);
    // Two questions for the listing, two files beside the weights; of each shard where it is, its beginning, and its rest.
    expect(server.requests()).toBe(2 + 2 + shards * 3);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
