// details.js - what is known of one node.

const REMARK_TITLES = {
  passed: "Done",
  missed: "Refused",
  failed: "Failed",
  analysis: "Noted"
};

function remarkText(remark) {
  const values = Object.entries(remark.values || {}).map(([key, value]) => `${key} ${value}`).join(", ");
  return [remark.message, values && (remark.message ? `(${values})` : values)].filter(Boolean).join(" ");
}

function remarkLine(remark) {
  return h(
      "li.remark." + remark.kind, null, h("span.tag." + remark.kind, null, REMARK_TITLES[remark.kind]),
      h("code", null, remark.pass), " ", h("b", null, remark.name.replaceAll("-", " ")), " ", remarkText(remark));
}

function nodeDetails(node, graph, choose) {
  const other = graphs[graph.side === "before" ? "after" : "before"];
  const link = (target, where, text) => h("button.link", {click: () => choose(target, where)}, text);
  const short = nodeLabel;

  const value = (id) => {
    const constant = graph.constants.get(id), producer = graph.producer.get(id);
    const name = constant       ? "constant " + (constant.name || "") :
        producer                ? link(producer, graph, short(producer)) :
        graph.inputById.has(id) ? "input " + graph.inputById.get(id).name :
                                  "argument";
    return h(
        "li", null, name, " ", h("code", null, graph.type.get(id) || ""),
        constant && constant.value !== undefined ? ` = ${+ constant.value.toPrecision(6)}` : "");
  };
  const section = (title, ...content) => h("section", null, h("h3", null, title), content);

  const found = remarksOf(node.origins);
  const relatives = other ? other.from(node.origins) : [];
  let fate;
  if (!other)
    fate = null;
  else if (graph.side === "before")
    fate = relatives.length ?
        section(
            "Is now",
            h("ul", null,
              relatives.map(
                  (n) =>
                      h("li", null, link(n, other, short(n)),
                        n.origins.length > 1 ? ` which stands for ${n.origins.length} ONNX nodes` : "")))) :
                                               section(
                                                   "Is gone",
                                                   h("p", null,
              node.origins.length ?
                                                         "No operation of the optimized graph computes it: it was folded, merged or never needed." :
                                                         "It came from no ONNX node."));
  else
    fate = relatives.length ?
        section(
            "Was",
            h("ul", null,
              relatives.map(
                  (n) => h("li", null, link(n, other, short(n)), " ", h("span.soft", null, n.origins[0] || ""))))) :
        null;

  const rows = graph.side === "after" ? layersByNode.get(node.id) || [] : [];
  return h(
      "div", null, h("h2", null, h("i.dot." + kindOf(node.op)), short(node)),
      node.origins.length > 0 &&
          section("ONNX nodes", h("ul.origins", null, node.origins.map((name) => h("li", null, name)))),
      fate, found.length > 0 && section("What passes say", h("ul.remarks", null, found.map(remarkLine))),
      rows.length > 0 &&
          section(
              "Runs as",
              rows.map(
                  (layer) =>
                      h("dl", null, h("dt", null, "kernel"), h("dd", null, h("code", null, layer.kernel)),
                        h("dt", null, "emitter"), h("dd", null, layer.emitter), h("dt", null, "work"),
                        h("dd", null, `${si(layer.flops, "FLOP")}, ${bytes(layer.bytes)}`),
                        layer.ms !== undefined &&
                            [
                              h("dt", null, "time"),
                              h("dd", null, `${time(layer.ms)}, ${percent(layer.ms / measured.ms)} of a run`)
                            ]))),
      section("Inputs", h("ul", null, node.inputs.map(value))),
      section("Results", h("ul", null, node.outputs.map((v) => h("li", null, h("code", null, v.type))))),
      node.macs !== undefined && section("Arithmetic", h("p", null, si(node.macs, "MAC"))),
      node.scalars && section("Scalar code", h("p", null, h("code", null, node.scalars.join(", ")))),
      node.attributes &&
          section(
              "Attributes",
              h("dl", null,
                Object.entries(node.attributes)
                    .map(
                        ([name, v]) =>
                            [h("dt", null, name),
                             h("dd", null, h("code", null, Array.isArray(v) ? `[${v.join(", ")}]` : String(v)))]))));
}
