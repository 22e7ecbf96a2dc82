/**
 * Errors of the embedded engine's HTTP face, in OpenAI's shape. Owns the codes it can answer with; their spelling and
 * status are those of Berth's own registry, so that a client sees one vocabulary. Must not carry prompts or secrets.
 */

const answers = {
  bad_request: { status: 400, type: "invalid_request_error" },
  context_length_exceeded: { status: 400, type: "invalid_request_error" },
  unsupported_parameter: { status: 400, type: "invalid_request_error" },
  unauthenticated: { status: 401, type: "authentication_error" },
  not_found: { status: 404, type: "not_found_error" },
  model_not_found: { status: 404, type: "not_found_error" },
  method_not_allowed: { status: 405, type: "invalid_request_error" },
  body_too_large: { status: 413, type: "invalid_request_error" },
  internal: { status: 500, type: "server_error" },
  model_not_ready: { status: 503, type: "server_error" },
  shutting_down: { status: 503, type: "server_error" },
} as const;

/** A request that is refused: thrown where the reason is known, shaped at the edge. `param` names the field at fault. */
export class RequestError extends Error {
  readonly code: keyof typeof answers;
  readonly param: string | null;

  constructor(code: keyof typeof answers, message: string, param: string | null = null) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.param = param;
  }

  get status(): number {
    return answers[this.code].status;
  }

  body(): { error: { message: string; type: string; param: string | null; code: string } } {
    return {
      error: {
        message: this.message,
        type: answers[this.code].type,
        param: this.param,
        code: this.code,
      },
    };
  }
}

/** A parameter this engine cannot honour; `what` completes "`param` ...". */
export function unsupported(param: string, what: string): RequestError {
  return new RequestError("unsupported_parameter", `\`${param}\` ${what}`, param);
}

/** A parameter whose value makes no sense; `what` completes "`param` ...". */
export function invalid(param: string, what: string): RequestError {
  return new RequestError("bad_request", `\`${param}\` ${what}`, param);
}
