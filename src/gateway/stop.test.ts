import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { annToken, bareClient, modelOf, requestText, startRig } from "./test-rig.ts";

test("stopping: no new connections, streams finish, a second stop is the first", async () => {
  const rig = await startRig({ limits: { drainMs: 20_000 } });
  const { instance } = await rig.engine({ tokens: 30, delayMs: 5 });
  await rig.publish(modelOf([instance]));
  const stream = await rig.chat({ stream: true });
  const stopped = rig.gateway.stop();
  expect(rig.gateway.stop()).toBe(stopped);
  await expect(fetch(`${rig.url}/healthz`, { headers: { connection: "close" } })).rejects.toThrow();
  expect((await stream.text()).endsWith("data: [DONE]\n\n")).toBe(true);
  await stopped;
});

test("what does not finish in time is told so and cut", async () => {
  const rig = await startRig({ limits: { drainMs: 20 } });
  const { engine, instance } = await rig.engine({ tokens: 2 });
  engine.fault = { kind: "hang-after", tokens: 1 };
  await rig.publish(
    modelOf([instance], { deploymentId: "d1" }),
    modelOf([], { deploymentId: "d2", name: "ann/asleep", state: "asleep" }),
  );
  const stream = await rig.chat({ stream: true });
  const waiting = rig.chat({ model: "asleep" });
  await eventually(() => expect(rig.gateway.load()).toEqual({ running: 1, queued: 1 }));
  await rig.gateway.stop();
  expect(await stream.text()).toMatch(/\n\ndata: \{"error":\{.*"code":"shutting_down"\}\}\n\n$/);
  const cut = await waiting;
  expect(cut.status).toBe(503);
  expect(await cut.json()).toMatchObject({ error: { code: "shutting_down" } });
  expect(rig.gateway.load()).toEqual({ running: 0, queued: 0 });
  await eventually(() => expect(engine.busy).toBe(0));
});

test("stopping with a client that holds its connection open takes no longer than the limit", async () => {
  const rig = await startRig({ limits: { drainMs: 20 } });
  const client = await bareClient(rig.port);
  client.socket.write(requestText("/v1/chat/completions", "x".repeat(100)).slice(0, -50));
  await rig.gateway.stop();
  await client.closed();
});

test("TLS, with the scheme told to control", async () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-tls-"));
  const options =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost";
  const files = ["-keyout", join(dir, "key"), "-out", join(dir, "cert")];
  execFileSync("openssl", [...options.split(" "), ...files], { stdio: "ignore" });
  const tls = { cert: readFileSync(join(dir, "cert"), "utf8"), key: readFileSync(join(dir, "key"), "utf8") };
  rmSync(dir, { recursive: true });
  const rig = await startRig({ tls });
  const { instance } = await rig.engine({ tokens: 2 });
  await rig.publish(modelOf([instance]));
  rig.control.api = (asked, response) => response.end(asked.headers["x-forwarded-proto"]);
  const ask = (path: string, method: string, body: string) =>
    new Promise<string>((resolve, reject) => {
      const headers = { authorization: `Bearer ${annToken}` };
      const sent = request(`${rig.url}${path}`, {
        method,
        headers,
        ca: tls.cert,
        servername: "localhost",
        agent: false,
      });
      sent.on("error", reject).on("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        response.on("end", () => resolve(text)).on("error", reject);
      });
      sent.end(body);
    });
  const text = await ask("/v1/chat/completions", "POST", '{"model":"chat","messages":[],"stream":true}');
  expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  expect(await ask("/deploy/list", "GET", "")).toBe("https");
});
