/**
 * Errors that leave Berth over HTTP: one registry of codes and the shapes clients expect them in. The deploy API
 * answers `{"error": text}`, the OpenAI faces `{"error": {message, type, param, code}}`, validation a FastAPI-style
 * `detail` list. `docs/reference/errors.md` is kept equal to the registry by a test.
 */

export const httpErrors = {
  bad_request: {
    status: 400,
    type: "invalid_request_error",
    meaning: "The request cannot be understood or is not possible now.",
  },
  context_length_exceeded: {
    status: 400,
    type: "invalid_request_error",
    meaning: "The prompt is longer than the model's context.",
  },
  unsupported_parameter: {
    status: 400,
    type: "invalid_request_error",
    meaning: "The engine that serves this model cannot do what a parameter asks.",
  },
  wrong_state: {
    status: 400,
    type: "invalid_request_error",
    meaning: "The deployment is not in a state in which this can be done.",
  },
  unauthenticated: {
    status: 401,
    type: "authentication_error",
    meaning: "No token was sent, or it is not valid.",
  },
  spending_limit_reached: {
    status: 402,
    type: "insufficient_quota",
    meaning: "The scoped JWT has spent its limit.",
  },
  forbidden: {
    status: 403,
    type: "permission_error",
    meaning:
      "This token may not do this: it takes an administrator's, or an API token where a scoped JWT was sent.",
  },
  not_found: {
    status: 404,
    type: "not_found_error",
    meaning: "There is no such thing, or this account may not see it.",
  },
  model_not_found: {
    status: 404,
    type: "not_found_error",
    meaning: "No model of that name is callable with this token.",
  },
  method_not_allowed: {
    status: 405,
    type: "invalid_request_error",
    meaning: "The path exists, but not with this method.",
  },
  gone: {
    status: 410,
    type: "not_found_error",
    meaning: "The deployment was deleted; its statistics are gone.",
  },
  name_taken: { status: 409, type: "conflict_error", meaning: "The name is in use." },
  conflict: {
    status: 409,
    type: "conflict_error",
    meaning: "Something else has changed or is pending meanwhile.",
  },
  body_too_large: {
    status: 413,
    type: "invalid_request_error",
    meaning: "The body is larger than the limit.",
  },
  invalid_input: {
    status: 422,
    type: "invalid_request_error",
    meaning: "A field is missing, of the wrong type or out of range.",
  },
  queue_full: {
    status: 429,
    type: "rate_limit_error",
    meaning: "Too many requests wait for this model already.",
  },
  rate_limited: {
    status: 429,
    type: "rate_limit_error",
    meaning: "The account has used up what it may use of this model; the message names the limit.",
  },
  internal: {
    status: 500,
    type: "server_error",
    meaning: "A defect in Berth; the log has the details under the request id.",
  },
  not_implemented: {
    status: 501,
    type: "server_error",
    meaning: "DeepInfra has this, Berth does not, on purpose; the text says why.",
  },
  engine_failed: { status: 502, type: "server_error", meaning: "The engine broke off or answered nonsense." },
  model_not_ready: {
    status: 503,
    type: "server_error",
    meaning: "The model is stopped, failed, or did not start within the waiting limit.",
  },
  control_away: {
    status: 503,
    type: "server_error",
    meaning: "The control process is restarting; inference goes on.",
  },
  store_away: {
    status: 503,
    type: "server_error",
    meaning: "The database cannot be used now: its server is away, or its disk is full. Inference goes on.",
  },
  overloaded: {
    status: 503,
    type: "server_error",
    meaning:
      "A slot would become free too late for this request, or as many clients are connected as may be.",
  },
  shutting_down: { status: 503, type: "server_error", meaning: "Berth is stopping." },
  timeout: { status: 504, type: "server_error", meaning: "The engine did not answer within the limit." },
} as const;

export type HttpErrorCode = keyof typeof httpErrors;

/** An error with a code of the registry and a sentence for the person; thrown inside handlers, shaped at the edge. */
export class HttpError extends Error {
  readonly code: HttpErrorCode;
  readonly status: number;
  /** Seconds for a Retry-After header, null for none. */
  readonly retryAfterS: number | null;
  /** The request parameter that is at fault, null when none is. */
  readonly param: string | null;
  /** What is wrong field by field, where the caller's input is; shapes that have room for it show it. */
  readonly issues: readonly ValidationIssue[];

  constructor(
    code: HttpErrorCode,
    message: string,
    more: { retryAfterS?: number; param?: string; issues?: readonly ValidationIssue[] } = {},
  ) {
    super(message);
    this.name = "HttpError";
    this.code = code;
    this.status = httpErrors[code].status;
    this.retryAfterS = more.retryAfterS ?? null;
    this.param = more.param ?? null;
    this.issues = more.issues ?? [];
  }
}

/** The deploy API's shape. */
export function deepError(message: string): { error: string } {
  return { error: message };
}

/** The OpenAI shape. */
export function openAiError(error: HttpError): {
  error: { message: string; type: string; param: string | null; code: string };
} {
  return {
    error: {
      message: error.message,
      type: httpErrors[error.code].type,
      param: error.param,
      code: error.code,
    },
  };
}

/** One entry of a FastAPI validation answer. */
export type ValidationIssue = {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  /** A pydantic v2 error type, for example "missing", "string_type", "int_parsing", "enum". */
  readonly type: string;
};
