/**
 * A role for the supervisor's tests: reports ready with its pid, notes in a file how it ends, and misbehaves as its
 * arguments say. Usage: node stand-in-role.ts <name> <file> [behaviour].
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import {
  answerSupervisor,
  configurationExitCode,
  endAfterSuccessor,
  onSupervisorGone,
  onSupervisorMessage,
  tellSupervisor,
} from "./child.ts";

const [name = "", file = "", behaviour = ""] = process.argv.slice(2);

function end(how: string): never {
  appendFileSync(file, `${name} ${how}\n`);
  process.exit(0);
}

const hasRun = existsSync(file) && readFileSync(file, "utf8").includes(name);
if (behaviour === "misconfigured" || (behaviour === "once" && hasRun)) process.exit(configurationExitCode);
const joins = ["heir", "only child"].includes(behaviour);
if (behaviour === "renewable" || joins)
  endAfterSuccessor(async (hasSuccessor) => end(hasSuccessor ? "succeeded" : "stopped"));
else if (behaviour === "stubborn") process.on("SIGTERM", () => undefined);
else process.on("SIGTERM", () => end("stopped"));
process.on("SIGINT", () => end("interrupted"));
process.on("SIGUSR1", () => process.exit(configurationExitCode));
process.on("SIGUSR2", () => tellSupervisor({ type: "down" }));
onSupervisorGone(() => end("left alone"));
if (behaviour === "answers" || behaviour === "blocks once") answerSupervisor();
// Answers once, and then never comes back to its event loop.
if (behaviour === "blocks once" && !hasRun) {
  onSupervisorMessage(({ type }) => {
    if (type !== "ask") return;
    appendFileSync(file, `${name} blocks\n`);
    setTimeout(() => {
      for (;;);
    }, 20);
  });
}
setInterval(() => undefined, 1_000);
const ready = () => tellSupervisor({ type: "ready", details: { pid: String(process.pid) } });
if (!joins) ready();
else {
  let isServing = false;
  // Serves when it is a member, and says who is. An only child's successor ends instead.
  onSupervisorMessage((message) => {
    if (message.type !== "view") return;
    const { version, processes } = message.view;
    const own = processes.find(({ id }) => id === String(process.pid));
    if (own === undefined) return;
    appendFileSync(file, `${name} ${processes.map(({ seat }) => seat).join(" ")}\n`);
    if (behaviour === "only child" && processes.length > 1 && processes.at(-1) === own) process.exit(1);
    tellSupervisor({ type: "entered", version });
    if (!isServing) ready();
    isServing = true;
  });
  tellSupervisor({ type: "join", path: String(process.pid) });
}
