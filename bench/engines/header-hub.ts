/** The stand-in hub of inspect.ts as a process: two repositories of more than 400 GB, one of few large tensors, one of many. */
import { startHeaderHub } from "../../tools/model-headers/hub.ts";
import { denseModel, expertsModel } from "../../tools/model-headers/large.ts";

const hub = await startHeaderHub(
  [
    { name: "bench/dense-405B", config: denseModel, shards: 190 },
    { name: "bench/experts-235B", config: expertsModel, shards: 190 },
  ],
  Number(process.argv[2] ?? 50),
);
console.log(JSON.stringify({ url: hub.url, repos: ["bench/dense-405B", "bench/experts-235B"] }));
