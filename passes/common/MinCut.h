//===- MinCut.h - cheapest two-colouring of a graph -------------*- C++ -*-===//
#ifndef NNOPT_PASSES_COMMON_MINCUT_H
#define NNOPT_PASSES_COMMON_MINCUT_H

#include <cstdint>
#include <vector>

namespace nnopt {

/// Gives every node one of two colours so that the sum of the costs that are paid is smallest: a
/// minimum s-t cut, found by maximum flow (Dinic's algorithm).
class MinCut {
public:
  /// Nodes whose colours are given: `source` is coloured true, `sink` false.
  static constexpr int source = 0, sink = 1;
  static constexpr int64_t infinite = int64_t(1) << 60;

  MinCut() : edges(2) {}
  int addNode();
  /// `cost` is paid when `a` is true and `b` is false.
  void addCost(int a, int b, int64_t cost);
  /// Colours of all nodes; among the cheapest colourings the one with most nodes true.
  std::vector<bool> solve();

private:
  struct Edge {
    int to;
    size_t reverse; // Index in edges[to].
    int64_t capacity;
  };
  bool findLevels();
  int64_t push(int node, int64_t limit);

  std::vector<std::vector<Edge>> edges;
  std::vector<int> level;
  std::vector<size_t> next;
};

} // namespace nnopt

#endif
