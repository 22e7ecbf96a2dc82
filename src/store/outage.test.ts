import { once } from "node:events";
import { connect, createServer } from "node:net";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { StoreError } from "./error.ts";
import { outageOf } from "./outage.ts";

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

it("knows a full SQLite database, also behind the store's own words", () => {
  const db = new DatabaseSync(":memory:");
  db.exec("create table t (x blob); pragma max_page_count = 3");
  const full = errorOf(() => db.exec("insert into t values (randomblob(100000))"));
  expect(outageOf(full)).toBe("its disk is full");
  expect(outageOf(new StoreError("refused", { cause: full }))).toBe("its disk is full");
  expect(outageOf(errorOf(() => db.exec("select * from missing")))).toBeNull();
  db.close();
});

it("knows a PostgreSQL server that does not answer", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  const [refused] = (await once(connect(port, "127.0.0.1"), "error")) as [unknown];
  expect(outageOf(refused)).toBe("its server does not answer");
  expect(outageOf(new Error("Connection terminated unexpectedly"))).toBe("the connection broke");
});

it.each([
  ["53100", "its disk is full"],
  ["57P01", "its server is stopping or starting"],
  ["08006", "the connection broke"],
  ["42P01", null],
  ["23505", null],
])("reads PostgreSQL's code %s", (code, outage) => {
  expect(outageOf(Object.assign(new Error("from the server"), { code }))).toBe(outage);
});

it("takes everything else for a defect", () => {
  expect(outageOf(new TypeError("x is not a function"))).toBeNull();
  expect(outageOf(Object.assign(new Error("no such file"), { code: "ENOENT" }))).toBeNull();
  expect(outageOf("text")).toBeNull();
});
