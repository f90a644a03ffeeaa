// charts.js - drawings of figures, as SVG.

// Pairs of bars: [{label, before, after}].
function pairedBars(rows) {
  const most = Math.max(1, ...rows.flatMap((row) => [row.before, row.after])), step = 26, width = 520, label = 120,
        room = width - label - 84;
  return svg(
      "svg.chart", {viewBox: `0 0 ${width} ${rows.length * step + 4}`, role: "img"},
      rows.map(
          (row, i) => svg(
              "g", {transform: `translate(0,${i * step})`},
              svg("title", null, `${row.label}: ${row.before} before, ${row.after} after`),
              svg("text.axis.end", {x: label - 8, y: 16}, row.label),
              svg("rect.bar-before",
                  {x: label, y: 3, height: 8, rx: 2, width: Math.max(row.before ? 2 : 0, (row.before / most) * room)}),
              svg("rect.bar-after",
                  {x: label, y: 12, height: 8, rx: 2, width: Math.max(row.after ? 2 : 0, (row.after / most) * room)}),
              svg("text.axis", {x: label + (Math.max(row.before, row.after) / most) * room + 8, y: 16},
                  row.before === row.after ? integer(row.after) : `${integer(row.before)} → ${integer(row.after)}`))));
}

// One bar for each measure, divided by operation: [{label, total, parts: [{label, kind, value}]}].
function shareBars(rows, format) {
  const width = 520, label = 64, room = width - label - 4, step = 44;
  return svg("svg.chart", {viewBox: `0 0 ${width} ${rows.length * step}`, role: "img"}, rows.map((row, r) => {
    let at = label;
    return svg(
        "g", {transform: `translate(0,${r * step})`}, svg("text.axis.end", {x: label - 8, y: 20}, row.label),
        svg("text.axis.end", {x: label - 8, y: 33}, format[r](row.total)), row.parts.map((part) => {
          const w = (part.value / (row.total || 1)) * room, x = at;
          at += w;
          return svg(
              "g", null,
              svg("title", null, `${part.label}: ${format[r](part.value)}, ${percent(part.value / row.total)}`),
              svg("rect.slice." + part.kind, {x, y: 6, width: Math.max(0, w - 1), height: 30, rx: 2}),
              w > 12 + 6.4 * part.label.length && svg("text.on-slice", {x: x + w / 2, y: 25}, part.label));
        }));
  }));
}

// Operations after each pass.
function passSteps(passes) {
  const step = 20, width = 520, label = 150, room = width - label - 130,
        most = Math.max(1, ...passes.map((p) => p.before));
  return svg(
      "svg.chart", {viewBox: `0 0 ${width} ${passes.length * step + 2}`, role: "img"},
      passes.map(
          (p, i) => svg(
              "g", {transform: `translate(0,${i * step})`},
              svg("title", null,
                  `${p.name}: ${p.before} operations before, ${p.after} after; ${time(1000 * p.seconds)}`),
              svg("text.axis.end", {x: label - 8, y: 14}, p.name),
              svg("rect.bar-before", {x: label, y: 4, height: 12, rx: 2, width: (p.before / most) * room}),
              svg("rect.bar-after", {x: label, y: 4, height: 12, rx: 2, width: (p.after / most) * room}),
              svg("text.axis", {x: label + (p.before / most) * room + 8, y: 14},
                  integer(p.after) +
                      (p.after === p.before ? "" :
                                              ` (${p.after > p.before ? "+" : "−"}${Math.abs(p.after - p.before)})`)),
              svg("text.axis.end.soft", {x: width - 2, y: 14}, time(1000 * p.seconds)))));
}

// Layers by arithmetic intensity and, where measured, speed; otherwise by bytes and FLOPs.
function roofline(list, choose) {
  const x = (l) => (measured ? l.flops / l.bytes : l.bytes), y = (l) => (measured ? l.flops / l.ms / 1e6 : l.flops);
  const points = list.filter((l) => l.flops > 0 && l.bytes > 0 && (!measured || l.ms > 0));
  if (points.length < 2) return null;
  const width = 520, height = 300, left = 58, bottom = 36, right = 24, top = 12;
  const range = (get) => {
    const logs = points.map((l) => Math.log10(get(l)));
    return [Math.floor(Math.min(...logs)), Math.max(Math.floor(Math.min(...logs)) + 1, Math.ceil(Math.max(...logs)))];
  };
  const [x0, x1] = range(x), [y0, y1] = range(y);
  const px = (log) => left + ((log - x0) / (x1 - x0)) * (width - left - right);
  const py = (log) => height - bottom - ((log - y0) / (y1 - y0)) * (height - bottom - top);
  const ticks = (from, to) => Array.from({length: to - from + 1}, (_, i) => from + i);
  const power = (value, unit) => si(10 ** value, unit);
  const weight = (l) => (measured ? l.ms : l.flops), heaviest = Math.max(...points.map(weight));
  // What the fastest layers reach: no claim about the machine, only about this run.
  const roof = [];
  if (measured) {
    const compute = Math.log10(Math.max(...points.map(y))),
          memory = Math.log10(Math.max(...points.map((l) => l.bytes / l.ms / 1e6)));
    const ridge = Math.min(x1, Math.max(x0, compute - memory));
    const start = Math.max(x0, y0 - memory);
    roof.push(svg("path.roof", {d: `M${px(start)} ${py(start + memory)}L${px(ridge)} ${py(compute)}H${px(x1)}`}));
  }
  return svg(
      "svg.chart", {viewBox: `0 0 ${width} ${height}`, role: "img"},
      ticks(x0, x1).map(
          (t) =>
              [svg("path.grid", {d: `M${px(t)} ${top}V${height - bottom}`}),
               svg("text.axis.middle", {x: px(t), y: height - bottom + 15},
                   measured ? String(+(10 ** t).toPrecision(1)) : power(t, "B"))]),
      ticks(y0, y1).map(
          (t) =>
              [svg("path.grid", {d: `M${left} ${py(t)}H${width - right}`}),
               svg("text.axis.end", {x: left - 6, y: py(t) + 4},
                   measured ? String(+(10 ** t).toPrecision(1)) : power(t, ""))]),
      svg("text.axis.middle.soft", {x: (left + width) / 2, y: height - 4},
          measured ? "FLOP per byte" : "bytes read and written"),
      svg("text.axis.middle.soft", {transform: `translate(11,${(top + height - bottom) / 2}) rotate(-90)`},
          measured ? "GFLOP/s" : "FLOP"),
      roof,
      points.map(
          (l) =>
              svg("circle.spot." + kindOf(l.op), {
                cx: px(Math.log10(x(l))),
                cy: py(Math.log10(y(l))),
                r: 3 + 8 * Math.sqrt(weight(l) / heaviest),
                click: () => choose(l),
              },
                  svg("title", null,
                      `${l.op}: ${l.kernel}\n${si(l.flops, "FLOP")}, ${bytes(l.bytes)}` +
                          (measured ? `\n${time(l.ms)}, ${si(y(l) * 1e9, "FLOP/s")}` : "") + "\n" +
                          l.nodes.slice(0, 4).join("\n")))));
}

function legend() {
  const used = new Set(
      [...Object.values(graphs).flatMap((g) => g.nodes.map((n) => kindOf(n.op))), ...layers.map((l) => kindOf(l.op))]);
  return h(
      "p.legend", null,
      ["contraction", "normalization", "reduction", "elementwise", "movement", "control"]
          .filter((kind) => used.has(kind))
          .map((kind) => h("span", null, h("i.dot." + kind), kind === "movement" ? "data movement" : kind)));
}
