/**
 * A role for the supervisor's tests: reports ready with its pid, notes in a file how it ends, and misbehaves as its
 * arguments say. Usage: node stand-in-role.ts <name> <file> [behaviour].
 */
import { appendFileSync, readFileSync } from "node:fs";
import { configurationExitCode, onSupervisorGone, onSupervisorMessage, tellSupervisor } from "./child.ts";

const [name = "", file = "", behaviour = ""] = process.argv.slice(2);

function end(how: string): never {
  appendFileSync(file, `${name} ${how}\n`);
  process.exit(0);
}

if (behaviour === "misconfigured") process.exit(configurationExitCode);
if (behaviour === "stubborn") process.on("SIGTERM", () => undefined);
else process.on("SIGTERM", () => end("stopped"));
process.on("SIGINT", () => end("interrupted"));
process.on("SIGUSR1", () => process.exit(configurationExitCode));
process.on("SIGUSR2", () => tellSupervisor({ type: "down" }));
onSupervisorGone(() => end("left alone"));
setInterval(() => undefined, 1_000);
const details = { pid: String(process.pid) };
if (behaviour !== "heir" && behaviour !== "only child") tellSupervisor({ type: "ready", details });
else {
  // Serves when it has nobody to take over from, or when that one has heard of it; an only child's successor never does.
  if (behaviour === "only child" && readFileSync(file, "utf8").includes("began")) process.exit(1);
  const path = `${name} ${process.pid}`;
  onSupervisorMessage((message) => {
    appendFileSync(file, message.type === "alone" ? `${name} began alone\n` : `${name} handed over\n`);
    if (message.type === "alone") tellSupervisor({ type: "ready", details });
    else process.kill(Number(message.path.split(" ")[1]), "SIGUSR2");
  });
  process.removeAllListeners("SIGUSR2").on("SIGUSR2", () => tellSupervisor({ type: "ready", details }));
  tellSupervisor({ type: "takeover", path });
}
