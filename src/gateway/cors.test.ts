import { expect, test } from "vitest";
import { answerCors } from "./cors.ts";
import { startRig } from "./test-rig.ts";

const page = "https://app.example.com";

test("nothing is said where no origin may call", () => {
  expect(answerCors([], "OPTIONS", { origin: page, "access-control-request-method": "POST" })).toEqual({
    headers: [],
    isPreflight: false,
  });
});

test("another origin is told nothing, and caches keep it apart", () => {
  expect(answerCors([page], "GET", { origin: "https://app.example.com.evil.example" })).toEqual({
    headers: [["vary", "origin"]],
    isPreflight: false,
  });
});

test("a page may call every path, control's too, and reads errors as well", async () => {
  const rig = await startRig({ corsOrigins: [page] });
  rig.control.api = (_request, response) =>
    response.writeHead(200, { "content-type": "application/json" }).end("[]");
  await rig.publish();
  for (const path of [
    "/v1/chat/completions",
    "/anthropic/v1/messages",
    "/v1/models",
    "/deploy/list",
    "/healthz",
  ]) {
    const preflight = await fetch(rig.url + path, {
      method: "OPTIONS",
      headers: {
        origin: page,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    expect([path, preflight.status]).toEqual([path, 204]);
    expect(preflight.headers.get("access-control-allow-origin")).toBe(page);
    expect(preflight.headers.get("access-control-allow-headers")).toBe("authorization,content-type");
    const answer = await rig.ask(path, { headers: { origin: page } });
    expect([path, answer.headers.get("access-control-allow-origin")]).toEqual([path, page]);
    expect(answer.headers.get("access-control-expose-headers")).toContain("x-request-id");
    const other = await rig.ask(path, { headers: { origin: "https://other.example" } });
    expect(other.headers.get("access-control-allow-origin")).toBeNull();
  }
});
