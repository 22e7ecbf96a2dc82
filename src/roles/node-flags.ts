/**
 * With which flags of Node each process of Berth is started. A large space for new objects (in MB) lets a process grow to
 * several times what it has in use; a small one takes what is of use for a moment for something old, which is dear.
 */

export const controlFlags: readonly string[] = ["--max-semi-space-size=8"];

/**
 * Some 15 KB are made for a request: in twice as much space a busy gateway spends a tenth less on each. What it has in use stays
 * at some 25 MB however many it has served, but V8 would let garbage grow to four times that before it looks, and never gives
 * back what it once had: at half of that it looks more often, for a few microseconds a request.
 */
export const gatewayFlags: readonly string[] = ["--max-semi-space-size=16", "--heap-growing-percent=100"];
