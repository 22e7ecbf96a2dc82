/**
 * Replays as a page of its own: a table and, for each policy, requests, instances and the line over time as SVG. One file
 * without scripts, fonts or anything from elsewhere. Pure.
 */

import type { Outcome } from "./replay.ts";
import { patienceMs } from "./tally.ts";
import { describeHours, describePart, describeTime } from "./words.ts";

export type NamedOutcome = { readonly name: string; readonly outcome: Outcome };

const width = 900;
const height = 110;
const margin = 46;

const style = `
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2430; background: #fff; }
  table { border-collapse: collapse; margin: 1rem 0 2rem; }
  th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid #d9dee6; font-variant-numeric: tabular-nums; }
  th:first-child, td:first-child { text-align: left; }
  svg { width: 100%; height: auto; display: block; }
  svg text { font: 11px system-ui, sans-serif; fill: #5a6472; }
  .area { fill: #b9cdf0; stroke: #2f5fb3; stroke-width: 1; }
  .grid { stroke: #d9dee6; }`;

/** @param about what was replayed on what, in a sentence or two */
export function renderPage(about: readonly string[], outcomes: readonly NamedOutcome[]): string {
  const rows = outcomes.map(({ name, outcome: { score } }) => {
    const { waitedMs, firstTokenMs } = score;
    const times = [waitedMs.p50, waitedMs.p99, firstTokenMs.p50, firstTokenMs.p90, firstTokenMs.p99];
    const amounts = [describeHours(score.gpuHours), describePart(score.share), String(score.refused)];
    return [escapeText(name), ...amounts, ...times.map(describeTime)];
  });
  const head = [
    "policy",
    "GPU-hours",
    "served well",
    "refused",
    "wait p50",
    "p99",
    "first token p50",
    "p90",
    "p99",
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A replay of traffic</title>
<style>${style}
</style>
<h1>A replay of traffic</h1>
${about.map((line) => `<p>${escapeText(line)}</p>`).join("\n")}
<p>Served well: the first token came within ${patienceMs / 1000} s and the time that the prompt takes by itself.</p>
<table>
<tr>${head.map((cell) => `<th>${cell}</th>`).join("")}</tr>
${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("\n")}
</table>
${outcomes.map(renderOutcome).join("\n")}
</html>
`;
}

function renderOutcome({ name, outcome: { steps, stepMs, lastedMs } }: NamedOutcome): string {
  const panels = [
    panel(
      "requests a second",
      steps.map(({ arrived }) => (arrived * 1000) / stepMs),
      lastedMs,
    ),
    panel(
      "instances",
      steps.map(({ instances }) => instances),
      lastedMs,
    ),
    panel(
      "requests waiting",
      steps.map(({ queued }) => queued),
      lastedMs,
    ),
  ];
  return `<h2>${escapeText(name)}</h2>\n${panels.join("\n")}`;
}

/** Steps, not slopes: that is what instances do. */
function panel(title: string, values: readonly number[], lastedMs: number): string {
  const top = Math.max(1, ...values);
  const x = (index: number) => round(margin + (index / Math.max(1, values.length)) * (width - margin));
  const y = (value: number) => round(height - 18 - (value / top) * (height - 38));
  const line = values.map((value, index) => `H${x(index)}V${y(value)}H${x(index + 1)}`).join("");
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">
<text x="${margin}" y="12">${title}</text>
<line class="grid" x1="${margin}" x2="${width}" y1="${y(top)}" y2="${y(top)}"/>
<text x="${margin - 6}" y="${y(top) + 4}" text-anchor="end">${Number(top.toPrecision(3))}</text>
<text x="${margin - 6}" y="${y(0) + 4}" text-anchor="end">0</text>
<path class="area" d="M${margin} ${y(0)}${line}V${y(0)}Z"/>
<text x="${margin}" y="${height - 4}">0 s</text>
<text x="${width}" y="${height - 4}" text-anchor="end">${describeTime(lastedMs)}</text>
</svg>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
