/**
 * Which path is whose: inference and model lists are the gateway's, everything else is control's public API. Pure.
 * Must not authenticate; control's internal routes live on another socket that no path leads to.
 */

export type Route =
  | {
      readonly kind: "inference";
      /** Path the engine serves it under. */
      readonly enginePath: string;
    }
  | { readonly kind: "models" }
  | {
      readonly kind: "model";
      /** Name as in the path, percent-decoded. */
      readonly name: string;
    }
  | { readonly kind: "healthz" }
  | { readonly kind: "readyz" }
  /** An OpenAI path that Berth does not have. */
  | { readonly kind: "nothing" }
  | {
      readonly kind: "control";
      /** Path and query to ask control for, always starting with "/". */
      readonly target: string;
    };

const inferencePaths = new Set(["chat/completions", "completions", "embeddings"]);

/** @param target the request target as it came: a path, or a whole URL as proxies get it */
export function findRoute(target: string): Route {
  const origin = target.replace(/^https?:\/\/[^/?#]*/i, "");
  const start = origin.search(/[?#]/);
  const path = (start === -1 ? origin : origin.slice(0, start)).replace(/(?<!\/)\/+$/, "");
  if (path === "/healthz") return { kind: "healthz" };
  if (path === "/readyz") return { kind: "readyz" };
  const name = /^\/v1\/(?:openai\/)?(.+)$/.exec(path)?.[1] ?? "";
  if (inferencePaths.has(name)) return { kind: "inference", enginePath: `/v1/${name}` };
  if (name === "models") return { kind: "models" };
  const modelName = name.startsWith("models/") ? decode(name.slice("models/".length)) : null;
  if (modelName !== null) return { kind: "model", name: modelName };
  if (path.startsWith("/v1/openai/")) return { kind: "nothing" };
  return { kind: "control", target: origin.startsWith("/") ? origin : `/${origin}` };
}

/** The path alone, for logs: queries can hold secrets, and so does the path of a token that is named by its secret. */
export function pathOf(target: string): string {
  const path = target.replace(/[?#].*$/s, "").slice(0, 512);
  return (decode(path) ?? path).replace(/(api-tokens\/+)(?!id\/)[^/]+/i, "$1(hidden)");
}

/** Null when the percent-encoding is broken. */
function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null; // broken percent-encoding: no model has such a name, control answers 404
  }
}
