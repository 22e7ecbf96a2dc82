/**
 * Requests as a program sends them that keeps its connections: each knows which gateways there were when its connection was
 * opened, since it is those, and not the ones of now, that it may end with.
 */
import { Agent, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";

export type Ended =
  | { readonly kind: "answered"; readonly status: number; readonly text: string }
  /** `gateways`: process ids at the time the connection was opened; empty where it never stood. */
  | { readonly kind: "cut"; readonly code: string; readonly gateways: readonly number[] }
  | { readonly kind: "no answer" };

export class KeepingClient {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #openedWith = new WeakMap<Socket, readonly number[]>();
  readonly #gateways: () => readonly number[];

  /** @param gateways the process ids of those that live */
  constructor(gateways: () => readonly number[]) {
    this.#gateways = gateways;
  }

  async post(
    url: string,
    headers: Readonly<Record<string, string>>,
    body: unknown,
    limitMs: number,
  ): Promise<Ended> {
    const signal = AbortSignal.timeout(limitMs);
    const asked = request(url, { method: "POST", agent: this.#agent, headers, signal });
    let gateways: readonly number[] = [];
    asked.on("socket", (socket) => {
      gateways = this.#openedWith.get(socket) ?? this.#gateways();
      this.#openedWith.set(socket, gateways);
    });
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        asked.once("response", resolve).once("error", reject).end(JSON.stringify(body));
      });
      return { kind: "answered", status: answer.statusCode ?? 0, text: await text(answer) };
    } catch (error) {
      if (signal.aborted) return { kind: "no answer" };
      return { kind: "cut", code: (error as NodeJS.ErrnoException).code ?? String(error), gateways };
    }
  }

  end(): void {
    this.#agent.destroy();
  }
}
