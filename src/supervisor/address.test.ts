import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { explainListenError, holdPort } from "./address.ts";

const server = createServer();
afterEach(() => void server.close());

it("holds a free port for 0: connections wait for the next who listens, and are refused once it is released", async () => {
  const { port, fd, release } = await holdPort("127.0.0.1", 0);
  const listens = 'require("net").createServer().listen({ fd: 3 }, () => console.log("listens"))';
  const child = spawn(process.execPath, ["-e", listens], { stdio: ["ignore", "pipe", "inherit", fd] });
  await once(child.stdout ?? child, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  const waiting = connect(port, "127.0.0.1");
  await once(waiting, "connect");
  const next = new Promise((resolve) => {
    const served =
      'require("net").createServer((s) => s.end("served", () => process.exit())).listen({ fd: 3 })';
    spawn(process.execPath, ["-e", served], { stdio: ["ignore", "inherit", "inherit", fd] }).once(
      "exit",
      resolve,
    );
  });
  expect(String((await once(waiting, "data"))[0])).toBe("served");
  await next;
  release();
  const [error] = (await once(connect(port, "127.0.0.1"), "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ECONNREFUSED");
});

it("waits for one who is about to go, and no longer than it was told", async () => {
  const leaving = createServer().listen(0, "127.0.0.1");
  await once(leaving, "listening");
  const address = leaving.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const pauses: number[] = [];
  const stays = { ms: 300, sleep: async (ms: number) => void pauses.push(ms) };
  expect(await holdPort("127.0.0.1", port, stays).catch(explainListenError)).toContain("another program");
  expect(pauses.reduce((sum, ms) => sum + ms, 0)).toBe(300);
  const goes = {
    ms: 300,
    sleep: async () => {
      leaving.close();
      await once(leaving, "close");
    },
  };
  const held = await holdPort("127.0.0.1", port, goes);
  expect(held.port).toBe(port);
  held.release();
});

it("says why a port cannot be had", async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const taken = await holdPort("127.0.0.1", port).catch(explainListenError);
  expect(taken).toBe(
    `BERTH_PORT ${port} on 127.0.0.1 cannot be listened on: another program uses it. Set another BERTH_PORT or BERTH_HOST.`,
  );
  const elsewhere = await holdPort("192.0.2.1", 0).catch(explainListenError);
  expect(elsewhere).toContain("this machine does not have that address");
  const unknown = await holdPort("no-such-host.invalid", 0).catch(explainListenError);
  expect(unknown).toContain("BERTH_HOST is no-such-host.invalid");
  expect(explainListenError(new Error("other"))).toBeNull();
});
