/**
 * One operation of the API as a value: method, path, who may call it, the schemas of what comes in and goes out, and
 * what it does. The route table is a list of them, so that tests and documents are made from it and no route can be
 * forgotten. Checks inputs before the handler sees them and answers before they leave: what an answer's schema does not
 * name never goes out.
 */
import type { z } from "zod";
import { checkInput, type InputPart } from "../schema/validation.ts";
import type { Caller } from "./auth.ts";
import { InputError } from "./refusal.ts";
import { WrittenList } from "./written-list.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** public: also without a token; administrator: others get 403. */
export type Access = "public" | "token" | "administrator";

export type RawInput = {
  /** Null where nobody in particular calls a public operation. */
  readonly caller: Caller | null;
  readonly body: unknown;
  readonly query: unknown;
  readonly path: unknown;
};

export type Operation = {
  readonly method: Method;
  /** With parameters as `:name`. */
  readonly path: string;
  /** Name in the OpenAPI document: DeepInfra's where it has one. */
  readonly id: string;
  /** One line for the reference page. */
  readonly summary: string;
  /** What comes in and goes out, for the OpenAPI document. */
  readonly schemas: {
    readonly body: z.ZodType | null;
    readonly query: z.ZodType | null;
    readonly params: z.ZodType | null;
    readonly answer: z.ZodType;
  };
  readonly access: Access;
  /** Leaves an audit entry: every method but GET, unless it says otherwise. */
  readonly isChange: boolean;
  /** Whether a body is read at all. */
  readonly readsBody: boolean;
  /** Status of a success. */
  readonly status: number;
  /** Runs once a success has been sent. */
  readonly afterwards: () => void;
  /** Checks the input, does the work and returns the checked answer, or a list of such as text; throws what `refusal` knows. */
  run(input: RawInput): Promise<unknown>;
};

type Spec<
  Answer extends z.ZodType,
  Body extends z.ZodType,
  Query extends z.ZodType,
  Path extends z.ZodType,
  Who,
> = {
  readonly method: Method;
  readonly path: string;
  readonly id?: string;
  readonly summary?: string;
  /** Leaves an audit entry; true for every method but GET unless said otherwise. */
  readonly isChange?: boolean;
  readonly status?: number;
  readonly body?: Body;
  readonly query?: Query;
  readonly params?: Path;
  readonly answer: Answer;
  readonly afterwards?: () => void;
  handle(input: {
    readonly caller: Who;
    readonly body: z.output<Body>;
    readonly query: z.output<Query>;
    readonly path: z.output<Path>;
  }): Promise<z.input<Answer> | WrittenList>;
};

/** An operation for those who have a token. */
export function operation<
  Answer extends z.ZodType,
  Body extends z.ZodType = z.ZodUndefined,
  Query extends z.ZodType = z.ZodUndefined,
  Path extends z.ZodType = z.ZodUndefined,
>(
  spec: Spec<Answer, Body, Query, Path, Caller> & { readonly access?: Exclude<Access, "public"> },
): Operation {
  return build({
    ...spec,
    access: spec.access ?? "token",
    handle: async ({ caller, ...rest }) => {
      if (caller === null) throw new Error("a request passed without a caller");
      return await spec.handle({ caller, ...rest });
    },
  });
}

/** An operation for everyone; its caller is known where a valid token was sent. */
export function publicOperation<
  Answer extends z.ZodType,
  Body extends z.ZodType = z.ZodUndefined,
  Query extends z.ZodType = z.ZodUndefined,
  Path extends z.ZodType = z.ZodUndefined,
>(spec: Spec<Answer, Body, Query, Path, Caller | null>): Operation {
  return build({ ...spec, access: "public" });
}

function build<
  Answer extends z.ZodType,
  Body extends z.ZodType,
  Query extends z.ZodType,
  Path extends z.ZodType,
>(spec: Spec<Answer, Body, Query, Path, Caller | null> & { readonly access: Access }): Operation {
  const { body, query, params, answer } = spec;
  return {
    method: spec.method,
    path: spec.path,
    id: spec.id ?? "",
    summary: spec.summary ?? "",
    schemas: { body: body ?? null, query: query ?? null, params: params ?? null, answer },
    access: spec.access,
    isChange: spec.isChange ?? spec.method !== "GET",
    readsBody: body !== undefined,
    status: spec.status ?? 200,
    afterwards: spec.afterwards ?? (() => undefined),
    async run(input) {
      const answered = await spec.handle({
        caller: input.caller,
        path: check(params, input.path, "path"),
        query: check(query, lastOfEach(input.query), "query"),
        body: check(body, input.body, "body"),
      });
      return answered instanceof WrittenList ? answered : answer.parse(answered);
    },
  };
}

/** A part without a schema is not looked at. */
function check<Schema extends z.ZodType>(
  schema: Schema | undefined,
  input: unknown,
  part: InputPart,
): z.output<Schema> {
  if (schema === undefined) return undefined as z.output<Schema>;
  const outcome = checkInput<z.output<Schema>>(schema as z.ZodType<z.output<Schema>>, input, part);
  if (!outcome.ok) throw new InputError(outcome.issues);
  return outcome.value;
}

/** Of a query parameter that is given several times, the last one counts, as with FastAPI. */
function lastOfEach(query: unknown): unknown {
  if (typeof query !== "object" || query === null) return {};
  return Object.fromEntries(
    Object.entries(query).map(([name, value]) => [name, Array.isArray(value) ? value.at(-1) : value]),
  );
}
