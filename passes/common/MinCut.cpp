//===- MinCut.cpp - cheapest two-colouring of a graph ---------------------===//
//
// Dinic, "Algorithm for solution of a problem of maximum flow in networks with power estimation",
// 1970: blocking flows along shortest paths.
//
//===----------------------------------------------------------------------===//
#include "passes/common/MinCut.h"

#include <algorithm>

namespace nnopt {

int MinCut::addNode() {
  edges.emplace_back();
  return int(edges.size()) - 1;
}

void MinCut::addCost(int a, int b, int64_t cost) {
  if (a == b || cost == 0)
    return;
  edges[a].push_back({b, edges[b].size(), cost});
  edges[b].push_back({a, edges[a].size() - 1, 0});
}

/// Distances from the source over edges with capacity left; false when the sink is out of reach.
bool MinCut::findLevels() {
  level.assign(edges.size(), -1);
  std::vector<int> queue = {source};
  level[source] = 0;
  for (size_t i = 0; i < queue.size(); ++i)
    for (const Edge &e : edges[queue[i]])
      if (e.capacity > 0 && level[e.to] < 0) {
        level[e.to] = level[queue[i]] + 1;
        queue.push_back(e.to);
      }
  return level[sink] >= 0;
}

/// Sends up to `limit` from `node` to the sink along edges that lead one level on. Depth is bounded
/// by the length of a shortest path.
int64_t MinCut::push(int node, int64_t limit) {
  if (node == sink)
    return limit;
  for (size_t &i = next[node]; i < edges[node].size(); ++i) {
    Edge &e = edges[node][i];
    if (e.capacity <= 0 || level[e.to] != level[node] + 1)
      continue;
    int64_t sent = push(e.to, std::min(limit, e.capacity));
    if (sent == 0)
      continue;
    e.capacity -= sent;
    edges[e.to][e.reverse].capacity += sent;
    return sent;
  }
  return 0;
}

std::vector<bool> MinCut::solve() {
  while (findLevels()) {
    next.assign(edges.size(), 0);
    while (push(source, infinite) > 0) {
    }
  }
  // Nodes that can still reach the sink are false, all others true.
  std::vector<bool> colour(edges.size(), true);
  std::vector<int> queue = {sink};
  colour[sink] = false;
  for (size_t i = 0; i < queue.size(); ++i)
    for (const Edge &e : edges[queue[i]])
      if (colour[e.to] && edges[e.to][e.reverse].capacity > 0) {
        colour[e.to] = false;
        queue.push_back(e.to);
      }
  return colour;
}

} // namespace nnopt
