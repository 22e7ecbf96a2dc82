/** Vercel's AI SDK with its DeepInfra provider. */
import { createDeepInfra } from "@ai-sdk/deepinfra";
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { expect, test } from "vitest";
import { token } from "../harness/berth.ts";
import { isSum, model, question, type Sum, sumSchema } from "./questions.ts";

export function aiSdkCases(url: () => string): void {
  const provider = (apiKey = token) => createDeepInfra({ apiKey, baseURL: `${url()}/v1` });
  const schema = jsonSchema<Sum>(sumSchema as never);

  test("a stream with usage", async () => {
    const errors: unknown[] = [];
    const { textStream, usage } = streamText({
      model: provider()(model),
      prompt: question,
      maxOutputTokens: 40,
      onError: ({ error }) => errors.push(error),
    });
    let text = "";
    for await (const piece of textStream) text += piece;
    expect([text === "", errors]).toEqual([false, []]);
    expect((await usage).outputTokens).toBeGreaterThan(0);
  });

  test("a tool that is carried out, and structured output", async () => {
    const sums: Sum[] = [];
    const add = tool({
      description: "Adds two numbers.",
      inputSchema: schema,
      execute: async (sum: Sum) => {
        sums.push(sum);
        return sum.a + sum.b;
      },
    });
    const { toolResults } = await generateText({
      model: provider()(model),
      prompt: question,
      tools: { add },
      toolChoice: "required",
    });
    expect(sums.length).toBeGreaterThan(0);
    expect(toolResults[0]?.output).toBe((sums[0]?.a ?? 0) + (sums[0]?.b ?? 0));
    const { output } = await generateText({
      model: provider()(model),
      prompt: question,
      output: Output.object({ schema }),
    });
    expect(isSum(output)).toBe(true);
  });

  test("embeddings and errors", async () => {
    const { embeddings } = await embedMany({
      model: provider().textEmbeddingModel(model),
      values: ["a", "b"],
    });
    expect(embeddings).toHaveLength(2);
    const refused = generateText({ model: provider("wrong")(model), prompt: "x", maxRetries: 0 });
    await expect(refused).rejects.toMatchObject({ statusCode: 401 });
  });
}
