/** Writes events of an SSE stream as clients read them: `data: ` with the space, one line of JSON. Pure. */

export function sseData(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** @param name without line breaks */
export function sseEvent(name: string, value: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}
