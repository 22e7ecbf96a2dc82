/** Requests exactly as deepctl and shell scripts send them to the inference paths, replayed. */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { token } from "../harness/berth.ts";
import { model, question } from "./questions.ts";

export function shellCases(url: () => string): void {
  const send = (path: string, body: RequestInit["body"], headers: Record<string, string> = {}) =>
    fetch(url() + path, {
      method: "POST",
      body: body ?? null,
      headers: { authorization: `Bearer ${token}`, ...headers },
    });

  test.each([`/v1/inference/${model}?version=`, `/v1/inference/${encodeURIComponent(model)}`])(
    "deepctl infer: a form of texts to %s",
    async (path) => {
      const form = new FormData();
      form.append("input", "Once upon a time");
      form.append("max_new_tokens", "8");
      form.append("temperature", "0.1");
      const response = await send(path, form);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({
        results: [{ generated_text: expect.any(String) }],
        inference_status: { status: "succeeded" },
      });
    },
  );

  test("a native stream comes token by token with log probabilities", async () => {
    const body = JSON.stringify({ input: "Once upon a time", max_new_tokens: 6, stream: true });
    const text = await (await send(`/v1/inference/${model}`, body)).text();
    const frames = text
      .split("\n\n")
      .filter((frame) => frame !== "")
      .map((frame) => JSON.parse(frame.slice("data: ".length)));
    const tokens = frames.slice(0, -1);
    expect(frames.at(-1).generated_text).toBe(tokens.map((frame) => frame.token.text).join(""));
    expect(frames.at(-1).details.generated_tokens).toBeGreaterThan(0);
    expect(tokens.some((frame) => typeof frame.token.logprob === "number")).toBe(true);
  });

  test("curl -d without a content type, lower-case bearer, a trailing slash, gzip", async () => {
    const body = JSON.stringify({
      model,
      max_tokens: 5,
      messages: [{ role: "user", content: question }],
      extra: 1,
    });
    for (const path of ["/v1/openai/chat/completions/", "/anthropic/v1/messages/"]) {
      const response = await send(path, gzipSync(body), {
        authorization: `bearer ${token}`,
        "content-encoding": "gzip",
      });
      expect([path, response.status]).toEqual([path, 200]);
      await response.text();
    }
  });

  test("tokens there and back", async () => {
    const there = await send(
      "/v1/tokenize",
      JSON.stringify({ model, prompt: "Hello there", add_special_tokens: false }),
    );
    const { tokens, count } = (await there.json()) as { tokens: number[]; count: number };
    expect(tokens).toHaveLength(count);
    const back = await send("/v1/detokenize", JSON.stringify({ model, tokens }));
    expect(await back.json()).toEqual({ prompt: "Hello there" });
  });
}
