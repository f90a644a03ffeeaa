// graph.js - a pane that shows one graph: pan, zoom, search, selection, an overview at its edge.
//
// Only what is visible is in the document, so that graphs of thousands of nodes stay fluid.

class GraphView {
  constructor(graph, title, onSelect) {
    this.graph = graph;
    this.onSelect = onSelect;
    this.elements = new Map();
    this.selected = null;
    this.linked = new Set();
    this.found = null;
    this.makeItems();
    this.layout = layoutGraph(this.items.map((item) => item.width), this.edges);
    this.scale = 1;
    this.left = this.top = 0;
    this.update = oncePerFrame(() => this.draw());
    this.makeDom(title);
  }

  // Items are inputs, nodes and outputs; edges connect them by index.
  makeItems() {
    const {graph} = this;
    this.items = [];
    this.itemOfNode = new Map();
    const source = new Map(), edges = new Map();
    const connect = (value, to) => {
      const from = source.get(value);
      if (from !== undefined && from !== to) edges.set(from * 1e6 + to, [from, to]);
    };
    const add = (item) => {
      item.width =
          Math.round(Math.min(240, Math.max(84, 22 + Math.max(7.1 * item.label.length, 5.7 * item.sub.length))));
      const room = (item.width - 18) / 5.7;
      if (item.sub.length > room) item.sub = item.sub.slice(0, room - 1) + "…";
      if (item.label.length > (item.width - 18) / 7.1)
        item.label = item.label.slice(0, (item.width - 18) / 7.1 - 1) + "…";
      return this.items.push(item) - 1;
    };
    for (const v of graph.inputs) source.set(v.id, add({label: v.name, sub: v.type, kind: "end", text: v.name}));
    for (const node of graph.nodes) {
      const label = nodeLabel(node);
      const type = node.outputs.length ? node.outputs[0].type : "";
      const index =
          add({node, label, sub: type, kind: kindOf(node.op), text: [node.op, ...node.origins, type].join(" ")});
      this.itemOfNode.set(node, index);
      for (const v of node.outputs) source.set(v.id, index);
    }
    for (const node of graph.nodes)
      for (const v of [...node.inputs, ...(node.yields || [])]) connect(v, this.itemOfNode.get(node));
    for (const v of graph.outputs) {
      const index = add({label: v.name, sub: v.type, kind: "end", text: v.name});
      connect(v.id, index);
    }
    for (const item of this.items) item.text = item.text.toLowerCase();
    this.edges = [...edges.values()];
  }

  makeDom(title) {
    this.edgePath = svg("path.edges");
    this.stubPath = svg("path.stubs");
    this.activePath = svg("path.active");
    this.nodeGroup = svg("g");
    this.world = svg("g", null, this.edgePath, this.stubPath, this.activePath, this.nodeGroup);
    this.svg = svg("svg.canvas", {tabindex: 0, role: "img", "aria-label": title}, this.world);
    this.map = h("canvas.map", {title: "The whole graph: click or drag to go there"});
    const button = (text, hint, action) => h("button", {title: hint, click: action}, text);
    this.element =
        h("section.pane", {"data-side": this.graph.side},
          h("div.pane-head", null, h("b", null, title),
            h("span.count", null, `${integer(this.graph.nodes.length)} operations`), h("span.grow"),
            button("−", "Smaller", () => this.zoom(1 / 1.4)), button("+", "Larger", () => this.zoom(1.4)),
            button("Width", "Fit the width", () => this.fitWidth()),
            button("All", "Show everything", () => this.fitAll())),
          h("div.pane-body", null, this.svg, this.map));
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.svg);
  }

  listen() {
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const step = event.deltaMode === 1 ? 30 : 1;
      if (event.ctrlKey || event.metaKey)
        this.zoom(Math.exp(-event.deltaY * step * 0.006), event.offsetX, event.offsetY);
      else
        this.pan(-event.deltaX * step, -event.deltaY * step);
    }, {passive: false});
    let drag = null;
    this.svg.addEventListener("pointerdown", (event) => (drag = {x: event.clientX, y: event.clientY, moved: false}));
    this.svg.addEventListener("pointermove", (event) => {
      if (!drag || !event.buttons) return;
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      if (!drag.moved) this.svg.setPointerCapture(event.pointerId);
      Object.assign(drag, {x: event.clientX, y: event.clientY, moved: true});
      this.pan(dx, dy);
    });
    this.svg.addEventListener("click", (event) => {
      if (drag && drag.moved) return;
      const target = event.target.closest("[data-item]");
      if (target)
        this.onSelect(this.items[target.dataset.item].node || null, this.graph);
      else
        this.onSelect(null, this.graph);
    });
    this.svg.addEventListener("keydown", (event) => {
      const move = {ArrowUp: [0, 80], ArrowDown: [0, -80], ArrowLeft: [80, 0], ArrowRight: [-80, 0]}[event.key];
      if (move)
        this.pan(...move);
      else if (event.key === "+")
        this.zoom(1.4);
      else if (event.key === "-")
        this.zoom(1 / 1.4);
      else
        return;
      event.preventDefault();
    });
    const jump = (event) => {
      if (!event.buttons) return;
      const {x, y} = this.mapScale();
      this.center(this.bounds.left + event.offsetX / x, event.offsetY / y);
    };
    this.map.addEventListener("pointerdown", jump);
    this.map.addEventListener("pointermove", jump);
  }

  resized() {
    this.width = this.svg.clientWidth;
    this.height = this.svg.clientHeight;
    if (!this.width || !this.height) return;
    if (!this.bounds) {
      const {x, width} = this.layout;
      let left = Infinity, right = -Infinity;
      for (let i = 0; i < x.length; i++) {
        left = Math.min(left, x[i] - width[i] / 2);
        right = Math.max(right, x[i] + width[i] / 2);
      }
      this.bounds = {left: left - 24, right: right + 24, bottom: this.layout.rows.length * LAYER};
      this.start();
    }
    this.drawMap();
    this.update();
    if (this.pending) this.show(this.pending);
  }

  // The first view: readable, around the first input.
  start() {
    this.scale = Math.min(1, Math.max(0.75, this.width / (this.bounds.right - this.bounds.left)));
    this.left = this.width / 2 - (this.items.length ? this.layout.x[0] : 0) * this.scale;
    this.top = 14;
    this.update();
  }
  fitWidth() {
    const middle = (this.height / 2 - this.top) / this.scale;
    this.scale = Math.min(1.2, this.width / (this.bounds.right - this.bounds.left));
    this.left = -this.bounds.left * this.scale;
    this.top = this.height / 2 - middle * this.scale;
    this.update();
  }
  fitAll() {
    this.scale = Math.min(1.2, this.width / (this.bounds.right - this.bounds.left), this.height / this.bounds.bottom);
    this.center((this.bounds.left + this.bounds.right) / 2, this.bounds.bottom / 2);
  }
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.update();
  }
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(3, Math.max(0.005, this.scale * factor));
    this.left = x - (x - this.left) * (scale / this.scale);
    this.top = y - (y - this.top) * (scale / this.scale);
    this.scale = scale;
    this.update();
  }
  center(x, y) {
    this.left = this.width / 2 - x * this.scale;
    this.top = this.height / 2 - y * this.scale;
    this.update();
  }
  // Moves to a node unless it is well in view.
  show(node) {
    this.pending = null;
    if (!this.bounds) {
      this.pending = node;  // Not laid out in the window yet.
      return;
    }
    const i = this.itemOfNode.get(node);
    if (this.scale < 0.35) this.scale = 0.8;
    const x = this.layout.x[i], y = this.layout.rank[i] * LAYER + HEIGHT / 2;
    const px = x * this.scale + this.left, py = y * this.scale + this.top;
    if (px < 60 || px > this.width - 60 || py < 40 || py > this.height - 40) this.center(x, y);
    this.update();
  }

  select(node, linked) {
    this.selected = node ? this.itemOfNode.get(node) : null;
    this.linked = new Set(linked.map((n) => this.itemOfNode.get(n)));
    if (node)
      this.show(node);
    else if (linked.length)
      this.show(linked[0]);
    this.redraw();
  }
  // Marks the nodes whose text matches; returns them.
  search(query) {
    const matches = matcher(query);
    this.found =
        query.trim() ? new Set(this.items.flatMap((item, i) => (item.node && matches(item.text) ? [i] : []))) : null;
    this.redraw();
    return this.found ? [...this.found].map((i) => this.items[i].node) : [];
  }
  redraw() {
    for (const element of this.elements.values()) element.remove();
    this.elements.clear();
    this.drawMap();
    this.update();
  }

  // ---- drawing

  draw() {
    if (!this.width || !this.bounds) return;
    const {x, rows, width, segments, up, down, stubs, rank, count} = this.layout, {scale} = this;
    this.world.setAttribute("transform", `translate(${this.left},${this.top}) scale(${scale})`);
    this.svg.classList.toggle("far", scale < 0.35);
    const seen = {left: -this.left / scale, right: (this.width - this.left) / scale};
    const firstRow = Math.max(0, Math.floor(-this.top / scale / LAYER) - 1);
    const lastRow = Math.min(rows.length - 1, Math.ceil((this.height - this.top) / scale / LAYER));

    const keep = new Set();
    const lines = [], active = [];
    for (let r = firstRow; r <= lastRow; r++) {
      const y = r * LAYER;
      for (const v of rows[r]) {
        if (x[v] + width[v] / 2 < seen.left || x[v] - width[v] / 2 > seen.right) continue;
        if (v >= count) {
          lines.push(`M${x[v].toFixed(1)} ${y}v${HEIGHT}`);
          continue;
        }
        keep.add(v);
        if (!this.elements.has(v)) this.addElement(v);
      }
      for (const [a, b] of segments[r]) {
        const x0 = x[a].toFixed(1), x1 = x[b].toFixed(1);
        if (Math.max(x[a], x[b]) < seen.left || Math.min(x[a], x[b]) > seen.right) continue;
        const y0 = y + HEIGHT, y1 = y + LAYER, middle = (y0 + y1) / 2;
        lines.push(x0 === x1 ? `M${x0} ${y0}V${y1}` : `M${x0} ${y0}C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}`);
      }
    }
    for (const [v, element] of this.elements)
      if (!keep.has(v)) {
        element.remove();
        this.elements.delete(v);
      }
    this.edgePath.setAttribute("d", lines.join(""));
    // Ends of edges that are too long to draw.
    this.stubPath.setAttribute(
        "d",
        stubs
            .flatMap(
                ([a, b]) =>
                    [rank[a] >= firstRow && rank[a] <= lastRow ?
                         `M${x[a] + width[a] / 4} ${rank[a] * LAYER + HEIGHT}v14` :
                         "",
                     rank[b] >= firstRow && rank[b] <= lastRow ? `M${x[b] + width[b] / 4} ${rank[b] * LAYER}v-14` : ""])
            .join(""));
    if (this.selected !== null) {
      const follow = (v, neighbours, upward) => {
        for (const n of neighbours[v]) {
          const [a, b] = upward ? [n, v] : [v, n], y0 = rank[a] * LAYER + HEIGHT, y1 = rank[b] * LAYER,
                    m = (y0 + y1) / 2;
          active.push(`M${x[a]} ${y0}C${x[a]} ${m} ${x[b]} ${m} ${x[b]} ${y1}`);
          if (n < count) continue;
          active.push(`M${x[n]} ${rank[n] * LAYER}v${HEIGHT}`);
          follow(n, neighbours, upward);
        }
      };
      follow(this.selected, up, true);
      follow(this.selected, down, false);
    }
    this.activePath.setAttribute("d", active.join(""));
    this.drawWindow();
  }

  addElement(v) {
    const item = this.items[v], {x, width, rank} = this.layout;
    const classes = ["item", item.kind];
    if (v === this.selected) classes.push("selected");
    if (this.linked.has(v)) classes.push("linked");
    if (item.node && item.node.parent !== undefined) classes.push("inner");
    if (this.found && !this.found.has(v)) classes.push("dim");
    if (item.node && remarksOf(item.node.origins).some((r) => r.kind === "missed" || r.kind === "failed"))
      classes.push("refused");
    const w = width[v];
    const element =
        svg("g." + classes.join("."), {"data-item": v, transform: `translate(${x[v] - w / 2},${rank[v] * LAYER})`},
            svg("title", null, item.node ? item.node.origins.join("\n") || item.node.op : item.text),
            svg("rect", {width: w, height: HEIGHT, rx: item.node ? 6 : 20}),
            item.node && svg("rect.band", {width: 4, height: HEIGHT - 12, x: 5, y: 6, rx: 2}),
            svg("text.label", {x: item.node ? 15 : w / 2, y: 18}, item.label),
            svg("text.sub", {x: item.node ? 15 : w / 2, y: 33}, item.sub),
            classes.includes("refused") && svg("circle.mark", {cx: w - 9, cy: 9, r: 3}));
    this.elements.set(v, element);
    this.nodeGroup.append(element);
  }

  mapScale() {
    return {
      x: this.map.clientWidth / (this.bounds.right - this.bounds.left),
      y: this.map.clientHeight / this.bounds.bottom
    };
  }
  // The overview: every node as a spot, squeezed into a strip.
  drawMap() {
    if (!this.bounds || !this.map.clientHeight) return;
    const ratio = window.devicePixelRatio || 1, image = document.createElement("canvas");
    image.width = this.map.width = this.map.clientWidth * ratio;
    image.height = this.map.height = this.map.clientHeight * ratio;
    const context = image.getContext("2d"), style = getComputedStyle(document.documentElement);
    context.scale(ratio, ratio);
    const {x, y} = this.mapScale();
    this.items.forEach((item, i) => {
      const on = this.found ? this.found.has(i) : true;
      const picked = i === this.selected || this.linked.has(i);
      context.globalAlpha = on || picked ? 0.9 : 0.15;
      context.fillStyle = style.getPropertyValue(picked ? "--accent" : "--" + item.kind);
      const grow = picked || (this.found && on) ? 2 : 0;
      context.fillRect(
          (this.layout.x[i] - item.width / 2 - this.bounds.left) * x - grow, this.layout.rank[i] * LAYER * y - grow,
          Math.max(2, item.width * x) + 2 * grow, Math.max(1, HEIGHT * y) + 2 * grow);
    });
    this.mapImage = image;
    this.drawWindow();
  }
  drawWindow() {
    if (!this.mapImage) return;
    const context = this.map.getContext("2d"), ratio = window.devicePixelRatio || 1, {x, y} = this.mapScale();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.map.width, this.map.height);
    context.drawImage(this.mapImage, 0, 0);
    context.scale(ratio, ratio);
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    context.lineWidth = 1.5;
    const left = Math.max(1, (-this.left / this.scale - this.bounds.left) * x), top = (-this.top / this.scale) * y;
    context.strokeRect(
        left, Math.max(1, top), Math.min(this.map.clientWidth - left - 1, (this.width / this.scale) * x),
        Math.max(4, (this.height / this.scale) * y + Math.min(0, top)));
  }
}
