/**
 * A program that behaves like an engine towards the driver, for the driver's tests: listens on a Unix socket, loads for
 * a while, answers health checks with the instance's secret. Its arguments make it misbehave. Serves no model.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

type StandInLaunch = { socketPath: string; secret: string; behaviour: string[] };

const [launchPath = ""] = process.argv.slice(2);
const launch = JSON.parse(readFileSync(launchPath, "utf8")) as StandInLaunch;
const has = (name: string) => launch.behaviour.includes(name);

process.stdout.write("loading the model\n");
if (has("crash")) {
  process.stderr.write(`stand-in: error: the weights are damaged; secret ${launch.secret}\n`);
  process.exit(7);
}
if (has("stubborn")) process.on("SIGTERM", () => process.stdout.write("SIGTERM is ignored\n"));
else process.on("SIGTERM", () => process.exit(0));
if (has("child")) {
  // Outlives its parent unless somebody ends it; in a session of its own, as some engines' workers are.
  const child = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"], {
    detached: true,
    stdio: "ignore",
  });
  process.stdout.write(`child ${child.pid}\n`);
}
if (has("chatty")) setInterval(() => process.stdout.write(`${"words ".repeat(100)}\n`), 1);

let isReady = !has("slow");
process.on("SIGUSR2", () => {
  isReady = true;
});
const server = createServer((request, response) => {
  if (request.headers.authorization !== `Bearer ${launch.secret}`) response.statusCode = 401;
  else if (!isReady) response.statusCode = 503;
  response.end();
});
server.listen(launch.socketPath, () => process.stdout.write("listening\n"));
