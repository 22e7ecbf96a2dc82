#!/usr/bin/env node
/** The `berth` command: hands over to src/main.ts on a Node that can run it. Does nothing else. */
// biome-ignore-all lint/style/useNodejsImportProtocol: a Node of version 12 does not know it, and must get as far as the message.
"use strict";

const { join } = require("path");
const { root, runOnPinnedNode } = require("./pinned-node.js");

runOnPinnedNode(join(root, "src", "main.ts"), process.argv.slice(2));
