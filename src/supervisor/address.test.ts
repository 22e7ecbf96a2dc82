import { once } from "node:events";
import { createServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { choosePort, explainListenError } from "./address.ts";

const server = createServer();
afterEach(() => void server.close());

it("chooses a free port for 0 and keeps one that is free", async () => {
  const port = await choosePort("127.0.0.1", 0);
  expect(port).toBeGreaterThan(0);
  expect(await choosePort("127.0.0.1", port)).toBe(port);
});

it("says why a port cannot be had", async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const taken = await choosePort("127.0.0.1", port).catch(explainListenError);
  expect(taken).toBe(
    `BERTH_PORT ${port} on 127.0.0.1 cannot be listened on: another program uses it. Set another BERTH_PORT or BERTH_HOST.`,
  );
  const elsewhere = await choosePort("192.0.2.1", 0).catch(explainListenError);
  expect(elsewhere).toContain("this machine does not have that address");
  const unknown = await choosePort("no-such-host.invalid", 0).catch(explainListenError);
  expect(unknown).toContain("BERTH_HOST is no-such-host.invalid");
  expect(explainListenError(new Error("other"))).toBeNull();
});
