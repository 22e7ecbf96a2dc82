/**
 * A role for the supervisor's tests: reports ready with its pid, notes in a file how it ends, and misbehaves as its
 * arguments say. Usage: node stand-in-role.ts <name> <file> [behaviour].
 */
import { appendFileSync } from "node:fs";
import { configurationExitCode, endAfterSuccessor, onSupervisorGone, tellSupervisor } from "./child.ts";

const [name = "", file = "", behaviour = ""] = process.argv.slice(2);

function end(how: string): never {
  appendFileSync(file, `${name} ${how}\n`);
  process.exit(0);
}

if (behaviour === "misconfigured") process.exit(configurationExitCode);
if (behaviour === "renewable")
  endAfterSuccessor(async (hasSuccessor) => end(hasSuccessor ? "succeeded" : "stopped"));
else if (behaviour === "stubborn") process.on("SIGTERM", () => undefined);
else process.on("SIGTERM", () => end("stopped"));
process.on("SIGINT", () => end("interrupted"));
process.on("SIGUSR1", () => process.exit(configurationExitCode));
process.on("SIGUSR2", () => tellSupervisor({ type: "down" }));
onSupervisorGone(() => end("left alone"));
setInterval(() => undefined, 1_000);
tellSupervisor({ type: "ready", details: { pid: String(process.pid) } });
