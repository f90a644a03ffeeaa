// tables.js - the tables of layers and of remarks.

// Columns: {title, key (for sorting), cell, right, hint}.
class Table {
  constructor(columns, rows, {text, open, page = Infinity, id}) {
    Object.assign(this, {columns, rows, text, open, page, query: "", filter: () => true, sort: null, up: false});
    this.texts = new Map(rows.map((row) => [row, text(row).toLowerCase()]));
    this.body = h("tbody");
    this.heads = columns.map(
        (column) =>
            h("th" + (column.right ? ".right" : ""), {
              title: column.hint,
              "aria-sort": "none",
              tabindex: 0,
              click: () => this.sortBy(column),
              keydown: (event) => event.key === "Enter" && this.sortBy(column),
            },
              column.title));
    this.more = h("button.more", {click: () => this.fill(this.shown + this.page)});
    this.count = h("span.count");
    this.element =
        h("div.table-box", null, h("table", {id}, h("thead", null, h("tr", null, this.heads)), this.body), this.more);
  }
  sortBy(column) {
    this.up = this.sort === column ? !this.up : !column.right;
    this.sort = column;
    this.heads.forEach(
        (head, i) => head.setAttribute(
            "aria-sort", this.columns[i] === column ? (this.up ? "ascending" : "descending") : "none"));
    this.refresh();
  }
  refresh() {
    const matches = matcher(this.query);
    this.visible = this.rows.filter((row) => this.filter(row) && matches(this.texts.get(row)));
    if (this.sort) {
      const {key} = this.sort, sign = this.up ? 1 : -1;
      const missing = (v) => v === null || v === undefined || Number.isNaN(v);
      this.visible.sort((a, b) => {
        const x = key(a), y = key(b);
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    this.fill(this.page);
    this.count.textContent = this.visible.length === this.rows.length ?
        integer(this.rows.length) :
        `${integer(this.visible.length)} of ${integer(this.rows.length)}`;
  }
  fill(limit) {
    this.shown = Math.min(limit, this.visible.length);
    this.body.replaceChildren(
        ...this.visible.slice(0, this.shown)
            .map(
                (row) =>
                    h("tr", {
                      "data-id": row.id,
                      tabindex: this.open ? 0 : null,
                      click: this.open && (() => this.open(row)),
                      keydown: this.open && ((event) => event.key === "Enter" && this.open(row))
                    },
                      this.columns.map(
                          (column) =>
                              h("td" + (column.right ? ".right" : "") +
                                    (column.className ? "." + column.className.replace(" ", ".") : ""),
                                null, column.cell(row))))));
    this.more.hidden = this.shown === this.visible.length;
    this.more.textContent = `Show more (${integer(this.visible.length - this.shown)} left)`;
  }
}

function searchBox(placeholder, change) {
  return h(
      "input.search",
      {type: "search", placeholder, "aria-label": placeholder, input: (event) => change(event.target.value)});
}

function layersPage(choose) {
  const totals = {
    flops: sum(layers, (l) => l.flops),
    bytes: sum(layers, (l) => l.bytes),
    ms: measured ? measured.ms : 0
  };
  const share = measured ? (l) => l.ms / totals.ms : (l) => l.flops / (totals.flops || 1);
  const largest = Math.max(1e-12, ...layers.map((l) => share(l) || 0));
  const column = (title, key, cell, more) => ({title, key, cell: cell || key, ...more});
  const right = (title, key, format, hint) => column(title, key, (l) => format(key(l)), {right: true, hint});
  const rate = (unit) => (v) => (v > 0 && Number.isFinite(v) ? si(v * 1e9, unit) : "–");
  const columns = [
    right("#", (l) => l.id, (v) => v, "Order of execution"),
    column("Operation", (l) => l.op, (l) => [h("i.dot." + kindOf(l.op)), l.op]),
    column(
        "ONNX nodes", (l) => l.nodes.join(", "),
        (l) => {
          const more = l.nodes.length > 1 && h("span.soft", null, `+${l.nodes.length - 1} `);
          return h("span", {title: l.nodes.join("\n")}, more, l.nodes[0]);
        },
        {className: "names"}),
    column("Kernel", (l) => l.kernel, (l) => h("code", {title: l.kernel}, l.kernel), {className: "kernel"}),
    column("Emitter", (l) => l.emitter, null, {hint: "Which kernel generator made it"}),
    right("FLOPs", (l) => l.flops, (v) => si(v)),
    right("Bytes", (l) => l.bytes, bytes, "Read and written"),
    right(
        "FLOP/B", (l) => (l.flops > 0 && l.bytes > 0 ? l.flops / l.bytes : null),
        (v) => (v === null ? "–" : v.toPrecision(3)), "Arithmetic intensity"),
    ...(measured ?
            [
              right("Time", (l) => l.ms, time, "Median over the runs; – where the inputs did not lead there"),
              right("Speed", (l) => (l.flops > 0 ? l.flops / l.ms / 1e6 : null), rate("FLOP/s")),
              right("Traffic", (l) => (l.bytes > 0 ? l.bytes / l.ms / 1e6 : null), rate("B/s"))
            ] :
            []),
    column(
        "Share", share,
        (l) =>
            h("span.share", {title: percent(share(l) || 0)},
              h("i", {style: `width:${((100 * (share(l) || 0)) / largest).toFixed(1)}%`}), percent(share(l) || 0)),
        {right: true, hint: measured ? "Of the time of a run" : "Of all FLOPs"}),
  ];
  const table = new Table(columns, layers, {
    id: "layers",
    text: (l) => [l.op, l.kernel, l.emitter, ...l.nodes].join(" "),
    open: (l) => l.node !== undefined && choose(graphs.after.nodes[l.node], graphs.after),
  });
  table.refresh();
  return h(
      "div.page", null,
      h("div.bar", null,
        searchBox(
            "Filter: operation, node, kernel, emitter",
            (query) => {
              table.query = query;
              table.refresh();
            }),
        h("span", null, table.count, " layers"),
        h("span.soft", null,
          `${integer(report.totals.kernels)} kernels, ${si(totals.flops, "FLOP")}, ${bytes(totals.bytes)} read and written` +
              (measured ? `, ${time(totals.ms)} a run on ${measured.threads} threads (median of ${measured.runs})` :
                          "; not measured: compile with --report-profile for times"))),
      table.element);
}

function remarksPage(choose) {
  const kinds = ["passed", "missed", "failed", "analysis"].filter((kind) => remarks.some((r) => r.kind === kind));
  const passes = [...new Set(remarks.map((r) => r.pass))];
  const on = new Set(kinds);
  let pass = "";
  const open = (remark) => {
    for (const graph of [graphs.after, graphs.before]) {
      const [node] = graph ? graph.from(remark.nodes) : [];
      if (node) return choose(node, graph);
    }
  };
  const table = new Table(
      [
        {title: "Outcome", key: (r) => r.kind, cell: (r) => h("span.tag." + r.kind, null, REMARK_TITLES[r.kind])},
        {title: "Pass", key: (r) => r.pass, cell: (r) => h("code", null, r.pass)},
        {title: "What", key: (r) => r.name, cell: (r) => r.name.replaceAll("-", " ")},
        {
          title: "Why, how much",
          key: (r) => r.message,
          cell: (r) => remarkText(r) + (r.count > 1 ? ` (${r.count} times)` : ""),
          className: "why"
        },
        {
          title: "ONNX nodes",
          key: (r) => r.nodes.join(),
          cell: (r) =>
              h("span", {title: r.nodes.join("\n")},
                r.nodes.length > 1 && h("span.soft", null, `+${r.nodes.length - 1} `), r.nodes[0]),
          className: "names wide"
        },
      ],
      remarks, {id: "remarks", text: (r) => [r.pass, r.name, r.message, ...r.nodes].join(" "), open, page: 400});
  table.filter = (r) => on.has(r.kind) && (!pass || r.pass === pass);
  const box = searchBox("Filter: node, reason", (query) => {
    table.query = query;
    table.refresh();
  });
  const chips = kinds.map(
      (kind) =>
          h("button.chip." + kind, {
            "aria-pressed": "true",
            "data-kind": kind,
            click: (event) => {
              if (!on.delete(kind)) on.add(kind);
              event.currentTarget.setAttribute("aria-pressed", on.has(kind));
              table.refresh();
            }
          },
            `${REMARK_TITLES[kind]} ${integer(remarks.filter((r) => r.kind === kind).length)}`));
  const select =
      h("select", {
        "aria-label": "Pass",
        change: (event) => {
          pass = event.target.value;
          table.refresh();
        }
      },
        h("option", {value: ""}, "All passes"), passes.map((name) => h("option", {value: name}, name)));
  table.refresh();
  const element =
      h("div.page", null, h("div.bar", null, box, select, chips, h("span", null, table.count, " remarks")),
        table.element);
  element.filterBy = (query, passName) => {
    box.value = table.query = query;
    select.value = pass = passName;
    table.refresh();
  };
  return element;
}
