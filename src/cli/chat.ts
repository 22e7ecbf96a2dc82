/**
 * `berth chat`: one question or a conversation with a model, answers as they come. Answers go to standard output,
 * prompts and notes to standard error. Must not keep what was said anywhere.
 */
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { z } from "zod";
import { readChatStream } from "./chat-stream.ts";
import type { Act, Cli } from "./context.ts";
import { readText } from "./credentials.ts";
import { CliError, exitCodes } from "./exit.ts";
import { bareName, findById } from "./find.ts";
import { decimalNumber, wholeNumber } from "./options.ts";
import { createProgressDisplay } from "./progress.ts";
import { plain, plainBlock } from "./terminal.ts";

type ChatOptions = { readonly system?: string; readonly maxTokens?: number; readonly temperature?: number };
type Message = { readonly role: "system" | "user" | "assistant"; readonly content: string };

const chatPath = "/v1/openai/chat/completions";
const modelList = z.object({ data: z.array(z.object({ id: z.string() })) });

/** Largest prompt read from standard input: the largest body an installation takes by default. */
const maxPromptBytes = 32 * 1024 * 1024;
/** Turns a conversation keeps, so that it does not grow without end. */
const maxMessages = 400;

const examples = `
Examples:
  berth chat starter "What is 3 + 4?"
  berth chat starter                                      a conversation; Ctrl-C cancels an answer, Ctrl-D ends
  berth chat me/qwen --system "Answer briefly." --temperature 0 "Why is the sky blue?"
  git diff | berth chat me/qwen                           the prompt from standard input
  git diff | berth chat me/qwen "Summarise this:" -       both, the argument first`;

export function addChat(program: Command, act: Act): void {
  program
    .command("chat")
    .summary("talk to a model")
    .description("Asks a model, or talks with it when no prompt is given; answers come as they are made.")
    .argument("<model>", "full name, bare name or deploy id")
    .argument("[prompt...]", "what to ask; - stands for standard input")
    .option("--system <text>", "system message")
    .option("--max-tokens <n>", "longest answer", wholeNumber(1, 10_000_000))
    .option("--temperature <t>", "0 to 2; 0 always chooses the likeliest token", decimalNumber(0, 2))
    .addHelpText("after", examples)
    .action(act(runChat));
}

async function runChat(
  cli: Cli,
  name: string,
  words: readonly string[],
  options: ChatOptions,
): Promise<void> {
  const system: Message[] = options.system === undefined ? [] : [{ role: "system", content: options.system }];
  const isConversation = words.length === 0 && cli.deps.stdin.isTTY === true && !cli.json;
  const prompt = isConversation ? null : await readPrompt(cli, words);
  const model = await chooseModel(cli, name);
  if (prompt === null) {
    await converse(cli, model, system, options);
    return;
  }
  const messages: Message[] = [...system, { role: "user", content: prompt }];
  if (cli.json) {
    const body = { ...buildRequest(model, messages, options), stream: false };
    const call = { body, signal: cli.signal, isPatient: true };
    cli.printJson(await cli.client.call("POST", chatPath, z.looseObject({}), call));
    return;
  }
  await answer(cli, model, messages, options, cli.signal);
}

async function readPrompt(cli: Cli, words: readonly string[]): Promise<string> {
  const needsInput = words.length === 0 || words.includes("-");
  const input = needsInput ? await readText(cli.deps.stdin, maxPromptBytes, cli.signal) : "";
  const typed = words.filter((word) => word !== "-").join(" ");
  const prompt = [typed, input.trimEnd()].filter((part) => part !== "").join("\n\n");
  if (prompt !== "") return prompt;
  throw new CliError(exitCodes.usage, "The prompt is empty: give one as an argument or on standard input.");
}

/** A name as the server takes it. One it does not list is passed on, so that the server says what is wrong. */
async function chooseModel(cli: Cli, name: string): Promise<string> {
  const { data } = await cli.client.call("GET", "/v1/openai/models", modelList, { signal: cli.signal });
  const ids = data.map((model) => model.id);
  if (ids.includes(name)) return name;
  const own = ids.filter((id) => bareName(id) === name);
  const [first] = own.length > 1 ? own.filter((id) => !id.startsWith("berth/")) : own;
  if (first !== undefined) return first;
  const byId = await findById(cli, name);
  return byId === null ? name : `deploy_id:${byId.deploy_id}`;
}

function buildRequest(
  model: string,
  messages: readonly Message[],
  options: ChatOptions,
): Record<string, unknown> {
  return {
    model,
    messages,
    stream: true,
    ...(options.maxTokens === undefined ? {} : { max_tokens: options.maxTokens }),
    ...(options.temperature === undefined ? {} : { temperature: options.temperature }),
  };
}

/** Streams one answer to standard output and returns it. */
async function answer(
  cli: Cli,
  model: string,
  messages: readonly Message[],
  options: ChatOptions,
  signal: AbortSignal,
): Promise<string> {
  const firstPiece = new AbortController();
  const waiting = showWaiting(cli, model, AbortSignal.any([signal, firstPiece.signal]));
  let text = "";
  let finishReason: string | null = null;
  try {
    const body = buildRequest(model, messages, options);
    const answered = await cli.client.stream("POST", chatPath, { body, signal });
    for await (const piece of readChatStream(answered)) {
      if (!firstPiece.signal.aborted && piece.text !== "") {
        firstPiece.abort();
        await waiting;
      }
      cli.print(plainBlock(piece.text));
      text += piece.text;
      finishReason = piece.finishReason ?? finishReason;
    }
  } finally {
    firstPiece.abort();
    await waiting;
    if (text !== "" && !text.endsWith("\n")) cli.print("\n");
  }
  if (finishReason === "length") cli.note("(The answer was cut off: it reached the longest length allowed.)");
  return text;
}

/** On a terminal, says what is being waited for: a model at zero takes a while to wake. Ends with the signal. */
async function showWaiting(cli: Cli, model: string, signal: AbortSignal): Promise<void> {
  const { clock, stderr } = cli.deps;
  if (stderr.isTTY !== true) return;
  const display = createProgressDisplay(stderr);
  const startedAtMs = clock.now();
  try {
    for (;;) {
      await clock.sleep(1000, signal);
      const elapsedS = (clock.now() - startedAtMs) / 1000;
      display.show({ status: "waiting", download: null, elapsedS, detail: `for ${model} to answer` });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    display.clear();
  }
}

async function converse(
  cli: Cli,
  model: string,
  system: readonly Message[],
  options: ChatOptions,
): Promise<void> {
  const { stdin, stderr } = cli.deps;
  const lines = createInterface({ input: stdin, output: stderr, prompt: "> ", historySize: 200 });
  let current: AbortController | null = null;
  // A terminal that is read line by line reports Ctrl-C here and not as a signal of the process.
  lines.on("SIGINT", () => (current === null ? lines.close() : current.abort()));
  cli.signal.addEventListener("abort", () => lines.close(), { once: true });
  let said: Message[] = [];
  cli.note(`Talking to ${plain(model)}. Ctrl-C cancels an answer, Ctrl-D ends.`);
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() !== "") {
      current = new AbortController();
      const signal = AbortSignal.any([cli.signal, current.signal]);
      said = await takeTurn(cli, model, { system, said, line, signal }, options);
      current = null;
    }
    lines.prompt();
  }
  stderr.write("\n");
  cli.signal.throwIfAborted();
}

/** One question and its answer. A turn that fails or is cancelled is told and forgotten; the conversation goes on. */
async function takeTurn(
  cli: Cli,
  model: string,
  turn: {
    readonly system: readonly Message[];
    readonly said: Message[];
    readonly line: string;
    readonly signal: AbortSignal;
  },
  options: ChatOptions,
): Promise<Message[]> {
  const asked: Message[] = [...turn.said, { role: "user", content: turn.line }];
  try {
    const text = await answer(cli, model, [...turn.system, ...asked], options, turn.signal);
    return [...asked, { role: "assistant" as const, content: text }].slice(-maxMessages);
  } catch (error) {
    if (cli.signal.aborted) throw error;
    if (turn.signal.aborted) cli.note("(cancelled)");
    else if (error instanceof CliError) cli.note(error.message);
    else throw error;
    return turn.said;
  }
}
