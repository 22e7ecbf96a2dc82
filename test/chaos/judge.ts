/**
 * What is wrong with the end of one stream, given the undisturbed answer and the kills that fell into its life. Pure. Owns
 * what the chaos test demands of a stream.
 */
import type { Streamed, StreamFace } from "../harness/streams.ts";
import type { Task } from "./tasks.ts";

/** How each face names an engine that failed. */
const engineFailed: Readonly<Record<StreamFace, string>> = {
  chat: "engine_failed",
  completions: "engine_failed",
  messages: "api_error",
  responses: "engine_failed",
  native: "engine_failed",
};

/** @param kills of engines of its deployment, between its first byte sent and its last one read */
export function judge(task: Task, answer: Streamed, whole: Streamed, kills: number): string[] {
  return answer.error === null ? judgeWhole(answer, whole) : judgeBroken(task, answer, whole, kills);
}

function judgeWhole(answer: Streamed, whole: Streamed): string[] {
  const wrong: string[] = [];
  if (answer.text !== whole.text) {
    const at = [...whole.text].findIndex((_, index) => whole.text[index] !== answer.text[index]);
    const near = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 10), at + 30));
    wrong.push(`the text differs from character ${at}: ${near(answer.text)} for ${near(whole.text)}`);
  }
  for (const key of ["finish", "openings", "ids", "ends"] as const) {
    if (answer[key] !== whole[key]) wrong.push(`${key} is ${answer[key]} for ${whole[key]}`);
  }
  const [seen, due] = [answer.usage, whole.usage].map((usage) => JSON.stringify(usage));
  if (seen !== due) wrong.push(`usage is ${seen} for ${due}`);
  return wrong;
}

function judgeBroken(task: Task, answer: Streamed, whole: Streamed, kills: number): string[] {
  const wrong: string[] = [];
  const hasBegun = answer.status === 200;
  const isTyped = hasBegun ? answer.error === engineFailed[task.face] : answer.status === 502;
  if (!isTyped) wrong.push(`it ended in ${answer.error}`);
  if (!whole.text.startsWith(answer.text)) wrong.push("what came is not the beginning of the answer");
  if (answer.ends > 0 || answer.usage !== null) wrong.push("it has an end as well as an error");
  // Who has taken two engines down, or seems to, is not given a third.
  const due = task.mayContinue || !hasBegun ? 2 : 1;
  if (kills < due) wrong.push(`it failed (${answer.error}) though only ${kills} engines were killed`);
  return wrong;
}
