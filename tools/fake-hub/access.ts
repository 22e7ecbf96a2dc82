/**
 * Who may see which repository, from `access.json` in the root, with the answers the real hub gives: a private
 * repository looks like one that does not exist, a gated one can be listed but not read.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const accessShape = z.strictObject({
  /** Repositories that only the tokens below see. */
  private: z.array(z.string()).default([]),
  /** Repositories whose files only the tokens below read. */
  gated: z.record(z.string(), z.enum(["auto", "manual"])).default({}),
  /** Token -> repositories it was granted. Any other token is not valid. */
  tokens: z.record(z.string(), z.array(z.string())).default({}),
});
export type Access = z.output<typeof accessShape>;

export type Refusal = { readonly status: number; readonly code: string | null; readonly message: string };

export async function readAccess(root: string): Promise<Access> {
  const text = await readFile(join(root, "access.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw error;
  });
  return accessShape.parse(JSON.parse(text));
}

/**
 * Null when the request may go on.
 * @param exists whether there is such a repository
 * @param wantsContent whether files are read, not only listed
 */
export function refuse(
  access: Access,
  question: { repo: string; token: string | null; exists: boolean; wantsContent: boolean },
): Refusal | null {
  const { repo, token } = question;
  if (token !== null && access.tokens[token] === undefined) {
    return { status: 401, code: null, message: "Invalid credentials in Authorization header" };
  }
  const granted = token !== null && (access.tokens[token] ?? []).includes(repo);
  if (!question.exists || (access.private.includes(repo) && !granted)) {
    return token === null
      ? { status: 401, code: "RepoNotFound", message: "Invalid username or password." }
      : { status: 404, code: "RepoNotFound", message: "Repository not found" };
  }
  if (question.wantsContent && access.gated[repo] !== undefined && !granted) {
    const ask = `Visit https://huggingface.co/${repo} to ask for access.`;
    return {
      status: token === null ? 401 : 403,
      code: "GatedRepo",
      message:
        token === null
          ? `Access to model ${repo} is restricted. You must have access to it and be authenticated to access it. Please log in.`
          : `Access to model ${repo} is restricted and you are not in the authorized list. ${ask}`,
    };
  }
  return null;
}
