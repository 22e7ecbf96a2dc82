import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { berthHome, findApiToken, findHfToken, isLoopback, readSecret, readText } from "./credentials.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "berth-cli-"));
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<string> {
  const full = join(home, path);
  await mkdir(join(full, ".."), { recursive: true });
  await writeFile(full, text);
  return full;
}

test("Berth's token: the environment, else the file beside the state", async () => {
  expect(await findApiToken({ HOME: home }, true)).toBeNull();
  await write(".berth/token", "from-file\n");
  expect(await findApiToken({ HOME: home }, true)).toMatchObject({
    secret: "from-file",
    shell: "$(cat ~/.berth/token)",
  });
  await write("a b/token", "elsewhere");
  expect(await findApiToken({ HOME: home, BERTH_HOME: join(home, "a b") }, true)).toMatchObject({
    secret: "elsewhere",
    shell: "$(cat ~/'a b/token')",
  });
  expect(await findApiToken({ HOME: home, BERTH_API_TOKEN: "from-env" }, true)).toMatchObject({
    secret: "from-env",
    shell: "$BERTH_API_TOKEN",
  });
});

test("this machine's token is not sent to another machine", async () => {
  await write(".berth/token", "from-file");
  expect(await findApiToken({ HOME: home }, false)).toBeNull();
  expect(await findApiToken({ HOME: home, BERTH_API_TOKEN: "x" }, false)).not.toBeNull();
  const loopback = ["http://localhost", "http://127.1.2.3", "http://[::1]:1", "https://127.0.0.1"];
  const outside = ["http://127.evil.com", "http://10.0.0.1", "http://localhost.evil", "http://[::2]"];
  expect(loopback.map((text) => isLoopback(new URL(text)))).toEqual([true, true, true, true]);
  expect(outside.map((text) => isLoopback(new URL(text)))).toEqual([false, false, false, false]);
});

test("the Hugging Face token: where huggingface_hub looks for it, in its order", async () => {
  expect(await findHfToken({ HOME: home })).toBeNull();
  await write(".cache/huggingface/token", "hf_cache");
  expect((await findHfToken({ HOME: home }))?.secret).toBe("hf_cache");
  await write("xdg/huggingface/token", "hf_xdg");
  const xdg = { HOME: home, XDG_CACHE_HOME: join(home, "xdg") };
  expect((await findHfToken(xdg))?.secret).toBe("hf_xdg");
  await write("hf/token", "hf_home");
  const hfHome = { ...xdg, HF_HOME: join(home, "hf") };
  expect((await findHfToken(hfHome))?.secret).toBe("hf_home");
  const path = await write("elsewhere", "hf_path");
  const hfPath = { ...hfHome, HF_TOKEN_PATH: path };
  expect((await findHfToken(hfPath))?.secret).toBe("hf_path");
  expect(await findHfToken({ ...hfPath, HF_TOKEN: "hf_env" })).toEqual({
    secret: "hf_env",
    from: "HF_TOKEN",
  });
  expect((await findHfToken({ ...hfPath, HF_TOKEN: "" }))?.secret).toBe("hf_path");
});

test("what is no token is refused without being shown", async () => {
  const bad = "two words";
  const refusal = await findHfToken({ HOME: home, HF_TOKEN: bad }).catch((error: Error) => error.message);
  expect(refusal).toContain("HF_TOKEN is not a token");
  expect(refusal).not.toContain(bad);
  expect(() => readSecret("  \n")).toThrow("empty");
  expect(readSecret(" hf_abc\n")).toBe("hf_abc");
});

test("a token file that is a folder is a clear error", async () => {
  await mkdir(join(home, ".berth/token"), { recursive: true });
  await expect(findApiToken({ HOME: home }, true)).rejects.toThrow("cannot be read (EISDIR)");
});

test("BERTH_HOME may begin with ~", () => {
  expect(berthHome({ HOME: home, BERTH_HOME: "~/state" })).toBe(join(home, "state"));
  expect(berthHome({ HOME: home })).toBe(join(home, ".berth"));
});

test("reading standard input is bounded, and ends with the signal", async () => {
  const never = new AbortController();
  expect(await readText(Readable.from(["a", Buffer.from("b")]), 2, never.signal)).toBe("ab");
  await expect(readText(Readable.from(["abc"]), 2, never.signal)).rejects.toThrow("longer");
  const ending = new AbortController();
  const reading = readText(new PassThrough(), 2, ending.signal);
  ending.abort(new Error("Ctrl-C"));
  await expect(reading).rejects.toThrow("Ctrl-C");
});
