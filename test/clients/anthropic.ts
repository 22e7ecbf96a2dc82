/** The official Anthropic client: messages, streams, tools, counting and errors. */
import Anthropic, { AuthenticationError, BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import { expect, test } from "vitest";
import { token } from "../harness/berth.ts";
import { isSum, model, question, sumSchema } from "./questions.ts";

const messages = [{ role: "user" as const, content: question }];
const tools = [{ name: "add", description: "Adds two numbers.", input_schema: sumSchema as never }];

export function anthropicCases(url: () => string): void {
  const client = (options: object = { apiKey: token }) =>
    new Anthropic({
      baseURL: `${url()}/anthropic`,
      maxRetries: 0,
      apiKey: null,
      authToken: null,
      ...options,
    });

  test.each([{ apiKey: token }, { authToken: token }])(
    "a message, whole and streamed, says the same",
    async (key) => {
      const asked = {
        model,
        messages,
        max_tokens: 40,
        temperature: 0,
        system: "You are a helpful assistant.",
      };
      const whole = await client(key).messages.create(asked);
      expect(whole).toMatchObject({ type: "message", role: "assistant", model, stop_reason: "end_turn" });
      expect(whole._request_id).toMatch(/^[0-9a-f]{32}$/);
      const stream = client(key).messages.stream(asked);
      let text = "";
      stream.on("text", (delta) => {
        text += delta;
      });
      const final = await stream.finalMessage();
      expect(final.content.map(({ type }) => type)).toEqual(["text"]);
      const [block] = whole.content;
      expect(text).toBe(block?.type === "text" ? block.text : null);
      expect([final.stop_reason, final.usage.output_tokens]).toEqual(["end_turn", whole.usage.output_tokens]);
      const inputs = [whole, final].map(
        ({ usage }) => usage.input_tokens + (usage.cache_read_input_tokens ?? 0),
      );
      const counted = await client(key).messages.countTokens({ model, messages, system: asked.system });
      expect(inputs).toEqual([counted.input_tokens, counted.input_tokens]);
    },
  );

  test("a tool's call, streamed, and the turn after it", async () => {
    const asked = { model, messages, tools, max_tokens: 60, tool_choice: { type: "any" as const } };
    const stream = client().messages.stream(asked);
    const final = await stream.finalMessage();
    expect(final.stop_reason).toBe("tool_use");
    const use = final.content.find((block) => block.type === "tool_use");
    if (use === undefined) throw new Error(`no tool in ${JSON.stringify(final.content)}`);
    expect([use.name, isSum(use.input)]).toEqual(["add", true]);
    const answer = await client().messages.create({
      model,
      max_tokens: 40,
      tools,
      messages: [
        ...messages,
        { role: "assistant", content: final.content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "7" }] },
      ],
    });
    expect(answer.content.length).toBeGreaterThan(0);
  });

  test("an answer that is begun is continued, and a stop sequence ends it", async () => {
    const asked = {
      model,
      max_tokens: 20,
      // The client's types leave it out, its users still send it.
      temperature: 0,
      messages: [...messages, { role: "assistant" as const, content: "3 + 4 =" }],
      stop_sequences: ["."],
    };
    const answer = await client().messages.create(asked);
    const [block] = answer.content;
    expect(block?.type === "text" && block.text.includes(".")).toBe(false);
    expect(answer.stop_reason).not.toBe("max_tokens");
  });

  test("errors are of the client's own classes", async () => {
    const create = (more: object, of = client()) =>
      of.messages.create({ model, messages, max_tokens: 5, ...more });
    await expect(create({}, client({ apiKey: "wrong" }))).rejects.toBeInstanceOf(AuthenticationError);
    await expect(create({ model: "first/none" })).rejects.toBeInstanceOf(NotFoundError);
    const source = { type: "base64" as const, media_type: "image/png" as const, data: "AAAA" };
    const image = [{ role: "user" as const, content: [{ type: "image" as const, source }] }];
    await expect(create({ messages: image })).rejects.toBeInstanceOf(BadRequestError);
    await expect(create({ thinking: { type: "enabled", budget_tokens: 1024 } })).rejects.toMatchObject({
      status: 400,
      error: { type: "error", error: { type: "invalid_request_error" } },
    });
    const long = client().messages.stream({
      model,
      max_tokens: 5,
      messages: [{ role: "user", content: "word ".repeat(20_000) }],
    });
    await expect(long.finalMessage()).rejects.toBeInstanceOf(BadRequestError);
  });
}
