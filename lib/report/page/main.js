// main.js - the pages and what connects them.

const pages = {};
const views = {};
let current = null;

// ---- the graph page

function graphPage() {
  const side = h("aside.details", {id: "details", "aria-live": "polite"});
  const panes = h("div.panes");
  const count = h("span.count");
  let hits = [], hit = -1;
  const empty = () => side.replaceChildren(
      h("p.soft", null, "Click an operation to see where it came from, what was done to it and what was refused."),
      h("p.soft", null, "Drag or scroll to move, ctrl + scroll to zoom."), legend(),
      h("p.soft", null, h("i.dot.refused-mark"), " a pass refused something here"));

  const choose = (node, graph) => {
    const other = node && graph ? graphs[graph.side === "before" ? "after" : "before"] : null;
    const relatives = node && other ? other.from(node.origins) : [];
    for (const view of Object.values(views))
      if (view.graph === graph)
        view.select(node, []);
      else
        view.select(null, relatives);
    if (node)
      side.replaceChildren(nodeDetails(node, graph, (n, g) => choose(n, g)));
    else
      empty();
  };
  for (const [name, title] of [["before", "As imported"], ["after", "Optimized"]])
    if (graphs[name]) {
      views[name] = new GraphView(graphs[name], title, choose);
      panes.append(views[name].element);
    }
  const step = () => {
    if (!hits.length) return;
    hit = (hit + 1) % hits.length;
    choose(...hits[hit]);
    count.textContent = `${hit + 1} of ${hits.length}`;
  };
  const search = h("input.search", {
    type: "search",
    placeholder: "Find: operation, ONNX node, type ( / )",
    "aria-label": "Find in the graphs",
    id: "find",
    input: (event) => {
      hits = Object.values(views)
                 .filter((v) => !v.element.hidden)
                 .flatMap((v) => v.search(event.target.value).map((node) => [node, v.graph]));
      hit = -1;
      count.textContent = event.target.value.trim() ? `${hits.length} found` : "";
    },
    keydown: (event) => event.key === "Enter" && step()
  });
  const show = (which) => {
    for (const [name, view] of Object.entries(views)) view.element.hidden = which !== "both" && name !== which;
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.show === which);
  };
  const buttons = [["before", "As imported"], ["after", "Optimized"], ["both", "Side by side"]].map(
      ([which, text]) => h("button.chip", {"data-show": which, click: () => show(which)}, text));
  show("both");
  empty();
  const element =
      h("div.page.graph", null, h("div.bar", null, search, count, h("span.grow"), buttons),
        h("div.split", null, panes, side));
  element.choose = (node, graph) => {
    if (views[graph.side].element.hidden) show("both");
    choose(node, graph);
  };
  return element;
}

// ---- pages

function open(name) {
  if (!PAGES[name]) name = "overview";
  if (!pages[name]) {
    pages[name] = PAGES[name].make();
    document.getElementById("main").append(pages[name]);
  }
  current = name;
  for (const [other, page] of Object.entries(pages)) page.hidden = other !== name;
  for (const tab of document.querySelectorAll("#tabs a")) tab.setAttribute("aria-selected", tab.dataset.page === name);
  if (location.hash.slice(1) !== name) history.replaceState(null, "", "#" + name);
}
const chooseNode = (node, graph) => {
  open("graph");
  pages.graph.choose(node, graph);
};
const PAGES = {
  overview: {
    title: "Overview",
    make: () => overviewPage(
        (l) => l.node !== undefined && chooseNode(graphs.after.nodes[l.node], graphs.after),
        (query, pass) => {
          open("remarks");
          pages.remarks.filterBy(query, pass);
        })
  },
  graph: {title: "Graph", make: graphPage},
  ...(compression && {compression: {title: "Compression", make: compressionPage}}),
  layers: {title: "Layers", count: layers.length, make: () => layersPage(chooseNode)},
  remarks: {title: "Remarks", count: remarks.length, make: () => remarksPage(chooseNode)},
};

// ---- the frame

document.title = `${report.model.file} – nnopt report`;
document.getElementById("model").textContent = report.model.file;
document.getElementById("facts").append(
    ...[report.target && report.target.name,
        `--opt=${report.options.opt}`,
        Object.entries(report.sizes).map(([name, size]) => `${name}=${size}`).join(", "),
        report.model.producer && `from ${report.model.producer}`,
        `nnopt ${report.nnopt.version}, LLVM ${report.nnopt.llvm}`,
].filter(Boolean)
        .map((text) => h("span", null, text)));
document.getElementById("tabs").append(...Object.entries(PAGES).map(
    ([name, page]) =>
        h("a", {href: "#" + name, role: "tab", "data-page": name}, page.title,
          page.count !== undefined && h("span.badge", null, integer(page.count)))));
addEventListener("hashchange", () => open(location.hash.slice(1)));
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT/.test(event.target.tagName)) {
    const box = pages[current].querySelector(".search");
    if (box) {
      box.focus();
      event.preventDefault();
    }
  } else if (event.key === "Escape" && current === "graph" && event.target.tagName !== "INPUT") {
    pages.graph.choose(null, Object.values(graphs)[0]);
  }
});
const redrawViews = () => Object.values(views).forEach((view) => view.redraw());
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement, dark = getComputedStyle(root).colorScheme === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  redrawViews();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawViews);
open(location.hash.slice(1));
