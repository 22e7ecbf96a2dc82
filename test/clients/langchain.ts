/** LangChain's OpenAI classes, as its DeepInfra users point them at a base URL. */
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { expect, test } from "vitest";
import { token } from "../harness/berth.ts";
import { isSum, model, question, sumSchema } from "./questions.ts";

export function langchainCases(url: () => string): void {
  const chat = (fields: object = {}) =>
    new ChatOpenAI({
      model,
      apiKey: token,
      maxRetries: 0,
      maxTokens: 40,
      configuration: { baseURL: `${url()}/v1/openai` },
      ...fields,
    });

  test("an answer, and a stream with usage", async () => {
    const answer = await chat({ temperature: 0 }).invoke(question);
    expect(answer.text).not.toBe("");
    let text = "";
    let tokens = 0;
    for await (const chunk of await chat({ temperature: 0 }).stream(question)) {
      text += chunk.text;
      tokens += outputTokens(chunk);
    }
    expect([text, tokens]).toEqual([answer.text, outputTokens(answer)]);
  });

  test("by the Responses API", async () => {
    const answer = await chat({ useResponsesApi: true }).invoke(question);
    expect(answer.text).not.toBe("");
    let text = "";
    for await (const chunk of await chat({ useResponsesApi: true }).stream(question)) text += chunk.text;
    expect(text).not.toBe("");
  });

  test("tools and structured output", async () => {
    const tools = [{ type: "function", function: { name: "add", parameters: sumSchema } }];
    const answer = await chat().bindTools(tools, { tool_choice: "required" }).invoke(question);
    expect(answer.tool_calls?.map(({ name, args }) => [name, isSum(args)])).toContainEqual(["add", true]);
    const output = await chat()
      .withStructuredOutput(sumSchema, { name: "sum", method: "jsonSchema" })
      .invoke(question);
    expect(isSum(output)).toBe(true);
  });

  test("embeddings and errors", async () => {
    const configuration = { baseURL: `${url()}/v1/openai` };
    const embeddings = new OpenAIEmbeddings({ model, apiKey: token, configuration, maxRetries: 0 });
    expect(await embeddings.embedDocuments(["a fox", "a bird"])).toHaveLength(2);
    await expect(chat({ model: "first/none" }).invoke("x")).rejects.toMatchObject({ status: 404 });
  });
}

/** The type that the client gives its messages here has no usage; they have. */
function outputTokens(message: object): number {
  const { usage_metadata: usage } = message as { usage_metadata?: { output_tokens: number } };
  return usage?.output_tokens ?? 0;
}
