/** Asks control about a scoped JWT over the link. Owns the question's limits; what the answer means is `scopes.ts`'s. */
import type { ScopeVerdict } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import { scopeVerdict } from "../schema/routing.ts";
import { askControl } from "./link-ask.ts";

const timeoutMs = 5_000;
const maxAnswerBytes = 1024 * 1024;

/** @throws HttpError `control_away` when control gives no answer that can be read */
export async function askAboutScope(linkSocket: string, jwt: string): Promise<ScopeVerdict> {
  try {
    const body = JSON.stringify({ jwt });
    const text = await askControl({ linkSocket, path: "/scopes", body, timeoutMs, maxAnswerBytes });
    return scopeVerdict.parse(JSON.parse(text));
  } catch (error) {
    const away = new HttpError(
      "control_away",
      "The scoped JWT could not be checked: the control process did not answer. Try again in a moment.",
      { retryAfterS: 2 },
    );
    away.cause = error;
    throw away;
  }
}
