/**
 * How the API says no. Handlers throw an `HttpError` or an `InputError`; this file turns either, and whatever the
 * framework throws, into a status and a body. Owns the shapes of refusals; must not repeat what was sent.
 */
import { deepError, HttpError, httpErrors, type ValidationIssue } from "../schema/errors.ts";
import { describeIssues } from "../schema/validation.ts";

/** An input that breaks the rules of its schema or of what fields mean together. */
export class InputError extends Error {
  readonly issues: readonly ValidationIssue[];

  constructor(issues: readonly ValidationIssue[]) {
    super("the input breaks a rule");
    this.name = "InputError";
    this.issues = issues;
  }
}

export type Refusal = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: string; readonly detail?: readonly ValidationIssue[] };
};

/**
 * The answer to what a handler threw. A 422 carries FastAPI's `detail` and, as `error`, one readable line: clients read
 * one or the other. Null means that it is a defect, which the caller logs and answers with `defect`.
 */
export function refusalOf(error: unknown): Refusal | null {
  if (error instanceof InputError) {
    const { issues } = error;
    return {
      status: httpErrors.invalid_input.status,
      headers: {},
      body: { error: describeIssues(issues), detail: issues },
    };
  }
  if (error instanceof HttpError) {
    const headers = error.retryAfterS === null ? {} : { "retry-after": String(error.retryAfterS) };
    return { status: error.status, headers, body: deepError(error.message) };
  }
  // The framework's own refusals: a body over the limit, a length that is not true, a path that cannot be decoded.
  const status = frameworkStatus(error);
  if (status === 413) return { status, headers: {}, body: deepError("The body is larger than the limit.") };
  if (status !== null)
    return { status, headers: {}, body: deepError("The request could not be understood.") };
  return null;
}

/** The answer when the store cannot do its work now; `why` is the end of a sentence. */
export function outage(why: string): HttpError {
  return new HttpError(
    "store_away",
    `Berth's database cannot be used now: ${why}. Nothing was changed; try again in a moment.`,
    { retryAfterS: 5 },
  );
}

/** The answer to a defect. Says nothing about it: the log does, under the request id. */
export function defect(requestId: string): Refusal {
  const error = `A defect in Berth kept it from answering. Its log has the details under request id ${requestId}.`;
  return { status: 500, headers: {}, body: deepError(error) };
}

function frameworkStatus(error: unknown): number | null {
  if (!(error instanceof Error) || !("statusCode" in error) || !("code" in error)) return null;
  const { statusCode, code } = error;
  const isClients = typeof statusCode === "number" && statusCode >= 400 && statusCode < 500;
  return isClients && typeof code === "string" ? statusCode : null;
}
