/** DeepInfra's own npm client. It takes a full URL for a model's name; its tries again are turned off. */
import deepinfra from "deepinfra";
import { expect, onTestFinished, test, vi } from "vitest";
import { token } from "../harness/berth.ts";
import { model } from "./questions.ts";

const { Embeddings, TextGeneration } = deepinfra;
const once = { maxRetries: 0 };

export function deepinfraCases(url: () => string): void {
  const at = (name: string) => `${url()}/v1/inference/${name}`;

  test("text generation", async () => {
    const client = new TextGeneration(at(model), token, once);
    const answer = await client.generate({ input: "Once upon a time", max_new_tokens: 8, temperature: 0.1 });
    expect(answer.results[0]?.generated_text).not.toBe("");
    expect(answer.num_tokens).toBeGreaterThan(0);
    expect(answer.inference_status).toMatchObject({ status: "succeeded", cost: 0 });
    expect(answer.inference_status.tokens_input).toBe(answer.num_input_tokens);
  });

  test("embeddings", async () => {
    const client = new Embeddings(at(model), token, once);
    const { embeddings, input_tokens: tokens } = await client.generate({ inputs: ["a fox", "a bird"] });
    expect(embeddings).toHaveLength(2);
    expect(embeddings[0]?.length).toBeGreaterThan(8);
    expect(tokens).toBeGreaterThan(1);
  });

  test("an error is the client's", async () => {
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    onTestFinished(() => said.mockRestore());
    const generate = (name: string, key: string) =>
      new TextGeneration(at(name), key, once).generate({ input: "hi", max_new_tokens: 1 });
    await expect(generate("first/none", token)).rejects.toThrow();
    await expect(generate(model, "wrong")).rejects.toThrow();
  });
}
