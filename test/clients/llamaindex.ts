/**
 * LlamaIndex's DeepInfra classes. The chat class takes a base URL; the embeddings class has DeepInfra's host written into
 * it, so its requests are led to Berth as a host name that resolves there would.
 */
import { DeepInfra, DeepInfraEmbedding } from "@llamaindex/deepinfra";
import { expect, onTestFinished, test, vi } from "vitest";
import { token } from "../harness/berth.ts";
import { isSum, model, question, sumSchema } from "./questions.ts";

export function llamaindexCases(url: () => string): void {
  const chat = () =>
    new DeepInfra({
      model,
      apiKey: token,
      maxRetries: 0,
      maxTokens: 40,
      additionalSessionOptions: { baseURL: `${url()}/v1/openai` },
    });
  const messages = [{ role: "user" as const, content: question }];

  test("an answer and a stream", async () => {
    const { message } = await chat().chat({ messages });
    expect(message.content).not.toBe("");
    let text = "";
    for await (const { delta } of await chat().chat({ messages, stream: true })) text += delta;
    expect(text).not.toBe("");
  });

  test("a tool's call", async () => {
    const add = {
      metadata: { name: "add", description: "Adds two numbers.", parameters: sumSchema as never },
      call: () => "7",
    };
    const { message } = await chat().chat({
      messages,
      tools: [add],
      additionalChatOptions: { tool_choice: "required" },
    });
    const { toolCall = [] } = (message.options ?? {}) as { toolCall?: { name: string; input: unknown }[] };
    expect(toolCall.map(({ name }) => name)).toContain("add");
    const [call] = toolCall;
    expect(isSum(typeof call?.input === "string" ? JSON.parse(call.input) : call?.input)).toBe(true);
  });

  test("embeddings, and an error", async () => {
    const { fetch: real } = globalThis;
    vi.stubGlobal("fetch", (target: string, init: RequestInit) =>
      real(target.replace("https://api.deepinfra.com", url()), init),
    );
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    onTestFinished(() => {
      vi.unstubAllGlobals();
      said.mockRestore();
    });
    const embedding = (name: string) =>
      new DeepInfraEmbedding({ model: name, apiToken: token, maxRetries: 1 });
    const vectors = await embedding(model).getTextEmbeddings(["a fox", "a bird"]);
    expect(vectors).toHaveLength(2);
    await expect(embedding("first/none").getTextEmbedding("a")).rejects.toThrow();
  });
}
