/** Takes secrets and terminal control out of engine output before anyone reads it. Pure. */

const hidden = "[hidden]";

/** What secrets look like when nobody told us their value. */
const patterns: readonly (readonly [RegExp, string])[] = [
  [/\bhf_[A-Za-z0-9]{6,}/g, hidden],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, `$1 ${hidden}`],
  [/(\/\/)[^/\s:@]+:[^/\s@]+@/g, `$1${hidden}@`],
  [/([?&](?:[\w.-]*(?:signature|token|credential|api[-_]?key|secret))=)[^&\s"']+/gi, `$1${hidden}`],
  [
    /\b((?:[\w-]*(?:api[-_]?key|token|secret|password))["']?\s*[=:]\s*["']?)[A-Za-z0-9._~+/-]{16,}/gi,
    `$1${hidden}`,
  ],
];

/** Hides the given secrets and everything that looks like one. */
export function maskSecrets(text: string, secrets: readonly string[]): string {
  let masked = text;
  for (const secret of secrets) masked = masked.replaceAll(secret, hidden);
  for (const [pattern, replacement] of patterns) masked = masked.replace(pattern, replacement);
  return masked;
}

/** Colours, cursor movements and other control characters: a log line must not move a reader's cursor. Tabs stay. */
export function stripControl(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed.
      .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-_])/g, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed.
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "")
  );
}
