/**
 * A stand-in for the command `vllm serve`, started by Berth as the real one is: prints what real ones print and serves fixed
 * tokens. What it does is said by the name it is to serve: the word behind the last slash is one of the recordings, which it
 * prints before it ends, or one of the ways of misbehaving below; any other name is served well.
 */
import { readFileSync } from "node:fs";
import { createFakeEngine, type Fault } from "../fake-engine/engine.ts";
import { illegalAccess, linesOf, loadingLines } from "./recordings.ts";

const args = process.argv.slice(2);
/** The values behind a flag, up to the next one. */
function valuesOf(flag: string): string[] {
  const from = args.indexOf(flag) + 1;
  const to = args.findIndex((arg, at) => at >= from && arg.startsWith("--"));
  return from === 0 ? [] : args.slice(from, to === -1 ? undefined : to);
}

const names = valuesOf("--served-model-name");
const word = names[0]?.split("/").at(-1) ?? "";
const print = (lines: readonly string[]) => process.stderr.write(`${lines.join("\n")}\n`);

const faults: Readonly<Record<string, Fault>> = {
  /** Well by its own word, and nothing comes of it. */
  mute: { kind: "hang" },
  /** The same, once it has given Berth its first token. */
  deaf: { kind: "hang", after: 1 },
  empty: { kind: "empty" },
  page: { kind: "page" },
  crash: {
    kind: "exit-after",
    tokens: 1000,
    exit: () => {
      print(illegalAccess.lines);
      process.exit(1);
    },
  },
};

const lastWords = linesOf(word);
if (lastWords !== null) {
  print(lastWords);
  process.exit(1);
}

print(loadingLines);
// Loads for ever, and says nothing of it.
if (word === "stuck") setInterval(() => undefined, 60_000);
else await serve();

async function serve(): Promise<void> {
  const [config = ""] = valuesOf("--config");
  const secret = /api-key: "(.*)"/.exec(readFileSync(config, "utf8"))?.[1] ?? "";
  const [socket = ""] = valuesOf("--uds");
  const engine = createFakeEngine({ secret, tokens: word === "crash" ? 5000 : 8, servedNames: names });
  engine.fault = faults[word] ?? null;
  await engine.listen({ socket });
  print(["(APIServer pid=31) INFO:     Application startup complete."]);
  process.once("SIGTERM", () => process.exit(0));
}
