/**
 * One output item of a response while it grows: a message's text or refusal, a function call, or reasoning. Owns the
 * events of its beginning, growth and end, and what it is when it has ended. Pure.
 */

export type OutputItem = Readonly<Record<string, unknown>>;
/** Name and fields, without type and number. */
export type ItemEvent = readonly [name: string, fields: object];
export type ItemStatus = "in_progress" | "completed" | "incomplete";

type Given = {
  /** "text", "refusal", "reasoning", or "call" and its number. */
  readonly what: string;
  readonly id: string;
  readonly outputIndex: number;
  /** Null for what is no call. */
  readonly call: { readonly callId: string; readonly name: string } | null;
};

export class OpenItem {
  readonly what: string;
  readonly #given: Given;
  #text = "";
  #logprobs: unknown[] = [];

  constructor(given: Given) {
    this.what = given.what;
    this.#given = given;
  }

  begin(): ItemEvent[] {
    const added: ItemEvent = [
      "response.output_item.added",
      { output_index: this.#given.outputIndex, item: this.#item("in_progress", []) },
    ];
    return this.#given.call === null
      ? [added, ["response.content_part.added", { ...this.#place(), part: this.#part() }]]
      : [added];
  }

  add(text: string, logprobs: readonly unknown[]): ItemEvent[] {
    this.#text += text;
    this.#logprobs = [...this.#logprobs, ...logprobs];
    if (text === "" && logprobs.length === 0) return [];
    const more = this.what === "text" ? { logprobs } : {};
    return [[`response.${this.#kind()}.delta`, { ...this.#place(), delta: text, ...more }]];
  }

  end(status: ItemStatus): { readonly events: ItemEvent[]; readonly item: OutputItem } {
    const { call, outputIndex } = this.#given;
    const item = this.#item(status, call === null ? [this.#part()] : []);
    const events: ItemEvent[] = [[`response.${this.#kind()}.done`, { ...this.#place(), ...this.#said() }]];
    if (call === null) events.push(["response.content_part.done", { ...this.#place(), part: this.#part() }]);
    events.push(["response.output_item.done", { output_index: outputIndex, item }]);
    return { events, item };
  }

  #kind(): string {
    if (this.#given.call !== null) return "function_call_arguments";
    if (this.what === "reasoning") return "reasoning_text";
    return this.what === "refusal" ? "refusal" : "output_text";
  }

  #place(): object {
    const { id, outputIndex, call } = this.#given;
    return { item_id: id, output_index: outputIndex, ...(call === null ? { content_index: 0 } : {}) };
  }

  /** What the event of the end repeats. */
  #said(): object {
    const { call } = this.#given;
    if (call !== null) return { name: call.name, arguments: this.#text };
    if (this.what === "refusal") return { refusal: this.#text };
    return { text: this.#text, ...(this.what === "text" ? { logprobs: this.#logprobs } : {}) };
  }

  #part(): object {
    switch (this.what) {
      case "reasoning":
        return { type: "reasoning_text", text: this.#text };
      case "refusal":
        return { type: "refusal", refusal: this.#text };
      default:
        return { type: "output_text", text: this.#text, annotations: [], logprobs: this.#logprobs };
    }
  }

  #item(status: ItemStatus, content: readonly object[]): OutputItem {
    const { id, call } = this.#given;
    if (call !== null) {
      const { callId, name } = call;
      return { id, type: "function_call", status, call_id: callId, name, arguments: this.#text };
    }
    if (this.what === "reasoning") return { id, type: "reasoning", status, summary: [], content };
    return { id, type: "message", status, role: "assistant", content };
  }
}
