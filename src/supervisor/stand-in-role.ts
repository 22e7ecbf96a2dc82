/**
 * A role for the supervisor's tests: reports ready with its pid, notes in a file how it ends, and misbehaves as its
 * arguments say. Usage: node stand-in-role.ts <name> <file> [behaviour].
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import {
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
if (behaviour === "renewable" || behaviour === "heir" || behaviour === "only child")
  endAfterSuccessor(async (hasSuccessor) => end(hasSuccessor ? "succeeded" : "stopped"));
else if (behaviour === "stubborn") process.on("SIGTERM", () => undefined);
else process.on("SIGTERM", () => end("stopped"));
process.on("SIGINT", () => end("interrupted"));
process.on("SIGUSR1", () => process.exit(configurationExitCode));
process.on("SIGUSR2", () => tellSupervisor({ type: "down" }));
onSupervisorGone(() => end("left alone"));
setInterval(() => undefined, 1_000);
const ready = () => tellSupervisor({ type: "ready", details: { pid: String(process.pid) } });
if (behaviour !== "heir" && behaviour !== "only child") ready();
else {
  // Serves when nobody is before it, or when that one has heard of it. An only child's successor ends instead.
  process.removeAllListeners("SIGUSR2").on("SIGUSR2", () => {
    if (behaviour === "only child") process.exit(1);
    ready();
  });
  onSupervisorMessage((message) => {
    if (message.type === "end") return;
    appendFileSync(file, `${name} ${message.type}\n`);
    if (message.type === "alone") ready();
    else process.kill(Number(message.path), "SIGUSR2");
  });
  tellSupervisor({ type: "takeover", path: String(process.pid) });
}
