/**
 * With which flags of Node each process of Berth is started. A large space for new objects (in MB) lets a process grow to
 * several times what it has in use; a small one takes what is of use for a moment for something old, which is dear.
 */

export const controlFlags: readonly string[] = ["--max-semi-space-size=8"];

/** Some 15 KB are made for a request: in twice as much space a busy gateway spends a tenth less on each. */
export const gatewayFlags: readonly string[] = ["--max-semi-space-size=16"];
