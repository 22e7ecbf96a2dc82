/** The official OpenAI client: chat, embeddings and responses, with streams, tools, structured output and errors. */
import OpenAI, { APIError, AuthenticationError, BadRequestError, NotFoundError } from "openai";
import { expect, test } from "vitest";
import { token } from "../harness/berth.ts";
import { isSum, model, question, sumSchema } from "./questions.ts";

const messages = [{ role: "user" as const, content: question }];

export function openaiCases(url: () => string): void {
  const client = (base = "/v1/openai", apiKey = token) =>
    new OpenAI({ apiKey, baseURL: url() + base, maxRetries: 0 });

  test.each(["/v1/openai", "/v1"])("chat at %s, whole and streamed, says the same", async (base) => {
    const asked = { model, messages, temperature: 0, max_tokens: 40 };
    const whole = await client(base).chat.completions.create(asked);
    expect(whole.choices[0]?.message.content).not.toBe("");
    let text = "";
    let usage: unknown = null;
    for await (const chunk of await client(base).chat.completions.create({ ...asked, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(usage).toMatchObject({ completion_tokens: whole.usage?.completion_tokens });
  });

  test("tools and structured output", async () => {
    const tools = [{ type: "function" as const, function: { name: "add", parameters: sumSchema } }];
    const called = await client().chat.completions.create({
      model,
      messages,
      tools,
      tool_choice: "required",
    });
    const [call] = called.choices[0]?.message.tool_calls ?? [];
    expect(call).toMatchObject({ type: "function", function: { name: "add" } });
    if (call?.type === "function") expect(isSum(JSON.parse(call.function.arguments))).toBe(true);
    const format = {
      type: "json_schema" as const,
      json_schema: { name: "sum", schema: sumSchema, strict: true },
    };
    const said = await client().chat.completions.create({ model, messages, response_format: format });
    expect(isSum(JSON.parse(said.choices[0]?.message.content ?? ""))).toBe(true);
  });

  test("a response, whole and streamed, says the same", async () => {
    const asked = { model, input: question, temperature: 0, max_output_tokens: 40 };
    const whole = await client().responses.create(asked);
    expect(whole).toMatchObject({ object: "response", status: "completed", store: false });
    expect(whole.output_text).not.toBe("");
    const stream = client().responses.stream(asked);
    let text = "";
    for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
    const final = await stream.finalResponse();
    expect([text, final.output_text]).toEqual([whole.output_text, whole.output_text]);
    expect(final.usage).toEqual(whole.usage);
  });

  test("a response with a function, its result, and a schema", async () => {
    const tools = [{ type: "function" as const, name: "add", parameters: sumSchema, strict: true }];
    const asked = { model, input: question, tools, tool_choice: "required" as const };
    const stream = client("/v1").responses.stream(asked);
    const pieces: string[] = [];
    stream.on("response.function_call_arguments.delta", ({ delta }) => pieces.push(delta));
    const called = await stream.finalResponse();
    const call = called.output.find((item) => item.type === "function_call");
    if (call === undefined) throw new Error(`no call in ${JSON.stringify(called.output)}`);
    expect(call.name).toBe("add");
    expect(pieces.join("")).toBe(call.arguments);
    expect(isSum(JSON.parse(call.arguments))).toBe(true);
    const answer = await client("/v1").responses.create({
      model,
      input: [
        { role: "user", content: question },
        { type: "function_call", call_id: call.call_id, name: call.name, arguments: call.arguments },
        { type: "function_call_output", call_id: call.call_id, output: "7" },
      ],
      max_output_tokens: 40,
    });
    expect(answer.output.at(-1)?.type).toBe("message");
    const format = { type: "json_schema" as const, name: "sum", schema: sumSchema, strict: true };
    const parsed = await client("/v1").responses.parse({ model, input: question, text: { format } });
    expect(isSum(JSON.parse(parsed.output_text))).toBe(true);
  });

  test("responses are not stored", async () => {
    const { id } = await client().responses.create({ model, input: "Hello!", max_output_tokens: 4 });
    await expect(client().responses.retrieve(id)).rejects.toBeInstanceOf(NotFoundError);
    await expect(client().responses.delete(id)).rejects.toBeInstanceOf(NotFoundError);
    await expect(
      client().responses.create({ model, input: "x", previous_response_id: id }),
    ).rejects.toMatchObject({ status: 400, param: "previous_response_id" });
  });

  test("errors are of the client's own classes", async () => {
    const create = (more: object, of = client()) => of.responses.create({ model, input: "x", ...more });
    await expect(create({}, client("/v1", "wrong"))).rejects.toBeInstanceOf(AuthenticationError);
    await expect(create({ model: "first/none" })).rejects.toBeInstanceOf(NotFoundError);
    await expect(create({ reasoning: { effort: "high" } })).rejects.toBeInstanceOf(BadRequestError);
    await expect(create({ temperature: 9 })).rejects.toBeInstanceOf(APIError);
    const long = client().responses.stream({ model, input: "word ".repeat(20_000) });
    await expect(long.finalResponse()).rejects.toMatchObject({
      status: 400,
      code: "context_length_exceeded",
    });
  });
}
