import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli, type StandIn, sampleDeployment, startStandIn } from "./stand-in.ts";

const chatPath = "POST /v1/openai/chat/completions";

let berth: StandIn;
beforeEach(async () => {
  berth = await startStandIn();
  berth.answer("GET /v1/openai/models", () => ({
    json: { data: [{ id: "berth/starter" }, { id: "ann/qwen" }] },
  }));
});
afterEach(() => berth.close());

const env = () => ({ BERTH_URL: berth.url, BERTH_API_TOKEN: "secret-token" });

async function* chunks(texts: readonly string[], finishReason = "stop"): AsyncGenerator<string> {
  for (const content of texts) yield chunk({ delta: { content }, finish_reason: null });
  yield chunk({ delta: {}, finish_reason: finishReason });
  yield 'data: {"choices":[],"usage":{}}\n\ndata: [DONE]\n\n';
}

function chunk(choice: unknown): string {
  return `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
}

const bodies = () =>
  berth.received.filter((one) => one.method === "POST").map((one) => one.body as Record<string, unknown>);

test("an answer is streamed to standard output, alone", async () => {
  berth.answer(chatPath, () => ({ stream: chunks(["Hel", "lo ", "wörld"]) }));
  const { code, stdout, stderr } = await runCli(
    ["chat", "starter", "Say", "hello", "--system", "Be brief.", "--max-tokens", "9", "--temperature", "0.5"],
    { env: env() },
  );
  expect([code, stdout, stderr]).toEqual([0, "Hello wörld\n", ""]);
  expect(bodies()).toEqual([
    {
      model: "berth/starter",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Say hello" },
      ],
      stream: true,
      max_tokens: 9,
      temperature: 0.5,
    },
  ]);
});

test("pieces may be cut anywhere, and carriage returns are no part of them", async () => {
  async function* bytewise() {
    for await (const text of chunks(["grün", "!"]))
      for (const char of text.replaceAll("\n", "\r\n")) yield char;
  }
  berth.answer(chatPath, () => ({ stream: bytewise() }));
  expect((await runCli(["chat", "ann/qwen", "x"], { env: env() })).stdout).toBe("grün!\n");
});

test("an answer cannot steer the terminal, even in pieces", async () => {
  berth.answer(chatPath, () => ({ stream: chunks(["a\u001b", "[2Jb\u001b[31mc\u0007\nd"]) }));
  expect((await runCli(["chat", "ann/qwen", "x"], { env: env() })).stdout).toBe("a[2Jbc\nd\n");
});

test("names: full, bare, id; what is not known is left to the server", async () => {
  berth.answer(chatPath, () => ({ stream: chunks(["ok"]) }));
  berth.answer("GET /deploy/aaaabbbbccccdddd", () => ({ json: sampleDeployment() }));
  for (const name of ["ann/qwen", "qwen", "aaaabbbbccccdddd", "bob/other"]) {
    await runCli(["chat", name, "x"], { env: env() });
  }
  const models = bodies().map((body) => body.model);
  expect(models).toEqual(["ann/qwen", "ann/qwen", "deploy_id:aaaabbbbccccdddd", "bob/other"]);
});

test("the prompt comes from standard input when none is given, or where - stands", async () => {
  berth.answer(chatPath, () => ({ stream: chunks(["ok"]) }));
  await runCli(["chat", "qwen"], { env: env(), input: "from a pipe\n" });
  await runCli(["chat", "qwen", "Summarise:", "-"], { env: env(), input: "a diff\n" });
  await runCli(["chat", "qwen", "alone"], { env: env(), input: "not read" });
  const prompts = bodies().map((body) => (body.messages as { content: string }[])[0]?.content);
  expect(prompts).toEqual(["from a pipe", "Summarise:\n\na diff", "alone"]);
  const empty = await runCli(["chat", "qwen"], { env: env(), input: " \n" });
  expect([empty.code, empty.stderr]).toEqual([
    2,
    "berth: The prompt is empty: give one as an argument or on standard input.\n",
  ]);
});

test("an error in the stream, a cut stream and nonsense are errors, not short answers", async () => {
  async function* broken(last: string) {
    yield chunk({ delta: { content: "Hal" } });
    yield last;
  }
  const run = async (last: string) => {
    berth.answer(chatPath, () => ({ stream: broken(last) }));
    return runCli(["chat", "qwen", "x"], { env: env() });
  };
  const failed = await run('data: {"error":{"message":"The engine died.","code":"engine_failed"}}\n\n');
  expect([failed.code, failed.stdout]).toEqual([1, "Hal\n"]);
  expect(failed.stderr).toBe("berth: The answer broke off: The engine died.\n");
  expect((await run("")).stderr).toContain("the connection ended before it did");
  expect((await run("data: {nonsense\n\n")).stderr).toContain("not JSON");
  expect((await run("data: 5\n\n")).stderr).toContain("no chat completion");
});

test("a connection that is torn is an error", async () => {
  const seen = Promise.withResolvers<void>();
  async function* torn() {
    yield chunk({ delta: { content: "Hal" } });
    await seen.promise;
    throw new Error("cut");
  }
  berth.answer(chatPath, () => ({ stream: torn() }));
  const onOutput = () => seen.resolve();
  const { code, stdout, stderr } = await runCli(["chat", "qwen", "x"], { env: env(), onOutput });
  expect([code, stdout]).toEqual([3, "Hal\n"]);
  expect(stderr).toContain("broke off");
});

test("an answer that reached its limit says so", async () => {
  berth.answer(chatPath, () => ({ stream: chunks(["long"], "length") }));
  const { code, stderr } = await runCli(["chat", "qwen", "x"], { env: env() });
  expect(code).toBe(0);
  expect(stderr).toContain("cut off");
});

test("an unknown model is exit code 4, one that is not ready 1", async () => {
  const refuse = (status: number, message: string) =>
    berth.answer(chatPath, () => ({
      status,
      json: { error: { message, type: "x", param: null, code: "y" } },
    }));
  refuse(404, "No model of that name.");
  expect(await runCli(["chat", "nope", "x"], { env: env() })).toMatchObject({
    code: 4,
    stderr: "berth: No model of that name.\n",
  });
  refuse(400, "The prompt is too long.");
  expect((await runCli(["chat", "nope", "x"], { env: env() })).code).toBe(1);
});

test("--json prints the completion as one document", async () => {
  const completion = { id: "chatcmpl-1", choices: [{ message: { content: "Hi" } }] };
  berth.answer(chatPath, () => ({ json: completion }));
  const { code, stdout, stderr } = await runCli(["chat", "qwen", "x", "--json"], { env: env() });
  expect([code, JSON.parse(stdout), stderr]).toEqual([0, completion, ""]);
  expect(bodies()[0]).toMatchObject({ stream: false });
});

test("a conversation remembers, cancels with Ctrl-C, and ends with Ctrl-D", async () => {
  async function* endless() {
    yield chunk({ delta: { content: "never" } });
    await new Promise(() => undefined);
  }
  let turns = 0;
  berth.answer(chatPath, () => {
    turns += 1;
    return { stream: turns === 2 ? endless() : chunks([`answer ${turns}`]) };
  });
  const steps: [() => boolean, string][] = [];
  let out = "";
  let err = "";
  let done = 0;
  const prompts = () => err.split("> ").length - 1;
  steps.push([() => prompts() >= 1, "first\r"]);
  steps.push([() => out.includes("answer 1\n"), "second\r"]);
  steps.push([() => out.includes("never"), "\u0003"]);
  steps.push([() => err.includes("(cancelled)"), "third\r"]);
  steps.push([() => out.includes("answer 3\n"), "\u0004"]);
  const { code } = await runCli(["chat", "qwen"], {
    env: env(),
    isTty: true,
    onOutput: (stdout, stderr, keys) => {
      [out, err] = [stdout, stderr];
      const next = steps[done];
      if (next === undefined || !next[0]()) return;
      done += 1;
      keys.type(next[1]);
    },
  });
  expect(code).toBe(0);
  expect(bodies().map((body) => (body.messages as { content: string }[]).map((one) => one.content))).toEqual([
    ["first"],
    ["first", "answer 1", "second"],
    ["first", "answer 1", "third"],
  ]);
});
