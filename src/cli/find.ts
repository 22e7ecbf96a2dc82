/**
 * Finds the deployment that a person means: by full name, bare name or deploy id. `pickDeployment` is pure. Must not
 * change anything.
 */
import { type DeploymentOut, deploymentListOut, deploymentOut } from "../schema/deploy.ts";
import type { Cli } from "./context.ts";
import { CliError, exitCodes } from "./exit.ts";
import { plain } from "./terminal.ts";

/** Owner of the model that Berth ships; a deployment of one's own comes before it when a bare name fits both. */
const builtinAccount = "berth";

/**
 * The deployments that `name` can mean, best rule first: id, full name, bare name, then both names ignoring case.
 * Several are returned only when a bare name fits deployments of several accounts.
 */
export function pickDeployments(list: readonly DeploymentOut[], name: string): readonly DeploymentOut[] {
  const wanted = name.toLowerCase();
  const rules: ((one: DeploymentOut) => boolean)[] = [
    (one) => one.deploy_id === name,
    (one) => one.model_name === name,
    (one) => bareName(one.model_name) === name,
    (one) => one.model_name.toLowerCase() === wanted,
    (one) => bareName(one.model_name).toLowerCase() === wanted,
  ];
  for (const rule of rules) {
    const found = list.filter(rule);
    if (found.length < 2) {
      if (found.length === 1) return found;
      continue;
    }
    const own = found.filter((one) => !one.model_name.startsWith(`${builtinAccount}/`));
    return own.length > 0 ? own : found;
  }
  return [];
}

/** "account/name" -> "name". */
export function bareName(modelName: string): string {
  return modelName.slice(modelName.indexOf("/") + 1);
}

/** @throws CliError when there is none (exit code 4) or when the name is ambiguous */
export async function findDeployment(cli: Cli, name: string): Promise<DeploymentOut> {
  const list = await cli.client.call("GET", "/deploy/list", deploymentListOut, { signal: cli.signal });
  const found = pickDeployments(list, name);
  const [first, second] = found;
  if (first !== undefined && second === undefined) return first;
  if (first !== undefined) {
    const names = found.slice(0, 5).map((one) => plain(one.model_name));
    if (found.length > names.length) names.push("and others");
    throw new CliError(exitCodes.failed, `"${plain(name)}" can mean ${names.join(", ")}. Use a full name.`);
  }
  const byId = await findById(cli, name);
  if (byId !== null) return byId;
  throw new CliError(
    exitCodes.notFound,
    `There is no deployment "${plain(name)}" that this token may see. \`${cli.command} ls\` lists what there is.`,
  );
}

/** Public deployments of others and deleted ones are in no list, but answer to their id. Null when there is none. */
export async function findById(cli: Cli, name: string): Promise<DeploymentOut | null> {
  if (!/^[A-Za-z0-9]{8,32}$/.test(name)) return null;
  try {
    return await cli.client.call("GET", `/deploy/${name}`, deploymentOut, { signal: cli.signal });
  } catch (error) {
    if (error instanceof CliError && error.exitCode === exitCodes.notFound) return null;
    throw error;
  }
}
