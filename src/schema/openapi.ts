/**
 * The OpenAPI 3.1 document, made from the operations and the zod shapes they check with, so that it cannot say anything
 * else than what happens. Pure. Owns the form of the document; names of shapes are component-names's.
 */
import { z } from "zod";
import { componentRegistry } from "./component-names.ts";
import { deepErrorOut, validationErrorOut } from "./error-body.ts";

/** What the document needs to know of an operation; those of the API (api/operation.ts) and of the gateway have it. */
export type DocumentedOperation = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With parameters as `:name`. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly access: "public" | "token" | "administrator";
  /** Of a success. */
  readonly status: number;
  readonly schemas: {
    readonly body: z.ZodType | null;
    readonly query: z.ZodType | null;
    readonly params: z.ZodType | null;
    readonly answer: z.ZodType;
  };
};

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export function openApiDocument(
  operations: readonly DocumentedOperation[],
  info: { readonly version: string },
): JsonObject {
  const shapes = createShapes();
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of operations) {
    const path = templateOf(operation.path);
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: describe(operation, shapes) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Berth",
      version: info.version,
      summary: "A private model-deployment service that speaks DeepInfra's API.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: {
      schemas: shapes.components(),
      securitySchemes: {
        HTTPBearer: { type: "http", scheme: "bearer" },
        XiApiKey: { type: "apiKey", in: "header", name: "xi-api-key" },
        XApiKey: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

/** `/deploy/:deploy_id` as `/deploy/{deploy_id}`; the rest of a path, `*`, is a model's name. */
export function templateOf(path: string): string {
  return path.replaceAll(/:([A-Za-z_]+)/g, "{$1}").replaceAll("*", "{model_name}");
}

const security: Json = [{ HTTPBearer: [] }, { XiApiKey: [] }, { XApiKey: [] }];

function describe(operation: DocumentedOperation, shapes: Shapes): Json {
  const { schemas, access } = operation;
  const parameters = [...pathParameters(operation, shapes), ...queryParameters(schemas.query, shapes)];
  const description = access === "administrator" ? { description: "For administrators." } : {};
  return {
    operationId: operation.id,
    summary: operation.summary,
    ...description,
    ...(access === "public" ? { security: [{}, ...(security as Json[])] } : { security }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(schemas.body === null
      ? {}
      : { requestBody: { required: true, content: jsonContent(shapes.of(schemas.body, "input")) } }),
    responses: responsesOf(operation, shapes),
  };
}

function responsesOf({ access, status, schemas }: DocumentedOperation, shapes: Shapes): Json {
  const error = (description: string) => ({
    description,
    content: jsonContent(shapes.of(deepErrorOut, "output")),
  });
  const takesInput = schemas.body !== null || schemas.query !== null;
  return {
    [status]: { description: "Success", content: jsonContent(shapes.of(schemas.answer, "output")) },
    ...(access === "public" ? {} : { 401: error("The token is missing or not valid") }),
    ...(access === "administrator" ? { 403: error("The token is not an administrator's") } : {}),
    ...(schemas.params === null ? {} : { 404: error("There is no such thing, or the token may not see it") }),
    ...(takesInput
      ? {
          422: {
            description: "A field is missing, of the wrong type or out of range",
            content: jsonContent(shapes.of(validationErrorOut, "output")),
          },
        }
      : {}),
    default: error("Any other refusal"),
  };
}

function jsonContent(schema: Json): Json {
  return { "application/json": { schema } };
}

function pathParameters({ path, schemas }: DocumentedOperation, shapes: Shapes): Json[] {
  const known = schemas.params === null ? {} : propertiesOf(shapes.of(schemas.params, "input"));
  return [...templateOf(path).matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: known[name] ?? { type: "string" },
  }));
}

function queryParameters(query: z.ZodType | null, shapes: Shapes): Json[] {
  if (query === null) return [];
  const shape = shapes.of(query, "input") as { required?: readonly string[] };
  const required = new Set(shape.required ?? []);
  return Object.entries(propertiesOf(shape as Json)).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.has(name),
    schema,
  }));
}

function propertiesOf(schema: Json): Record<string, Json> {
  return (schema as { properties?: Record<string, Json> }).properties ?? {};
}

type Shapes = {
  of(schema: z.ZodType, io: "input" | "output"): Json;
  components(): JsonObject;
};

/** Collects the named shapes of all that is converted. */
function createShapes(): Shapes {
  const metadata = componentRegistry();
  const collected = new Map<string, Json>();
  return {
    of(schema, io) {
      const {
        $defs = {},
        $schema,
        ...own
      } = z.toJSONSchema(schema, {
        ...{ metadata, io, unrepresentable: "any" },
        override: ({ jsonSchema }) => {
          delete jsonSchema.id;
        },
      }) as { $defs?: Record<string, Json>; $schema?: string } & Record<string, Json>;
      for (const [name, shape] of Object.entries($defs)) collected.set(name, relocate(shape));
      const name = metadata.get(schema)?.id;
      if (name === undefined) return relocate(own);
      if (!("$ref" in own)) collected.set(name, relocate(own));
      return { $ref: `#/components/schemas/${name}` };
    },
    components: () => Object.fromEntries([...collected].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** References point into the document's components. */
function relocate(schema: Json): Json {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json;
}
