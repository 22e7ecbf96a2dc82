/** The mirror's door: who may ask, and with what. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeEach(async () => {
  api = await startRealApi();
});
afterEach(async () => await api.close());

const path = "/hub/api/models/berth/starter";
const asHuggingFace = (token: string) => `hf_${Buffer.from(token).toString("hex")}`;
const ask = (authorization: string) => api.call("GET", path, { headers: { authorization } });

test("any token of Berth opens it, also in the form of Hugging Face's tokens", async () => {
  for (const token of [
    api.tokens.ann,
    asHuggingFace(api.tokens.ann),
    asHuggingFace(api.tokens.bob).toUpperCase(),
  ]) {
    const answer = await ask(`Bearer ${token.replace(/^HF_/, "hf_")}`);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.json).toMatchObject({ id: "berth/starter", sha: expect.stringMatching(/^[0-9a-f]{40}$/) });
  }
});

test("nothing else does, and the refusal says which token is meant", async () => {
  for (const token of [
    "hf_abcdefghijklmnopqrstuvwxyz0123456789",
    asHuggingFace("berth_wrong_token"),
    "hf_00",
    "x",
  ]) {
    const answer = await ask(`Bearer ${token}`);
    expect(answer.status).toBe(401);
    expect(answer.text).toContain("The token of this Berth is expected");
  }
});

test("that form opens nothing but the mirror", async () => {
  const authorization = `Bearer ${asHuggingFace(api.tokens.ann)}`;
  expect((await api.call("GET", "/v1/me", { headers: { authorization } })).status).toBe(401);
});
