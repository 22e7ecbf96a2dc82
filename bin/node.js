/** `node bin/node.js <script> [arguments]`: runs a script on the Node that Berth runs on, for npm's scripts. */
// biome-ignore-all lint/style/useNodejsImportProtocol: a Node of version 12 does not know it, and must get as far as the message.
"use strict";

const { resolve } = require("path");
const { runOnPinnedNode } = require("./pinned-node.js");

if (process.argv.length < 3) {
  console.error("Usage: node bin/node.js <script> [arguments]");
  process.exit(2);
}
runOnPinnedNode(resolve(process.argv[2]), process.argv.slice(3));
