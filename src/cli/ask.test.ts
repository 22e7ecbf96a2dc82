import { PassThrough, Writable } from "node:stream";
import { expect, test } from "vitest";
import { askPerson } from "./ask.ts";
import { openCli } from "./context.ts";

test("a secret is asked for only once the terminal no longer shows what is typed", async () => {
  const order: string[] = [];
  const stdin = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (isRaw: boolean) => order.push(isRaw ? "hidden" : "shown"),
  });
  const stderr = new Writable({
    write(chunk, _encoding, done) {
      order.push(String(chunk));
      if (String(chunk) === "Token: ") setImmediate(() => stdin.write("secret\r"));
      done();
    },
  });
  const idle = () => Promise.resolve(0);
  const cli = openCli(
    {
      env: {},
      stdin,
      stdout: new PassThrough(),
      stderr,
      fetch,
      clock: { now: () => 0, sleep: () => Promise.resolve() },
      onInterrupt: () => () => undefined,
      serve: idle,
      down: idle,
      engines: idle,
      simulate: idle,
      backup: idle,
      restore: idle,
      version: "0",
    },
    {},
    new AbortController().signal,
  );
  expect(await askPerson(cli, "Token: ", true)).toBe("secret");
  expect(order).toEqual(["hidden", "Token: ", "shown", "\n"]);
});
