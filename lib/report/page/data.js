// data.js - the report's data, what follows from it, and how figures are written.

const report = JSON.parse(document.getElementById("data").textContent);
const layers = report.layers || [];
const remarks = report.remarks;
const measured = report.profile || null;

// Kinds of operations: what they are coloured by.
const KINDS = {
  contraction: "conv conv_transpose matmul einsum attention lstm gru rnn moe",
  normalization: "batch_norm layer_norm rms_norm group_norm lp_norm lrn softmax",
  reduction: "reduce arg_reduce cum_sum max_pool avg_pool topk",
  movement: "reshape flatten squeeze unsqueeze transpose expand concat split slice pad tile gather gather_elements " +
      "gather_nd scatter_elements scatter_nd one_hot range constant_of_shape resize depth_to_space space_to_depth " +
      "shape size copy trilu non_zero",
  control: "if loop",
};
const kindByOp = new Map(Object.entries(KINDS).flatMap(([kind, ops]) => ops.split(" ").map((op) => [op, kind])));
const kindOf = (op) => kindByOp.get(op) || "elementwise";

// A graph with what its values connect: for each node the nodes it reads from and is read by.
class Graph {
  constructor(data, side) {
    this.side = side;
    this.nodes = data.nodes;
    this.inputs = data.inputs;
    this.outputs = data.outputs;
    this.constants = new Map(data.constants.map((c) => [c.id, c]));
    this.producer = new Map();
    this.type = new Map(data.constants.map((c) => [c.id, c.type]));
    this.inputById = new Map(data.inputs.map((v) => [v.id, v]));
    for (const v of data.inputs) this.type.set(v.id, v.type);
    for (const node of this.nodes) {
      for (const v of node.outputs) {
        this.producer.set(v.id, node);
        this.type.set(v.id, v.type);
      }
      for (const v of node.arguments || []) this.type.set(v.id, v.type);
    }
    this.byOrigin = new Map();
    for (const node of this.nodes)
      for (const name of node.origins) push(this.byOrigin, name, node);
  }
  // The nodes that come from any of these ONNX nodes.
  from(origins) { return [...new Set(origins.flatMap((name) => this.byOrigin.get(name) || []))]; }
}

function push(map, key, value) {
  const list = map.get(key);
  if (list)
    list.push(value);
  else
    map.set(key, [value]);
}

// `conv + 2`: a convolution that stands for two more ONNX nodes.
const nodeLabel = (node) => node.op + (node.origins.length > 1 ? ` + ${node.origins.length - 1}` : "");

const graphs = {};
for (const side of ["before", "after"])
  if (report.graphs[side]) graphs[side] = new Graph(report.graphs[side], side);

const remarksByOrigin = new Map();
remarks.forEach((remark, i) => {
  remark.id = i;
  for (const name of remark.nodes) push(remarksByOrigin, name, remark);
});
const remarksOf =
    (origins) => [...new Set(origins.flatMap((name) => remarksByOrigin.get(name) || []))].sort((a, b) => a.id - b.id);

const layersByNode = new Map();
for (const layer of layers)
  if (layer.node !== undefined) push(layersByNode, layer.node, layer);

// Figures with three digits and a prefix.
function scaled(value, steps, names, unit) {
  if (value === null || value === undefined) return "–";
  let i = 0;
  while (i + 1 < names.length && Math.abs(value) >= steps) {
    value /= steps;
    i++;
  }
  const digits = Math.abs(value) >= 100 || (i === 0 && Number.isInteger(value)) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits) + (names[i] || unit ? "\u202f" + names[i] + unit : "");
}
const si = (value, unit = "") => scaled(value, 1000, ["", "k", "M", "G", "T", "P"], unit);
const bytes = (value) => scaled(value, 1000, ["", "k", "M", "G", "T"], "B");
const integer = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
function time(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 1000) return (ms / 1000).toFixed(2) + "\u202fs";
  return ms >= 1 ? ms.toPrecision(3) + "\u202fms" : (ms * 1000).toPrecision(3) + "\u202fµs";
}
const percent = (part) => (100 * part).toFixed(part >= 0.0995 ? 0 : 1) + "\u202f%";
const sum = (list, get) => list.reduce((total, item) => total + (get(item) || 0), 0);
