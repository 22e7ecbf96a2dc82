/**
 * A machine with NVIDIA GPUs as a value, and what `nvidia-smi` says of it. The fake tool reads it from a file at each call, so that
 * a test can break it under a running Berth. Words and forms are those of real drivers; what no test needs is left out.
 */
export type FakeGpu = {
  readonly uuid: string;
  readonly busId: string;
  readonly name: string;
  readonly memoryMib: number;
  /** Held by nobody that is listed. */
  readonly hiddenMib?: number;
  /** What the driver says instead of reaching it. */
  readonly lost?: string;
  readonly recovery?: string;
  readonly uncorrected?: number;
  /** Processes besides those that were given the GPU through their environment. */
  readonly processes?: readonly FakeProcess[];
  readonly parts?: readonly { readonly uuid: string; readonly profile: string; readonly memoryMib: number }[];
  /** Positions of the GPUs it has NVLink to. */
  readonly nvlinks?: readonly number[];
  readonly numaNode?: number;
};

export type FakeProcess = {
  readonly pid: number;
  readonly type: string;
  readonly name: string;
  readonly usedMib: number;
};

export type FakeMachine = {
  readonly driver: string;
  readonly cuda: string;
  readonly gpus: readonly FakeGpu[];
  /** A lost GPU makes the whole question fail, as drivers before 535 do, or is a line before the rest. */
  readonly failsWhole?: boolean;
  /** The driver does not answer at all, and says this. */
  readonly broken?: string;
};

/** GPUs of one name; `prefix` keeps the machines of several tests apart. */
export function fakeMachine(prefix: string, count: number, more: Partial<FakeGpu> = {}): FakeMachine {
  const gpus = Array.from({ length: count }, (_, index): FakeGpu => {
    const half = index < count / 2 ? 0 : 1;
    return {
      uuid: `GPU-${prefix}-${index}`,
      busId: `00000000:${(16 + index).toString(16).toUpperCase()}:00.0`,
      ...{ name: "NVIDIA H100 80GB HBM3", memoryMib: 81_559, numaNode: half },
      ...more,
    };
  });
  return { driver: "570.86.15", cuda: "12.8", gpus };
}

export type Answer = { readonly code: number; readonly output: string };

/** @param holders processes by the UUID they were given */
export function answer(
  machine: FakeMachine,
  args: readonly string[],
  holders: ReadonlyMap<string, readonly FakeProcess[]>,
): Answer {
  if (machine.broken !== undefined) return { code: 18, output: `${machine.broken}\n` };
  if (args[0] === "topo") return { code: 0, output: drawTopology(machine.gpus.filter(isThere)) };
  if (args[0] === "-L") return { code: 0, output: machine.gpus.filter(isThere).map(listGpu).join("") };
  if (args[0] !== "-q" || args[1] !== "-x")
    return { code: 2, output: `Invalid combination of input arguments.\n` };
  const only = args[2] === "-i" ? args[3] : undefined;
  const asked = machine.gpus.filter(
    ({ uuid }, index) => only === undefined || uuid === only || String(index) === only,
  );
  const lost = asked.find((gpu) => !isThere(gpu));
  const line = lost === undefined ? "" : `${lostLine(machine.gpus.indexOf(lost), lost)}\n`;
  if (lost !== undefined && (machine.failsWhole === true || only !== undefined))
    return { code: 15, output: line };
  if (asked.length === 0) return { code: 6, output: "No devices were found\n" };
  return { code: 0, output: line + report(machine, asked.filter(isThere), holders) };
}

const isThere = (gpu: FakeGpu) => gpu.lost === undefined;

function lostLine(index: number, { busId, lost }: FakeGpu): string {
  return `Unable to determine the device handle for GPU${index}: ${busId.slice(4)}: ${lost}`;
}

const element = (name: string, ...inner: readonly string[]) => `<${name}>${inner.join("\n")}</${name}>`;

function report(
  { driver, cuda, gpus: all }: FakeMachine,
  gpus: readonly FakeGpu[],
  holders: ReadonlyMap<string, readonly FakeProcess[]>,
): string {
  const head = [
    element("driver_version", driver),
    element("cuda_version", cuda),
    element("attached_gpus", `${all.length}`),
  ];
  const cards = gpus.map((gpu) =>
    reportGpu(gpu, [...(gpu.processes ?? []), ...(holders.get(gpu.uuid) ?? [])]),
  );
  const doctype = '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">';
  return `<?xml version="1.0" ?>\n${doctype}\n${element("nvidia_smi_log", ...head, ...cards)}\n`;
}

function reportGpu(gpu: FakeGpu, processes: readonly FakeProcess[]): string {
  const usedMib = (gpu.hiddenMib ?? 0) + processes.reduce((sum, { usedMib: held }) => sum + held, 0);
  const parts = (gpu.parts ?? []).map(({ memoryMib }, index) =>
    element(
      "mig_device",
      element("index", `${index}`),
      element("gpu_instance_id", `${index + 3}`),
      element("compute_instance_id", "0"),
      element("fb_memory_usage", element("total", `${memoryMib} MiB`), element("used", "12 MiB")),
    ),
  );
  return [
    `<gpu id="${gpu.busId}">`,
    element("product_name", gpu.name),
    element("mig_mode", element("current_mig", parts.length > 0 ? "Enabled" : "Disabled")),
    element("mig_devices", ...(parts.length > 0 ? parts : ["None"])),
    element("uuid", gpu.uuid),
    element("gpu_recovery_action", gpu.recovery ?? "None"),
    element(
      "fb_memory_usage",
      element("total", `${gpu.memoryMib} MiB`),
      element("reserved", "546 MiB"),
      element("used", `${usedMib} MiB`),
    ),
    element("ecc_errors", element("volatile", element("dram_uncorrectable", `${gpu.uncorrected ?? 0}`))),
    element("processes", ...processes.map(reportProcess)),
    "</gpu>",
  ].join("\n");
}

function reportProcess({ pid, type, name, usedMib }: FakeProcess): string {
  return element(
    "process_info",
    element("gpu_instance_id", "N/A"),
    element("compute_instance_id", "N/A"),
    element("pid", `${pid}`),
    element("type", type),
    element("process_name", name),
    element("used_memory", `${usedMib} MiB`),
  );
}

function listGpu({ name, uuid, parts = [] }: FakeGpu, index: number): string {
  const lines = parts.map((part, at) => `  MIG ${part.profile}     Device  ${at}: (UUID: ${part.uuid})\n`);
  return `GPU ${index}: ${name} (UUID: ${uuid})\n${lines.join("")}`;
}

function drawTopology(gpus: readonly FakeGpu[]): string {
  const heading = [...gpus.map((_, index) => `GPU${index}`), "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"];
  const rows = gpus.map(({ nvlinks = [], numaNode }, index) => {
    const near = gpus.map((other, at) => {
      if (at === index) return " X ";
      if (nvlinks.includes(at)) return "NV18";
      return other.numaNode === numaNode ? "NODE" : "SYS";
    });
    return [`GPU${index}`, ...near, "0-31", `${numaNode ?? ""}`, "", "N/A"].join("\t");
  });
  return `\t${heading.join("\t")}\n${rows.join("\n")}\n`;
}
