/** The server program on the real engine while a client does not read what it asked for. */
import { expect, it } from "vitest";
import { startReadyEngine } from "../../../tools/tiny-gguf/start-engine.ts";
import { buildTinyModel } from "../../../tools/tiny-gguf/tiny-gguf.ts";

it("pauses for readers that are slow alone, and refuses what comes on top of all slots", async () => {
  const roomy = await startReadyEngine({
    model: buildTinyModel({ contextTokens: 1024 }),
    launch: { slots: 2, contextMemoryBytes: 64 * 1024 * 1024 },
  });
  try {
    const endless = { model: "tiny", prompt: "a", max_tokens: 1000, temperature: 0, ignore_eos: true };
    const headers = { "x-berth-scope": "slow" };
    // Logprobs make events long: all of them are more than sockets buffer.
    const streamed = JSON.stringify({ ...endless, stream: true, logprobs: 20 });
    const slow = await roomy.open("/v1/completions", streamed, headers);
    // While the slow one waits for its reader, another generates as many tokens as it would need to end.
    const quick = (await roomy.post("/v1/completions", endless)).body;
    expect(quick).toMatchObject({ usage: { completion_tokens: 1000 } });
    expect((await roomy.get("/health")).body).toMatchObject({ busy: 1 });
    const second = await roomy.open("/v1/completions", JSON.stringify({ ...endless, stream: true }), headers);
    const third = await roomy.post("/v1/completions", endless);
    expect(third).toMatchObject({ status: 503, body: { error: { code: "model_not_ready" } } });
    second.destroy();
    let text = "";
    for await (const chunk of slow) text += String(chunk);
    expect(text).toMatch(/"completion_tokens":1000.*\n\ndata: \[DONE\]\n\n$/);
  } finally {
    await roomy.stop();
  }
});
