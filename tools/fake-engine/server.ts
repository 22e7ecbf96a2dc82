/**
 * The fake engine as a program: `node tools/fake-engine/server.ts --socket PATH --secret S [--slots N ...]`. Prints one
 * line when it listens; SIGTERM ends it. See engine.ts for what it does.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createFakeEngine, type Fault, fakeEngineDefaults } from "./engine.ts";

const faultKinds = [
  "die-after",
  "hang-after",
  "end-after",
  "hang",
  "hang-up",
  "until-close",
  "drip",
  "two-framings",
  "bad-chunk",
  "busy",
  "empty",
  "page",
] as const;

const usage = `fake-engine (--socket PATH | --port N) [--secret S | --secret-file PATH] [--slots N] [--tokens N] [--delay-ms N] [--load-ms N]
  [--context N] [--fault ${faultKinds.join("|")}[:TOKENS]]`;

const { values } = parseArgs({
  options: {
    socket: { type: "string" },
    port: { type: "string" },
    secret: { type: "string", default: fakeEngineDefaults.secret },
    "secret-file": { type: "string" },
    slots: { type: "string", default: String(fakeEngineDefaults.slots) },
    tokens: { type: "string", default: String(fakeEngineDefaults.tokens) },
    "delay-ms": { type: "string", default: "0" },
    "load-ms": { type: "string", default: "0" },
    context: { type: "string", default: String(fakeEngineDefaults.contextTokens) },
    fault: { type: "string" },
  },
});

if ((values.socket === undefined) === (values.port === undefined)) {
  console.error(usage);
  process.exit(2);
}

const engine = createFakeEngine({
  secret: values["secret-file"] === undefined ? values.secret : readFileSync(values["secret-file"], "utf8"),
  slots: wholeNumber("slots", values.slots),
  tokens: wholeNumber("tokens", values.tokens),
  delayMs: wholeNumber("delay-ms", values["delay-ms"]),
  loadMs: wholeNumber("load-ms", values["load-ms"]),
  contextTokens: wholeNumber("context", values.context),
});
engine.fault = values.fault === undefined ? null : readFault(values.fault);
const port = await engine.listen(
  values.socket === undefined ? { port: wholeNumber("port", values.port ?? "") } : { socket: values.socket },
);
console.log(`fake-engine: listening on ${values.socket ?? port}`);
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    engine.kill().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) {
    console.error(`fake-engine: --${name} is ${text}, but must be a whole number.\n${usage}`);
    process.exit(2);
  }
  return Number(text);
}

function readFault(text: string): Fault {
  const [name = "", tokens = "0"] = text.split(":");
  const kind = faultKinds.find((known) => known === name);
  if (kind === undefined) {
    console.error(`fake-engine: --fault ${name} is not known.\n${usage}`);
    process.exit(2);
  }
  return kind === "die-after" || kind === "hang-after" || kind === "end-after"
    ? { kind, tokens: wholeNumber("fault", tokens) }
    : { kind };
}
