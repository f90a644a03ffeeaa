// layout.js - layered drawing of a directed acyclic graph (after Sugiyama, Tagawa, Toda 1981).
//
// 1. Layers by longest path; nodes with more readers than inputs move towards their readers.
// 2. Edges over several layers get a point in each layer between; all edges of one source share them.
//    Edges over more than LONG layers are not drawn as lines: their ends get stubs.
// 3. Order within layers by barycentres of neighbours, in sweeps down and up.
// 4. Positions: the mean of the neighbours, as near as the order and the widths allow: a least-squares
//    problem with order constraints, solved exactly by pooling adjacent violators.

const LONG = 40, LAYER = 78, HEIGHT = 42, GAP = 22, POINT = 10;

function layoutGraph(widths, edges) {
  const count = widths.length;
  const next = Array.from({length: count}, () => []), previous = Array.from({length: count}, () => []);
  for (const [from, to] of edges) {
    next[from].push(to);
    previous[to].push(from);
  }

  // 1. Layers.
  const order = [], missing = previous.map((list) => list.length), rank = new Array(count).fill(0);
  for (let v = 0; v < count; v++)
    if (!missing[v]) order.push(v);
  for (let i = 0; i < order.length; i++)
    for (const to of next[order[i]]) {
      rank[to] = Math.max(rank[to], rank[order[i]] + 1);
      if (!--missing[to]) order.push(to);
    }
  for (let i = order.length - 1; i >= 0; i--) {
    const v = order[i];
    if (next[v].length && previous[v].length < next[v].length)
      rank[v] = Math.max(rank[v], Math.min(...next[v].map((to) => rank[to])) - 1);
  }

  // 2. Points. `up` and `down` connect neighbouring layers only.
  const up = Array.from({length: count}, () => []), down = Array.from({length: count}, () => []);
  const width = [...widths], stubs = [];
  for (let v = 0; v < count; v++) {
    const chain = [];  // chain[i] is the point i + 1 layers below v
    for (const to of next[v].sort((a, b) => rank[a] - rank[b])) {
      const span = rank[to] - rank[v];
      if (span > LONG) {
        stubs.push([v, to]);
        continue;
      }
      while (chain.length < span - 1) {
        const point = width.length, above = chain.length ? chain[chain.length - 1] : v;
        chain.push(point);
        width.push(POINT);
        rank.push(rank[v] + chain.length);
        up.push([above]);
        down.push([]);
        down[above].push(point);
      }
      const above = span > 1 ? chain[span - 2] : v;
      up[to].push(above);
      down[above].push(to);
    }
  }
  const rows = [];
  rank.forEach((r, v) => (rows[r] = rows[r] || []).push(v));
  for (let r = 0; r < rows.length; r++) rows[r] = rows[r] || [];

  // 3. Order. A first order by depth-first search keeps branches together.
  const place = new Array(rank.length).fill(-1);
  let visited = 0;
  const stack = [...(rows[0] || [])].reverse();
  for (let seed = 0; seed < rank.length || stack.length;) {
    const v = stack.length ? stack.pop() : seed++;
    if (place[v] >= 0) continue;
    place[v] = visited++;
    for (let i = down[v].length - 1; i >= 0; i--) stack.push(down[v][i]);
  }
  const sortRow = (row, key) => {
    row.sort((a, b) => key[a] - key[b]);
    row.forEach((v, i) => (place[v] = i));
  };
  for (const row of rows) sortRow(row, [...place]);
  const key = new Array(rank.length);
  const sweep = (row, neighbours) => {
    for (const v of row)
      key[v] = neighbours[v].length ? neighbours[v].reduce((s, n) => s + place[n], 0) / neighbours[v].length : place[v];
    sortRow(row, key);
  };
  for (let pass = 0; pass < 6; pass++) {
    for (let r = 1; r < rows.length; r++) sweep(rows[r], up);
    for (let r = rows.length - 2; r >= 0; r--) sweep(rows[r], down);
  }

  // 4. Positions.
  const x = new Array(rank.length).fill(0);
  for (const row of rows) {
    let at = 0;
    for (const v of row) {
      x[v] = at + width[v] / 2;
      at += width[v] + GAP;
    }
    for (const v of row) x[v] -= at / 2;
  }
  const isPoint = (v) => v >= count;
  const settle = (row, first, second) => {
    const blocks = [];  // of members that touch: weighted mean of what they want, less their offset
    let offset = 0;
    row.forEach((v, i) => {
      if (i) offset += (width[row[i - 1]] + width[v]) / 2 + GAP;
      // Straight long edges matter most.
      let weight = 0, want = 0;
      for (const n of [...first[v], ...second[v]]) {
        const w = isPoint(v) && isPoint(n) ? 8 : isPoint(v) || isPoint(n) ? 2 : 1;
        weight += w;
        want += w * x[n];
      }
      const target = weight ? want / weight : x[v];
      weight = weight || 0.01;
      let block = {sum: weight * (target - offset), weight, start: i};
      while (blocks.length &&
             blocks[blocks.length - 1].sum / blocks[blocks.length - 1].weight > block.sum / block.weight) {
        const last = blocks.pop();
        block = {sum: last.sum + block.sum, weight: last.weight + block.weight, start: last.start};
      }
      blocks.push(block);
    });
    offset = 0;
    let b = 0;
    row.forEach((v, i) => {
      if (i) offset += (width[row[i - 1]] + width[v]) / 2 + GAP;
      while (b + 1 < blocks.length && blocks[b + 1].start <= i) b++;
      x[v] = blocks[b].sum / blocks[b].weight + offset;
    });
  };
  const none = x.map(() => []);
  for (let pass = 0; pass < 8; pass++) {
    const both = pass >= 4;
    for (let r = 1; r < rows.length; r++) settle(rows[r], up, both ? down : none);
    for (let r = rows.length - 2; r >= 0; r--) settle(rows[r], down, both ? up : none);
  }
  // Long graphs drift sideways on the way: take the trend out.
  const middle = (rows.length - 1) / 2;
  let slope = 0, spread = 0;
  for (let v = 0; v < count; v++) {
    slope += (rank[v] - middle) * x[v];
    spread += (rank[v] - middle) ** 2;
  }
  if (spread)
    for (let v = 0; v < x.length; v++) x[v] -= (slope / spread) * (rank[v] - middle);
  // At last chains become straight: a node that alone reads another goes under it.
  const above = up.map((list, v) => list.length === 1 && down[list[0]].length === 1 ? list : [v]);
  for (let r = 1; r < rows.length; r++) settle(rows[r], above, none);

  // Segments of row r lead from row r to row r + 1: [from, to]; points pass through their row.
  const segments = rows.map((row) => row.flatMap((v) => down[v].map((to) => [v, to])));
  return {x, rank, rows, width, segments, up, down, stubs, count};
}
