/**
 * What real machines answered, in the parts that Berth reads: each report's own nesting, words and units, without the rest (clocks,
 * fans, power). Test data; from public reports, named at each. Nothing else may import it.
 */

const part = (name: string, ...inner: readonly string[]) => `<${name}>\n${inner.join("\n")}\n</${name}>`;
const card = (busId: string, ...inner: readonly string[]) =>
  `<gpu id="${busId}">\n${inner.join("\n")}\n</gpu>`;
const mib = (total: number, used: number, reserved: number | null) =>
  part(
    "fb_memory_usage",
    part("total", `${total} MiB`),
    ...(reserved === null ? [] : [part("reserved", `${reserved} MiB`)]),
    part("used", `${used} MiB`),
  );
const process = (pid: number, type: string, name: string, usedMib: number, before: readonly string[] = []) =>
  part(
    "process_info",
    ...before,
    part("pid", `${pid}`),
    part("type", type),
    part("process_name", name),
    part("used_memory", `${usedMib} MiB`),
  );
const noPart = [part("gpu_instance_id", "N/A"), part("compute_instance_id", "N/A")];
const report = (doctype: string, driver: string, cuda: string, ...gpus: readonly string[]) =>
  [
    '<?xml version="1.0" ?>',
    doctype,
    part("nvidia_smi_log", part("driver_version", driver), part("cuda_version", cuda), ...gpus),
    "",
  ].join("\n");

/** Driver 418 (2019): no parts of cards, no reserved memory, errors as `double_bit`. github.com/influxdata/telegraf, quadro-p400.xml. */
export const driver418 = report(
  '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v10.dtd">',
  "418.43",
  "10.1",
  card(
    "00000000:43:00.0",
    part("product_name", "Quadro P400"),
    part("uuid", "GPU-8f750be4-dfbc-23b9-b33f-da729a536494"),
    mib(1998, 0, null),
    part(
      "ecc_errors",
      part("volatile", part("double_bit", part("device_memory", "N/A"), part("total", "N/A"))),
    ),
    part("processes"),
  ),
);

/** Driver 515 (2022), a desktop and a Python on a T4. github.com/influxdata/telegraf, tesla-t4.xml. */
export const driver515 = report(
  '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v11.dtd">',
  "515.105.01",
  "11.7",
  card(
    "00000000:00:1E.0",
    part("product_name", "Tesla T4"),
    part("mig_mode", part("current_mig", "N/A")),
    part("mig_devices", "None"),
    part("uuid", "GPU-d37e67a5-91dd-3774-a5cb-99096249601a"),
    mib(15360, 1032, 388),
    part("remapped_rows", "N/A"),
    part(
      "processes",
      process(675, "G", "/usr/lib/xorg/Xorg", 22, noPart),
      process(5762, "C", "python", 1005, noPart),
    ),
  ),
);

const a100Part = (index: number, gpuInstance: number) =>
  part(
    "mig_device",
    part("index", `${index}`),
    part("gpu_instance_id", `${gpuInstance}`),
    part("compute_instance_id", "0"),
    mib(19968, 12, 0),
  );

/** Driver 535 (2023), an A100 in four parts. github.com/influxdata/telegraf, a100-sxm4-v12.xml. */
export const driver535 = report(
  '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">',
  "535.54.03",
  "12.2",
  card(
    "00000000:01:00.0",
    part("product_name", "NVIDIA A100-SXM4-80GB"),
    part("mig_mode", part("current_mig", "Enabled"), part("pending_mig", "Enabled")),
    part("mig_devices", a100Part(0, 3), a100Part(1, 4), a100Part(2, 5), a100Part(3, 6)),
    part("uuid", "GPU-513536b6-7d19-9063-b049-1e69664bb298"),
    part("gpu_reset_status", part("reset_required", "No"), part("drain_and_reset_recommended", "No")),
    mib(81920, 50, 869),
    part(
      "ecc_errors",
      part(
        "volatile",
        part("sram_correctable", "0"),
        part("sram_uncorrectable", "0"),
        part("dram_correctable", "0"),
        part("dram_uncorrectable", "0"),
      ),
    ),
    part("remapped_rows", "N/A"),
    part("processes"),
  ),
);

/**
 * Driver 595 (2026): the way out of trouble has a name of its own, the reset status is gone; a desktop, a Python, and a browser
 * that draws and computes. github.com/influxdata/telegraf, rtx-4000-sff-ada-v13.xml.
 */
export const driver595 = report(
  '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v13.dtd">',
  "595.84",
  "13.2",
  card(
    "00000000:06:00.0",
    part("product_name", "NVIDIA RTX 4000 SFF Ada Generation"),
    part("mig_mode", part("current_mig", "N/A")),
    part("mig_devices", "None"),
    part("uuid", "GPU-37037c3f-65c8-ec4d-24a9-420204ad8026"),
    part("gpu_recovery_action", "None"),
    mib(20475, 3534, 456),
    part("remapped_rows", part("remapped_row_pending", "No"), part("remapped_row_failure", "No")),
    part(
      "processes",
      process(1842, "G", "cosmic-comp", 410, noPart),
      process(3190, "G", "/usr/bin/code", 451, noPart),
      process(4937, "C", "python", 160, noPart),
      process(34626, "C+G", "/usr/lib/chromium/chromium", 183, noPart),
    ),
  ),
);

/** In newer drivers the card that was lost has a line of its own before the rest; driver 610. */
export const lostLine610 = "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error";
/** Older ones say this and nothing else. github.com/JosephKJ/OWOD/issues/81. */
export const lostLineOld =
  "Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU";

/** Driver 535. github.com/DataDog/datadog-agent/pull/33120. */
export const slicesListed = `GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-7fdaf0a5-179b-f636-d15d-daf243e3ff16)
  MIG 1g.10gb     Device  0: (UUID: MIG-feb88891-0321-5fef-9c87-d4af3b54259e)
  MIG 1g.10gb     Device  1: (UUID: MIG-a25704ba-3a06-5299-a795-fd7cf4d13973)
  MIG 1g.10gb     Device  2: (UUID: MIG-50f1c4c9-1508-5e8d-bb06-d08145b22e01)
`;

/** Sixteen V100 of one machine have network cards beside them; cut to four. github.com/NVIDIA/nccl-tests/issues/78, as pasted. */
export const topologyPasted = `
        GPU0    GPU1    GPU2    GPU3    mlx5_0  mlx5_1  CPU Affinity
GPU0     X      NV6     NV6     NV6     PIX     PXB     0-23,48-71
GPU1    NV6      X      NV6     NV6     PIX     PXB     0-23,48-71
GPU2    NV6     NV6      X      NV6     PXB     PIX     0-23,48-71
GPU3    NV6     NV6     NV6      X      PXB     PIX     0-23,48-71
mlx5_0  PIX     PIX     PXB     PXB      X      NODE
`;

/** Two pairs of RTX 3090 without NVLink, next to two memories: the tool's own tabs, as drivers since 535 print them. */
export const topologyPairs = `\tGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID
GPU0\t X \tPHB\tSYS\tSYS\t0-11,24-35\t0\t\tN/A
GPU1\tPHB\t X \tSYS\tSYS\t0-11,24-35\t0\t\tN/A
GPU2\tSYS\tSYS\t X \tPHB\t12-23,36-47\t1\t\tN/A
GPU3\tSYS\tSYS\tPHB\t X \t12-23,36-47\t1\t\tN/A

Legend:

  X    = Self
  NV#  = Connection traversing a bonded set of # NVLinks
`;

/** Four GPUs of a virtual machine, joined by NVLink, whose processors are told for the first alone. */
export const topologyPartly = `\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID
GPU0\t X \tNV18\t44-51,148-155\t0\t\tN/A
GPU1\tNV18\t X \t\t1\t\tN/A
`;

/** Driver 460 (2021): memory is not told. Two of the four V100 of a cloud machine. github.com/casys-kaist/HUVM, README. */
export const topologyNoMemory = `\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity
GPU0\t X \tNV1\t0-31\t\tN/A
GPU1\tNV1\t X \t0-31\t\tN/A
`;

/** github.com/marimo-team/marimo/issues/9237. */
export const rocmSmi = JSON.stringify({
  card0: {
    "GPU use (%)": "0",
    "VRAM Total Memory (B)": "21458059264",
    "VRAM Total Used Memory (B)": "27856896",
    "Card Series": "Radeon RX 7900 XT",
    "GFX Version": "gfx1100",
  },
});

/** github.com/timmo001/system-bridge/pull/3408. */
export const appleDisplays = JSON.stringify({
  SPDisplaysDataType: [{ _name: "Apple M3 Pro", spdisplays_ndrvs: [{ _name: "DELL U2722DE" }] }],
});
