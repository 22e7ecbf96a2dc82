import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { CliDeps } from "./context.ts";
import { createCli } from "./program.ts";
import { runCli, type StandIn, sampleDeployment, startStandIn } from "./stand-in.ts";

let berth: StandIn;
beforeEach(async () => {
  berth = await startStandIn();
  berth.answer("GET /deploy/list", () => ({ json: [sampleDeployment()] }));
});
afterEach(() => berth.close());

const commands = [
  ...[
    "serve",
    "down",
    "deploy",
    "ls",
    "status",
    "why",
    "backup",
    "restore",
    "stop",
    "start",
    "scale",
    "rm",
    "logs",
    "chat",
  ],
  ...["account", "token", "doctor"],
];
const env = () => ({ BERTH_URL: berth.url, BERTH_API_TOKEN: "secret-token" });

test("help names every command and the exit codes; each command's help has examples", async () => {
  const { code, stdout } = await runCli(["--help"]);
  expect(code).toBe(0);
  for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
  expect(stdout).toContain("Exit codes:");
  for (const command of commands) {
    const help = await runCli([command, "--help"]);
    expect([help.code, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toContain("Examples:");
    expect(help.stdout).toContain("--json");
  }
  expect((await runCli([])).stdout).toBe(stdout);
  expect((await runCli(["--version"])).stdout).toBe("1.2.3\n");
});

test("wrong usage is exit code 2 and one line", async () => {
  for (const argv of [["foo"], ["ls", "--foo"], ["status"], ["scale", "x", "--min", "-1"], ["scale", "x"]]) {
    const { code, stdout, stderr } = await runCli(argv, { env: env() });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^berth: .+\n$/);
    const json = await runCli([...argv, "--json"], { env: env() });
    expect([json.code, json.stdout]).toEqual([2, ""]);
    expect(JSON.parse(json.stderr)).toEqual({ error: expect.any(String) });
  }
  const mistyped = await runCli(["depoly", "x"], { env: env() });
  expect(mistyped.stderr).toBe(
    "berth: unknown command 'depoly' (Did you mean deploy?). `berth --help` lists the commands, `berth <command> --help` what one takes.\n",
  );
  expect((await runCli(["account"])).code).toBe(2);
  for (const url of ["nonsense", "ftp://x", "http://user:pw@host"]) {
    expect((await runCli(["ls", "--url", url])).code).toBe(2);
  }
});

test("where nothing answers: exit code 3 and what to do", async () => {
  await berth.close();
  const { code, stdout, stderr } = await runCli(["ls"], { env: env() });
  expect([code, stdout]).toEqual([3, ""]);
  expect(stderr).toBe(
    `berth: No Berth answers at ${berth.url} (connection refused). Start one with \`berth serve\`, or name another with --url or BERTH_URL.\n`,
  );
  const json = await runCli(["ls", "--json"], { env: env() });
  expect(JSON.parse(json.stderr)).toEqual({ error: expect.stringContaining("No Berth answers") });
  berth = await startStandIn();
});

test("a token that is missing or wrong: exit code 5, and where it came from", async () => {
  berth.answer("GET /deploy/list", () => ({ status: 401, json: { error: "The token is not valid." } }));
  const wrong = await runCli(["ls"], { env: env() });
  expect(wrong.code).toBe(5);
  expect(wrong.stderr).toContain("does not accept the token from BERTH_API_TOKEN");
  expect(wrong.stderr).not.toContain("secret-token");
  const missing = await runCli(["ls"], { env: { BERTH_URL: berth.url } });
  expect(missing.code).toBe(5);
  expect(missing.stderr).toContain("wants a token and none was found");
  expect(berth.received.at(-1)?.headers.authorization).toBeUndefined();
});

test("each refusal has its exit code and the server's sentence, whatever its shape", async () => {
  const shapes: [number, unknown, number, string][] = [
    [403, { error: "Only an administrator may do this." }, 5, "Only an administrator may do this."],
    [404, { detail: { error: "x" } }, 1, "does not send"],
    [404, { error: "Gone." }, 4, "Gone."],
    [409, { error: { message: "Taken." } }, 1, "Taken."],
    [422, { detail: [{ loc: ["query", "status"], msg: "bad\u001b[2J", type: "x" }] }, 1, "status: bad"],
    [503, { error: "Control is restarting." }, 3, "Control is restarting."],
    [500, { detail: "Broken." }, 1, "Broken."],
  ];
  for (const [status, json, code, sentence] of shapes) {
    berth.answer("GET /deploy/list", () => ({ status, json }));
    const outcome = await runCli(["ls"], { env: env() });
    expect([outcome.code, outcome.stdout]).toEqual([code, ""]);
    expect(outcome.stderr).toContain(sentence);
    expect(outcome.stderr).not.toContain("\u001b");
  }
});

test("what is no Berth is named with its address", async () => {
  const strange = [
    { text: "<html>hello" },
    { json: { data: [] } },
    { status: 302, text: "" },
    { status: 404, text: "nginx" },
    { json: [{ deploy_id: 5 }] },
  ];
  for (const reply of strange) {
    berth.answer("GET /deploy/list", () => reply);
    const { code, stderr } = await runCli(["ls"], { env: env() });
    expect(code).toBe(1);
    expect(stderr).toContain(
      `${berth.url}/deploy/list answered with something a Berth of this version does not send`,
    );
  }
});

test("--url comes before BERTH_URL, and may end in a slash", async () => {
  const { code } = await runCli(["ls", "--url", `${berth.url}/`], {
    env: { BERTH_URL: "http://127.0.0.1:1" },
  });
  expect(code).toBe(0);
  expect(berth.received[0]?.path).toBe("/deploy/list");
});

test("serve and down: options become settings, the code is passed on, no server is asked for", async () => {
  const argv = ["serve", "--port", "9000", "--host", "::1", "--home", "/srv/b", "--no-starter"];
  const outcome = await runCli(argv, { env: { BERTH_URL: "nonsense" } });
  expect([outcome.code, outcome.stderr]).toEqual([0, ""]);
  expect(outcome.served).toEqual([
    {
      json: false,
      settings: { BERTH_PORT: "9000", BERTH_HOST: "::1", BERTH_HOME: "/srv/b", BERTH_STARTER: "off" },
    },
  ]);
});

test("down asks a Berth that answers, and waits until it is gone", async () => {
  let asked = 0;
  berth.answer("POST /v1/berth/down", () => ({ status: 202, json: { status: "stopping" } }));
  berth.answer("GET /healthz", () => {
    asked += 1;
    return { status: asked < 3 ? 200 : 503 };
  });
  const { code, stdout, ended } = await runCli(["down"], { env: env() });
  expect([code, stdout, ended]).toEqual([0, "Berth and its engines are stopped.\n", []]);
  expect(asked).toBe(3);
});

test("down without a Berth: engines here are ended, but not in the place of another machine's", async () => {
  await berth.close();
  const port = new URL(berth.url).port;
  const own = await runCli(["down"], { env: { BERTH_PORT: port } });
  expect([own.code, own.ended.length]).toEqual([0, 1]);
  const other = await runCli(["down"], { env: env() });
  expect([other.code, other.ended.length]).toEqual([3, 0]);
  berth = await startStandIn();
});

test("the address follows what `berth serve` is told by the same environment", async () => {
  const { port } = new URL(berth.url);
  for (const host of ["127.0.0.1", "0.0.0.0", "localhost", ""]) {
    expect((await runCli(["ls"], { env: { BERTH_HOST: host, BERTH_PORT: port } })).code).toBe(0);
  }
  const tls = await runCli(["ls"], {
    env: { BERTH_HOST: "::", BERTH_PORT: "1", BERTH_TLS_CERT: "cert.pem" },
  });
  expect(tls.stderr).toContain("https://127.0.0.1:1");
  const six = await runCli(["ls"], { env: { BERTH_HOST: "::1", BERTH_PORT: "1" } });
  expect(six.stderr).toContain("http://[::1]:1");
});

test("the address that `berth serve` left is used where the environment names none", async () => {
  const home = await mkdtemp(join(tmpdir(), "berth-cli-"));
  try {
    await writeFile(join(home, "address"), `${berth.url}\n`);
    await writeFile(join(home, "token"), "of-this-machine");
    expect((await runCli(["ls"], { env: { BERTH_HOME: home } })).code).toBe(0);
    expect(berth.received[0]?.headers.authorization).toBe("Bearer of-this-machine");
    await berth.close();
    const down = await runCli(["down"], { env: { BERTH_HOME: home } });
    expect([down.code, down.ended.length]).toEqual([0, 1]);
  } finally {
    await rm(home, { recursive: true });
  }
  berth = await startStandIn();
});

test("a reader that has seen enough is no failure", async () => {
  const broken = Object.assign(new Error("broken pipe"), { code: "EPIPE" });
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done(broken) });
  const stderr = new PassThrough();
  const cli = createCli({ ...idleDeps(), stdout, stderr });
  expect(await cli.run(["ls"])).toBe(0);
  expect(stderr.read()).toBeNull();
});

/** Dependencies that do nothing, for runs that need one of them to be odd. */
function idleDeps(): CliDeps {
  const idle = () => Promise.resolve(0);
  return {
    env: env(),
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
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
  };
}

test("a defect is one sentence, never a stack trace", async () => {
  const stderr = new PassThrough();
  const now = () => {
    throw new RangeError("broken");
  };
  const cli = createCli({ ...idleDeps(), stderr, clock: { now, sleep: () => Promise.resolve() } });
  expect(await cli.run(["ls"])).toBe(1);
  const said = String(stderr.read());
  expect(said).toContain("defect in Berth's command line: broken.");
  expect(said.split("\n")).toHaveLength(2);
});

test("what serve and down throw or return is passed on, with nothing added", async () => {
  const stderr = new PassThrough();
  const refusal = new Error("Berth already runs.");
  const refusing = createCli({ ...idleDeps(), stderr, serve: () => Promise.reject(refusal) });
  await expect(refusing.run(["serve"])).rejects.toBe(refusal);
  const failing = createCli({ ...idleDeps(), stderr, serve: () => Promise.resolve(78) });
  expect(await failing.run(["serve"])).toBe(78);
  expect(stderr.read()).toBeNull();
});
