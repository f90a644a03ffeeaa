// overview.js - the first page: totals, charts, what was refused.

function card(title, value, note) {
  return h(
      "div.card", null, h("span.card-title", null, title), h("strong", null, value),
      h("span.soft", null, note || "\u00a0"));
}

function change(before, after, format) {
  if (before === null || before === undefined || before === after || format(before) === format(after))
    return format(after);
  return [h("span.was", null, format(before), " → "), format(after)];
}

function reduction(before, after) {
  if (!before || after === null || after === undefined || Math.abs(before - after) < 0.0005 * before) return "";
  return `${percent(Math.abs(before - after) / before)} ${after < before ? "fewer" : "more"}`;
}

function cards() {
  const copies = layers.filter((l) => l.launch === undefined).length;
  const t = report.totals, b = t.before || {}, a = t.after || {};
  const sizes = Object.entries(report.sizes).map(([name, size]) => `${name}=${size}`).join(", ");
  return h(
      "div.cards", null, card("Operations", change(b.nodes, a.nodes, integer), reduction(b.nodes, a.nodes)),
      card("Parameters", change(b.parameters, a.parameters, si), reduction(b.parameters, a.parameters)),
      card(
          "Multiply-accumulates", change(b.macs, a.macs, si),
          a.macs === null ? "some sizes depend on data" : reduction(b.macs, a.macs) || (sizes && `at ${sizes}`)),
      measured ?
          card("One run", time(measured.ms), `${measured.threads} threads, median of ${measured.runs}`) :
          card("Compiled in", time(1000 * sum(report.stages, (s) => s.seconds)), "not run: see --report-profile"),
      t.launches !== undefined && card("Launches", integer(t.launches), `${integer(t.kernels)} kernels` + (copies ? `, and ${integer(copies)} copies` : "")),
      t.arena_bytes !== undefined &&
          card(
              "Arena", bytes(t.arena_bytes),
              `lower bound ${bytes(t.arena_lower_bound_bytes)}, without reuse ${bytes(t.arena_naive_bytes)}`),
      t.weight_bytes !== undefined && card(
          "Weights", bytes(t.weight_bytes),
          "packed for the kernels" + (t.encoded_weight_bytes ? `, ${bytes(t.encoded_weight_bytes)} in the file` : "")),
      t.artifact_bytes !== undefined &&
          card("Artifact", bytes(t.artifact_bytes), report.target ? report.target.name : ""));
}

function kindCounts() {
  const counts = new Map();
  for (const side of ["before", "after"])
    for (const node of graphs[side] ? graphs[side].nodes : []) {
      const row = counts.get(node.op) || {label: node.op, before: 0, after: 0};
      row[side]++;
      counts.set(node.op, row);
    }
  const rows = [...counts.values()].sort((p, q) => Math.max(q.before, q.after) - Math.max(p.before, p.after));
  const top = rows.slice(0, 14), rest = rows.slice(14);
  if (rest.length)
    top.push({label: `${rest.length} others`, before: sum(rest, (r) => r.before), after: sum(rest, (r) => r.after)});
  return top;
}

function workShares() {
  const measures = [["FLOPs", (l) => l.flops, (v) => si(v)], ["Bytes", (l) => l.bytes, bytes]];
  if (measured) measures.unshift(["Time", (l) => l.ms, time]);
  return [
    measures.map(([label, get]) => {
      const byEmitter = new Map();
      for (const l of layers) {
        const part = byEmitter.get(l.emitter) || {label: l.emitter, kind: kindOf(l.op), value: 0};
        part.value += get(l) || 0;
        byEmitter.set(l.emitter, part);
      }
      const parts = [...byEmitter.values()].sort((p, q) => q.value - p.value);
      const total = sum(parts, (p) => p.value);
      return {label, total, parts: parts.filter((p) => p.value > 0)};
    }),
    measures.map((m) => m[2])
  ];
}

function refusals(show) {
  const groups = new Map();
  for (const r of remarks)
    if (r.kind === "missed" || r.kind === "failed") {
      const key = r.pass + "\n" + r.message;
      const group = groups.get(key) || {pass: r.pass, message: r.message || r.name.replaceAll("-", " "), count: 0};
      group.count += r.count || 1;
      groups.set(key, group);
    }
  const list = [...groups.values()].sort((p, q) => q.count - p.count);
  if (!list.length) return h("p.soft", null, "No pass refused anything.");
  return h(
      "ul.refusals", null,
      list.slice(0, 12).map(
          (group) => h(
              "li", null, h("button.link", {click: () => show(group.message, group.pass)}, `${integer(group.count)} ×`),
              " ", h("code", null, group.pass), " ", group.message)),
      list.length > 12 && h("li.soft", null, `and ${list.length - 12} other reasons`));
}

function overviewPage(choose, showRemarks) {
  const chart = (title, note, content) =>
      content && h("section.panel", null, h("h2", null, title), note && h("p.soft", null, note), content);
  const [shares, formats] = workShares();
  const stages = report.stages.length ? `Compiled in ${sum(report.stages, (s) => s.seconds).toFixed(1)} s: ` +
          report.stages.map((s) => `${s.name} ${s.seconds.toFixed(2)} s`).join(", ") :
                                        "";
  const
      left =
          [
            layers.length > 0 &&
                chart("Where the work goes", "By kernel generator; hover for figures.", shareBars(shares, formats)),
            chart("Operations before and after", null, pairedBars(kindCounts())),
          ],
      right = [
        chart(
            measured ? "Speed of the layers" : "Work of the layers",
            measured ?
                "Size: time. The line is the best arithmetic and the best traffic that any layer reached. Click a layer for its node." :
                "Size: FLOPs. Compile with --report-profile to see speeds.",
            roofline(layers, choose)),
        chart("What was refused", null, refusals(showRemarks)),
        report.passes.length > 0 && chart("Operations after each pass", stages, passSteps(report.passes)),
      ];
  return h(
      "div.page.overview", null, cards(), legend(), h("div.panels", null, h("div", null, left), h("div", null, right)));
}
