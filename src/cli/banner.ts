/** What a person sees when Berth is ready: the address, the token once, and a line to copy. Pure. */

export type BannerInput = {
  readonly version: string;
  readonly url: string;
  readonly account: string;
  /** The token when it was made just now; it is shown only then. */
  readonly newToken: string | null;
  /** Where it is kept; null when BERTH_API_TOKEN fixes it. */
  readonly tokenFile: string | null;
  /** Whether the starter model is deployed, which the line to copy calls. */
  readonly hasStarter: boolean;
};

export function banner(input: BannerInput): string {
  const token =
    input.newToken ??
    (input.tokenFile === null ? "$BERTH_API_TOKEN" : `$(cat ${shellWord(input.tokenFile)})`);
  const kept = input.tokenFile === null ? "the one in BERTH_API_TOKEN" : `kept in ${input.tokenFile}`;
  const shown = input.newToken === null ? kept : `${input.newToken}  (shown once; ${kept})`;
  const body = '{"model":"berth/starter","messages":[{"role":"user","content":"Hello!"}]}';
  const lines = [
    "",
    `  Berth ${input.version} is ready at ${input.url}`,
    "",
    `  account  ${input.account}`,
    `  token    ${shown}`,
    "",
  ];
  if (input.hasStarter) {
    lines.push(
      "  Talk to the model it ships (copy the line):",
      "",
      `  curl ${input.url}/v1/chat/completions -H "Authorization: Bearer ${token}" -d '${body}'`,
      "",
    );
  }
  lines.push(
    "  Deploy another: npx berth deploy <owner/name>   Stop: Ctrl-C (engines go on), npx berth down (all)",
    "",
    "",
  );
  return lines.join("\n");
}

/** A path as one word of a shell's line, in quotes only where it needs them. */
function shellWord(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
