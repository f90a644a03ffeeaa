// compression.js - the page of compression: what was tried at each layer, what it costs, what was taken and why.

const compression = report.compression || null;

// The steps by layer, with the options that there were.
function compressionRows() {
  const rows = (compression.layers || []).map((layer, id) => ({id, ...layer, options: layer.options || []}));
  for (const row of rows) {
    const taken = row.options.find((o) => o.name === row.chosen);
    row.taken = taken || null;
    row.isChanged = row.chosen !== "float";
  }
  return rows;
}

const quality = (value) => (value === undefined || value === null ? "–" : String(+value.toPrecision(5)));
const error = (value) => (value === undefined || value === null ? "–" : value === 0 ? "0" : value.toExponential(1));

function compressionCards(rows) {
  const before = compression.float || {}, after = compression.compressed || {};
  const changed = rows.filter((row) => row.isChanged).length;
  return h(
      "div.cards", null,
      card("Layers", `${integer(changed)} of ${integer(rows.length)}`, "changed"),
      before.quality !== undefined &&
          card(compression.metric || "Quality", change(before.quality, after.quality, quality), "float → compressed"),
      before.latency_ms !== undefined &&
          card("Latency", change(before.latency_ms, after.latency_ms, time),
               after.latency_ms ? `${(before.latency_ms / after.latency_ms).toFixed(2)} × as fast; one thread` : ""),
      before.bytes !== undefined &&
          card("Artifact", change(before.bytes, after.bytes, bytes),
               after.bytes ? `${percent(after.bytes / before.bytes)} of the float one` : ""),
      compression.calibration && compression.calibration.source === "noise" &&
          card("Calibration", "noise", `weaker than data; ${integer(compression.calibration.normalized)} values normalized`),
      compression.output_error_of_all !== undefined &&
          card("Outputs", change(compression.output_error_of_all, compression.output_error, error), "squared error, relative: all layers → those taken"),
      compression.repair &&
          card("Repair", change(compression.repair.output_error_before, compression.repair.output_error_after, error),
               compression.repair.kept ? "error of the outputs" : "error of the outputs; not kept"));
}

// Quality against predicted latency or size, of every choice that was evaluated: [{quality, ms, bytes}].
function tradeOff(points, get, format, title) {
  const known = points.filter((p) => Number.isFinite(get(p)) && Number.isFinite(p.quality));
  if (known.length < 2) return null;
  const width = 520, height = 260, left = 64, bottom = 36, right = 24, top = 14;
  const range = (values) => {
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - room, high + room];
  };
  const [x0, x1] = range(known.map(get)), [y0, y1] = range(known.map((p) => p.quality));
  const px = (v) => left + ((v - x0) / (x1 - x0)) * (width - left - right);
  const py = (v) => height - bottom - ((v - y0) / (y1 - y0)) * (height - bottom - top);
  // Points that no other beats in both.
  const lower = compression.metric === "perplexity";
  const better = (a, b) => (lower ? a < b : a > b);
  const front = known.filter((p) => !known.some(
                                 (q) => q !== p && get(q) <= get(p) && !better(p.quality, q.quality) &&
                                     (get(q) < get(p) || better(q.quality, p.quality))))
                    .sort((p, q) => get(p) - get(q));
  // Three to six round values.
  const ticks = (a, b) => {
    const rough = (b - a) / 4, power = 10 ** Math.floor(Math.log10(rough)),
          step = [1, 2, 5, 10].find((s) => s * power >= rough) * power;
    return Array.from({length: Math.floor(b / step) - Math.ceil(a / step) + 1}, (_, i) => (Math.ceil(a / step) + i) * step);
  };
  return svg(
      "svg.chart", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title},
      ticks(x0, x1).map((v) => [svg("path.grid", {d: `M${px(v)} ${top}V${height - bottom}`}),
                                svg("text.axis.middle", {x: px(v), y: height - bottom + 15}, format(v))]),
      ticks(y0, y1).map((v) => [svg("path.grid", {d: `M${left} ${py(v)}H${width - right}`}),
                                svg("text.axis.end", {x: left - 6, y: py(v) + 4}, quality(v))]),
      svg("text.axis.middle.soft", {x: (left + width) / 2, y: height - 4}, title),
      front.length > 1 &&
          svg("path.roof", {d: "M" + front.map((p) => `${px(get(p)).toFixed(1)} ${py(p.quality).toFixed(1)}`).join("L")}),
      known.map((p) => svg("circle.spot." + (p.taken ? "contraction" : p.float ? "movement" : "normalization"),
                           {cx: px(get(p)), cy: py(p.quality), r: p.taken || p.float ? 7 : 4.5},
                           svg("title", null,
                               `${p.taken ? "taken" : p.float ? "float" : "tried"}: ${quality(p.quality)}, ${format(get(p))}`))));
}

function compressionPage() {
  const rows = compressionRows();
  const points = compression.points || [];
  const column = (title, key, cell, more) => ({title, key, cell: cell || key, ...more});
  const right = (title, key, format, hint) => column(title, key, (r) => format(key(r)), {right: true, hint});
  const hasCosts = rows.some((r) => r.ms !== undefined);
  const columns = [
    right("#", (r) => r.id, (v) => v, "In the order of the graph"),
    column("Layer", (r) => r.site, (r) => h("span", {title: r.site}, r.site), {className: "names wide"}),
    column("Chosen", (r) => r.chosen,
           (r) => [h("span.tag." + (r.isChanged ? "passed" : "missed"), null, r.chosen), " ",
                   r.taken && h("span.soft", null, [r.taken.technique, r.taken.variant].filter(Boolean).join(", "))]),
    right("Error", (r) => r.taken && r.taken.error, error, "Squared, of this layer's output, relative"),
    ...(hasCosts ?
            [
              right("At outputs", (r) => r.taken && r.taken.output_error, error,
                    "Squared error of the model's outputs when this layer alone is changed, relative"),
              right("Time", (r) => r.ms, time, "Of the layer in floats, by itself"),
              right("Then", (r) => r.taken && r.taken.ms, (v) => (v ? time(v) : "–"), "Of the layer as chosen, by itself"),
              right("Weights", (r) => r.weight_bytes, (v) => (v === undefined ? "–" : bytes(v))),
              right("Then", (r) => r.taken && r.taken.weight_bytes, (v) => (v === undefined || v === null ? "–" : bytes(v))),
            ] :
            []),
    column("Why not, and what else there was", (r) => r.why || "",
           (r) => [r.why, r.why && r.options.length > 0 && ". ",
                   r.options.filter((o) => o !== r.taken)
                       .map((o) => `${o.name}: error ${error(o.error)}` + (o.ms ? `, ${time(o.ms)}` : ""))
                       .join("; ")],
           {className: "why"}),
  ];
  const table = new Table(columns, rows, {id: "compressed-layers", text: (r) => [r.site, r.chosen, r.why || ""].join(" ")});
  table.refresh();
  const refused = new Map();
  for (const r of compression.refused || []) push(refused, r.reason, r.site);
  const panel = (title, note, content) =>
      content && h("section.panel", null, h("h2", null, title), note && h("p.soft", null, note), content);
  return h(
      "div.page.overview", null, compressionCards(rows),
      h("div.panels", null,
        h("div", null,
          panel("Quality and latency", "Every choice that was evaluated; latency as its layers promise. The line joins those that none beats.",
                tradeOff(points, (p) => p.ms, time, "latency, one thread"))),
        h("div", null,
          panel("Quality and size", null, tradeOff(points, (p) => p.bytes, bytes, "artifact")))),
      h("div.bar", null,
        searchBox("Filter: layer, choice, reason",
                  (query) => {
                    table.query = query;
                    table.refresh();
                  }),
        h("span", null, table.count, " layers")),
      table.element,
      refused.size > 0 &&
          panel("Not eligible, or left", null,
                h("ul.refusals", null,
                  [...refused].map(([reason, sites]) =>
                                       h("li", {title: sites.join("\n")}, `${integer(sites.length)} × `, reason)))));
}
