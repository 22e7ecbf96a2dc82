/**
 * Which path is whose: inference and model lists are the gateway's, everything else is control's public API. Pure.
 * Must not authenticate; control's internal routes live on another socket that no path leads to.
 */

import { deepError, openAiError } from "../schema/errors.ts";
import { anthropicFace } from "./faces/anthropic.ts";
import type { ErrorBody, Face } from "./faces/face.ts";
import { nativeFace } from "./faces/native.ts";
import { openAiFace } from "./faces/openai.ts";
import { responsesFace } from "./faces/responses.ts";
import { tokenizeFace } from "./faces/tokenize.ts";

export type Route =
  | {
      readonly kind: "inference";
      readonly face: Face;
      /** Without the query and trailing slashes. */
      readonly path: string;
      readonly query: URLSearchParams;
    }
  | { readonly kind: "models" }
  | {
      readonly kind: "model";
      /** Name as in the path, percent-decoded. */
      readonly name: string;
    }
  /** A stored response by its id, of which there are none. */
  | { readonly kind: "response" }
  | { readonly kind: "healthz" }
  | { readonly kind: "readyz" }
  | { readonly kind: "metrics" }
  /** A path of this face that Berth does not have. */
  | { readonly kind: "nothing"; readonly face: Face }
  | {
      readonly kind: "control";
      /** Path and query to ask control for, always starting with "/". */
      readonly target: string;
    };

/** The faces by the paths they answer; the first that matches counts. */
const faces: readonly { readonly path: RegExp; readonly face: Face }[] = [
  { path: /^\/v1\/(?:openai\/)?(?:chat\/completions|completions|embeddings)$/, face: openAiFace },
  { path: /^\/v1\/(?:openai\/)?responses$/, face: responsesFace },
  { path: /^\/v1\/(?:openai\/)?(?:de)?tokenize$/, face: tokenizeFace },
  { path: /^\/anthropic\/v1\/messages(?:\/count_tokens)?$/, face: anthropicFace },
  { path: /^\/v1\/inference\/.+$/, face: nativeFace },
];

/** What was found for the plain paths of inference, of which there are few: no model's name and no query is in them. */
const plainRoutes = new Map<string, Route>();

/** @param target the request target as it came: a path, or a whole URL as proxies get it */
export function findRoute(target: string): Route {
  const known = plainRoutes.get(target);
  if (known !== undefined) return known;
  const route = readRoute(target);
  if (route.kind === "inference" && route.path === target && !target.startsWith("/v1/inference/")) {
    plainRoutes.set(target, route);
  }
  return route;
}

function readRoute(target: string): Route {
  const origin = target.replace(/^https?:\/\/[^/?#]*/i, "");
  const start = origin.search(/[?#]/);
  const path = (start === -1 ? origin : origin.slice(0, start)).replace(/(?<!\/)\/+$/, "");
  if (path === "/healthz") return { kind: "healthz" };
  if (path === "/readyz") return { kind: "readyz" };
  if (path === "/metrics") return { kind: "metrics" };
  const face = faces.find((entry) => entry.path.test(path))?.face;
  if (face !== undefined) {
    const query = new URLSearchParams(/\?([^#]*)/.exec(origin)?.[1] ?? "");
    return { kind: "inference", face, path, query };
  }
  const name = /^\/v1\/(?:openai\/)?(.+)$/.exec(path)?.[1] ?? "";
  if (/^responses\/./.test(name)) return { kind: "response" };
  if (name === "models") return { kind: "models" };
  const modelName = name.startsWith("models/") ? decode(name.slice("models/".length)) : null;
  if (modelName !== null) return { kind: "model", name: modelName };
  if (path.startsWith("/v1/openai/")) return { kind: "nothing", face: openAiFace };
  if (path.startsWith("/anthropic/")) return { kind: "nothing", face: anthropicFace };
  return { kind: "control", target: origin.startsWith("/") ? origin : `/${origin}` };
}

/** The form that errors of a path have. */
export function errorBodyOf(route: Route): ErrorBody {
  if (route.kind === "inference" || route.kind === "nothing") return route.face.errorBody;
  return route.kind === "control" ? (error) => deepError(error.message) : openAiError;
}

/** The path alone, for logs: queries can hold secrets, and so does the path of a token that is named by its secret. */
export function pathOf(target: string): string {
  if (plainRoutes.has(target)) return target;
  const path = target.replace(/[?#].*$/s, "").slice(0, 512);
  return (decode(path) ?? path).replace(
    /(api-tokens\/+(?!id\/)|payment\/+usage\/+(?!(?:tokens|rent)(?:\/|$)))[^/]+/i,
    "$1(hidden)",
  );
}

/** Null when the percent-encoding is broken. */
function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null; // broken percent-encoding: no model has such a name, control answers 404
  }
}
