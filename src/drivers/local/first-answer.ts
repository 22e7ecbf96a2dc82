/**
 * Has an engine that says it is ready for the first time give one token, so that no request is the first to find out that it
 * cannot. In the background: an engine may think long over it, and its output and its end are watched meanwhile.
 */
import { type Failure, failure } from "../../core/failure.ts";
import type { LocalContext } from "./context.ts";
import { type Instance, wakeWatch } from "./instance.ts";

/** What came of it: not yet known, an answer, or why there was none. */
export type FirstAnswer = "awaited" | "came" | Failure;

/** Asks at the first call, once; later calls tell what came of it. */
export function firstAnswer(instance: Instance, { limits, log }: LocalContext): FirstAnswer {
  const { record, engine } = instance;
  if (instance.firstAnswer !== null) return instance.firstAnswer;
  // Started by an earlier version, which did not write down how the model is called.
  if (engine === null || record.servedName === undefined) return "came";
  instance.firstAnswer = "awaited";
  const { endpoint, secret, servedName } = record;
  void engine.warmUp({ endpoint, secret, servedName }, limits.firstTokenMs).then(
    (outcome) => settle(instance, outcome ?? "came"),
    (error: unknown) => {
      log("error", "an engine could not be asked for a token", {
        instanceId: record.id,
        error: String(error),
      });
      settle(
        instance,
        failure(
          "internal",
          "Asking the engine for a token failed by a defect in Berth.",
          "See the log of the control process.",
        ),
      );
    },
  );
  return "awaited";
}

function settle(instance: Instance, answer: FirstAnswer): void {
  instance.firstAnswer = answer;
  wakeWatch(instance);
}
