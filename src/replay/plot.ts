/** A replay as a picture of letters, for a terminal: requests, instances and the line over time. Pure. */
import type { Outcome } from "./replay.ts";
import type { Step } from "./series.ts";
import { describeTime } from "./words.ts";

const blocks = " ▁▂▃▄▅▆▇█";
const rows = 4;
const labelWidth = 7;

/** @param width columns of the terminal */
export function renderPlot({ steps, stepMs, lastedMs }: Outcome, width: number): string {
  const columns = Math.max(20, Math.min(120, width - labelWidth - 2));
  const perSecond = (step: Step) => (step.arrived * 1000) / stepMs;
  const charts = [
    chart("requests a second", steps.map(perSecond), columns, mean),
    chart(
      "instances",
      steps.map((step) => step.instances),
      columns,
      most,
    ),
    chart(
      "requests waiting",
      steps.map((step) => step.queued),
      columns,
      most,
    ),
  ];
  const used = Math.min(columns, steps.length);
  const end = describeTime(lastedMs);
  const axis = `${" ".repeat(labelWidth + 2)}0 s${end.padStart(Math.max(end.length, used - 3))}`;
  return `${charts.join("\n")}${axis}\n`;
}

function chart(
  title: string,
  values: readonly number[],
  columns: number,
  join: (values: readonly number[]) => number,
): string {
  const shown = squeeze(values, columns, join);
  const top = Math.max(...shown, 0);
  const lines = Array.from({ length: rows }, (_, row) => {
    const floor = rows - 1 - row;
    const label = row === 0 ? number(top) : row === rows - 1 ? "0" : "";
    const cells = shown.map((value) => cell(top === 0 ? 0 : (value / top) * rows - floor)).join("");
    return `${label.padStart(labelWidth)} ┤${cells}`.trimEnd();
  });
  return `${" ".repeat(labelWidth + 2)}${title}\n${lines.join("\n")}\n`;
}

/** @param filled of the cell, from below 0 (nothing) to above 1 (all) */
function cell(filled: number): string {
  // What is there is seen, however little.
  const eighths = filled > 0 ? Math.max(1, Math.round(Math.min(1, filled) * 8)) : 0;
  return blocks[eighths] ?? " ";
}

function squeeze(
  values: readonly number[],
  columns: number,
  join: (values: readonly number[]) => number,
): number[] {
  if (values.length <= columns) return [...values];
  return Array.from({ length: columns }, (_, column) => {
    const from = Math.floor((column * values.length) / columns);
    return join(values.slice(from, Math.max(from + 1, Math.floor(((column + 1) * values.length) / columns))));
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function most(values: readonly number[]): number {
  return Math.max(...values, 0);
}

function number(value: number): string {
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}
