/**
 * The mirror over HTTP, below `/hub`: finds out who asks and hands the rest to the mirror. Owns what HTTP needs: answers
 * to HEAD without a body, bodies streamed with backpressure, and the end of the work when the asker leaves. Must not
 * know the protocol of what is served.
 */
import type { IncomingHttpHeaders } from "node:http";
import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Mirror } from "../ports/mirror.ts";
import { HttpError } from "../schema/errors.ts";
import type { Caller } from "./auth.ts";

export const mirrorPath = "/hub";

/** @param authenticate throws HttpError when nobody known asks */
export function mountMirror(
  app: FastifyInstance,
  mirror: Mirror,
  authenticate: (headers: IncomingHttpHeaders) => Promise<Caller>,
): void {
  app.route({
    method: ["GET", "HEAD"],
    url: `${mirrorPath}/*`,
    exposeHeadRoute: false,
    handler: async (request, reply) => {
      const caller = await identify(authenticate, request, reply);
      if (caller === null) return reply;
      request.caller = caller;
      const gone = new AbortController();
      reply.raw.on("close", () => gone.abort(new Error("the asker has left")));
      const answer = await mirror.answer(
        {
          method: request.method === "HEAD" ? "HEAD" : "GET",
          target: (request.raw.url ?? "").slice(mirrorPath.length),
          range: request.headers.range ?? null,
          account: caller.account,
          baseUrl: baseUrlOf(request),
        },
        gone.signal,
      );
      const { body } = answer;
      reply.code(answer.status).headers(answer.headers);
      if (body === null || request.method === "HEAD") return reply.send();
      return reply.send(typeof body === "string" ? body : Readable.from(body, { objectMode: false }));
    },
  });
}

/** Null when the refusal was sent, with the headers by which these clients tell their own failures apart. */
async function identify(
  authenticate: (headers: IncomingHttpHeaders) => Promise<Caller>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Caller | null> {
  try {
    return await authenticate(withPlainToken(request.headers));
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const text = `${error.message} The token of this Berth is expected, as HF_TOKEN for instance.`;
    await reply
      .code(error.status)
      .header("x-error-message", text.replace(/[^\x20-\x7e]+/g, " "))
      .send({ error: text });
    return null;
  }
}

/**
 * llama.cpp sends only what looks like Hugging Face's own tokens: `hf_` and at least 34 letters and digits. So a token of
 * Berth may also come as `hf_` and the hexadecimal digits of its bytes, which is what `berth hub env` prints.
 */
function withPlainToken(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const digits = /^bearer +hf_((?:[0-9a-f]{2}){8,256}) *$/i.exec(headers.authorization ?? "")?.[1];
  if (digits === undefined) return headers;
  const token = Buffer.from(digits, "hex").toString("latin1");
  return { ...headers, authorization: `Bearer ${token}` };
}

/** As the asker knows it: the gateway says what it was asked by. */
function baseUrlOf({ headers }: FastifyRequest): string {
  const said = (name: string) =>
    String(headers[name] ?? "")
      .split(",")[0]
      ?.trim() ?? "";
  const proto = said("x-forwarded-proto") === "https" ? "https" : "http";
  return `${proto}://${said("x-forwarded-host") || said("host")}${mirrorPath}`;
}
