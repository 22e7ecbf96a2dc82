/**
 * Finds a Node that can run Berth and runs a script on it: this one when it is new enough, else the one that the
 * installation brings for Linux. Must itself run on any Node since 12: CommonJS, no newer syntax, no dependencies.
 */
// biome-ignore-all lint/style/useNodejsImportProtocol: a Node of version 12 does not know it, and must get as far as the message.
"use strict";

const { spawn } = require("child_process");
const { existsSync } = require("fs");
const { join, resolve } = require("path");
const { pathToFileURL } = require("url");

const neededMajor = 24;
const root = resolve(__dirname, "..");

/**
 * Runs a script with arguments, in this process or as a child that stands for it: same terminal, same signals, same
 * exit code.
 * @param {string} script absolute path
 * @param {string[]} args
 */
function runOnPinnedNode(script, args) {
  endWithNpm();
  if (Number.parseInt(process.versions.node, 10) >= neededMajor) {
    process.argv = [process.argv[0], script].concat(args);
    import(pathToFileURL(script).href).catch(fail);
    return;
  }
  const node = findBroughtNode();
  if (node === null) refuse("");
  else runAsChild(node, script, args);
}

function findBroughtNode() {
  const path = join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
  return existsSync(path) ? path : null;
}

function runAsChild(node, script, args) {
  const child = spawn(node, [script].concat(args), { stdio: "inherit" });
  const isAtTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  const forward = (signal) => {
    // A terminal sends Ctrl-C to the child by itself; a second one would look like impatience.
    if (signal !== "SIGINT" || !isAtTerminal) child.kill(signal);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"]) process.on(signal, forward);
  child.on("error", (error) => refuse(` The Node in ${node} does not run here (${error.code}).`));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Where the signal is ignored here.
    setTimeout(() => process.exit(1), 1000);
  });
}

/** What npm's shell runs when it runs nothing but one of these commands. */
const ownScript = /^(?:exec\s+)?(?:'?berth'?|node bin\/(?:berth|node)\.js)(?:\s[^&;|]*)?$/;

/**
 * `npm start` and `npx berth` put a shell in between, which a SIGTERM to npm ends without a word to us: so the end of
 * that shell counts as the signal. Not when the script goes on in the background on purpose.
 */
function endWithNpm() {
  if (!ownScript.test(process.env.npm_lifecycle_script || "")) return;
  const shell = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(timer);
    process.kill(process.pid, "SIGTERM");
  }, 500);
  timer.unref();
}

function refuse(more) {
  console.error(
    `Berth needs Node ${neededMajor} or newer; this is Node ${process.versions.node}.${more} Install it from https://nodejs.org, or on Linux (x64, arm64) run "npm ci", which brings it.`,
  );
  process.exit(1);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

module.exports = { root, runOnPinnedNode };
