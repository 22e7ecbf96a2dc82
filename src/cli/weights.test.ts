import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli, type StandIn, startStandIn } from "./stand-in.ts";

let berth: StandIn;
beforeEach(async () => {
  berth = await startStandIn();
});
afterEach(() => berth.close());

const run = (...args: string[]) =>
  runCli(["hub", ...args], { env: { BERTH_URL: berth.url, BERTH_API_TOKEN: "berth_token" } });
const asked = () => berth.received.map(({ method, path, body }) => [method, path, body]);

const job = { id: "j1", kind: "pull", repo: "o/n", state: "running" };
const numbers = { bytes_done: 5e8, bytes_total: 1e9, bytes_per_s: 1e8, result: "", damaged: [] };

describe("berth hub ls", () => {
  const repo = { repo: "o/n", files: 2, bytes: 2e9, own_bytes: 2e9, commits: [], used_at: 1, needed: false };

  test("says of each repository how large it is and what keeps it", async () => {
    const list = [
      repo,
      { ...repo, repo: "o/used", needed: true },
      { ...repo, repo: "o/other", own_bytes: 0 },
    ];
    berth.answer("GET /v1/berth/hub", () => ({ json: list }));
    const { stdout, code } = await run("ls");
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[1]).toMatch(/^o\/n +2\.0+ GB +2 +free/);
    expect(lines[2]).toMatch(/^o\/used .* deployed/);
    expect(lines[3]).toMatch(/^o\/other .* not Berth's/);
  });

  test("says so when there is none", async () => {
    berth.answer("GET /v1/berth/hub", () => ({ json: [] }));
    expect((await run("ls")).stderr).toContain("The cache is empty.");
  });
});

describe("berth hub pull and verify", () => {
  test("stay until the end and say what came of it", async () => {
    berth.answer("POST /v1/berth/hub/pull", () => ({ json: { ...job, ...numbers } }));
    let looks = 0;
    berth.answer("GET /v1/berth/hub/jobs/j1", () => {
      looks += 1;
      const state = looks < 3 ? "running" : "done";
      return { json: { ...job, ...numbers, state, result: looks < 3 ? "" : "All is here." } };
    });
    const { stdout, code } = await run("pull", "o/n:Q4_K_M", "--revision", "v1");
    expect([code, stdout]).toEqual([0, "All is here.\n"]);
    expect(asked()[0]).toEqual(["POST", "/v1/berth/hub/pull", { repo: "o/n:Q4_K_M", revision: "v1" }]);
    expect(looks).toBe(3);
  });

  test("fail with the reason", async () => {
    const failed = { ...job, ...numbers, kind: "verify", state: "failed", result: "Two files are damaged." };
    berth.answer("POST /v1/berth/hub/verify", () => ({ json: failed }));
    const { stderr, code } = await run("verify", "o/n", "--repair");
    expect(code).toBe(1);
    expect(stderr).toContain("Two files are damaged.");
    expect(asked()).toEqual([["POST", "/v1/berth/hub/verify", { repo: "o/n", repair: true }]]);
  });
});

describe("berth hub rm and gc", () => {
  test("say what was removed and what stays", async () => {
    berth.answer("DELETE /v1/berth/hub/repos/o/n", () => ({ json: { removed_bytes: 1e9, kept_bytes: 2e9 } }));
    berth.answer("POST /v1/berth/hub/gc", () => ({
      json: { removed_bytes: 3e9, removed_files: 1, kept_bytes: 4e9 },
    }));
    expect((await run("rm", "o/n")).stdout).toMatch(
      /^o\/n: 1\.0+ GB removed\. 2\.0+ GB that another program/,
    );
    expect((await run("gc", "--keep", "4.5")).stdout).toMatch(
      /^1 file \(3\.0+ GB\) removed; 4\.0+ GB are left/,
    );
    expect(asked().at(-1)).toEqual(["POST", "/v1/berth/hub/gc", { keep_bytes: 4_500_000_000 }]);
  });

  test("refuse what makes no sense before anything is asked", async () => {
    for (const args of [
      ["rm", "n"],
      ["rm", "o/n/x"],
      ["gc", "--keep", "-1"],
      ["gc", "--keep", "much"],
    ]) {
      expect((await run(...args)).code).toBe(2);
    }
    expect(berth.received).toEqual([]);
  });
});

test("berth hub env prints what other programs need, the token in a form that they all send", async () => {
  const { stdout, code } = await run("env");
  const token = `hf_${Buffer.from("berth_token").toString("hex")}`;
  expect([code, stdout]).toEqual([0, `export HF_ENDPOINT=${berth.url}/hub\nexport HF_TOKEN=${token}\n`]);
});
