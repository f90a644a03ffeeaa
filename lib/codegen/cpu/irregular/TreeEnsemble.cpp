//===- TreeEnsemble.cpp - nn.tree_ensemble --------------------------------===//
//
// One task is one row: its trees are walked one after the other, and the leaves' weights are added to
// the row of the result. The nodes are four 32-bit numbers each, so that a step reads one cache line.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

class TreeEmitter {
public:
  TreeEmitter(nn::TreeEnsembleOp op, Lowering &lowering) : op(op), k(lowering, op, "tree_ensemble"), lowering(lowering) {}

  LogicalResult emit() {
    x = k.read(op.getX());
    nodes = k.read(op.getNodes());
    thresholds = k.read(op.getThresholds());
    roots = k.read(op.getRoots());
    leafBegin = k.read(op.getLeafBegin());
    targets = k.read(op.getTargets());
    weights = k.read(op.getWeights());
    y = k.write(op.getResult());
    Ix features = k.dim(lowering.dims(op.getX())[1]), columns = k.c(op.getNumTargets());
    Ix trees = k.dim(lowering.dims(op.getRoots())[0]);
    auto kind = op.getAggregate();
    double limit = std::numeric_limits<double>::infinity();
    double start = kind == nn::TreeAggregate::min ? limit : kind == nn::TreeAggregate::max ? -limit : 0;
    forTasks(k, [&](Ix row) {
      Ix in = row * features, out = row * columns;
      k.loop(k.c(0), columns, 1, [&](Ix j) { k.store(y, out + j, k.constant(y.valueType, start)); });
      k.loop(k.c(0), trees, 1, [&](Ix tree) { addLeaf(walk(in, tree), out); });
      k.loop(k.c(0), columns, 1, [&](Ix j) { finish(out + j, trees, start); });
    });
    k.grain = 4;
    lowering.launch(k, lowering.dims(op.getX())[0]);
    return success();
  }

private:
  Ix integer(const Buffer &table, Ix at) { return k.toIndex(k.load(table, at)); }

  /// The leaf that the row at `in` reaches.
  Ix walk(Ix in, Ix tree) {
    auto end = k.whileLoop(
        {integer(roots, tree)}, [&](ValueRange state) { return Ix(&k, state[0]) >= k.c(0); },
        [&](ValueRange state) {
          Ix node(&k, state[0]);
          Ix record = node * 4;
          Value v = k.load(x, in + integer(nodes, record)), t = k.load(thresholds, node);
          // Which of the bits of a node's last field the comparison sets.
          Ix relation = k.selectIx(greater(k, t, v, false), k.c(1),
                                   k.selectIx(equal(k, v, t), k.c(2),
                                              k.selectIx(greater(k, v, t, false), k.c(4), k.c(8))));
          Value bits = arith::AndIOp::create(k.b, k.loc, relation, integer(nodes, record + 3));
          Value yes = lnot(k, Ix(&k, bits) == 0);
          return SmallVector<Value>{k.selectIx(yes, integer(nodes, record + 1), integer(nodes, record + 2))};
        });
    return k.c(-1) - Ix(&k, end[0]);
  }

  void addLeaf(Ix leaf, Ix out) {
    k.loop(integer(leafBegin, leaf), integer(leafBegin, leaf + 1), 1, [&](Ix i) {
      Ix at = out + integer(targets, i);
      Value old = k.load(y, at), weight = k.load(weights, i);
      switch (op.getAggregate()) {
      case nn::TreeAggregate::min: k.store(y, at, minElements(k, old, weight, false)); break;
      case nn::TreeAggregate::max: k.store(y, at, maxElements(k, old, weight, false)); break;
      default: k.store(y, at, addElements(k, old, weight));
      }
    });
  }

  /// Means, and 0 where there was no leaf.
  void finish(Ix at, Ix trees, double start) {
    if (op.getAggregate() == nn::TreeAggregate::average) {
      Value count = arith::SIToFPOp::create(k.b, k.loc, y.valueType, trees);
      k.store(y, at, arith::DivFOp::create(k.b, k.loc, k.load(y, at), count));
    } else if (start != 0) {
      Value v = k.load(y, at);
      k.store(y, at, k.select(equal(k, v, k.constant(y.valueType, start)), k.constant(y.valueType, 0), v));
    }
  }

  nn::TreeEnsembleOp op;
  Kernel k;
  Lowering &lowering;
  Buffer x, nodes, thresholds, roots, leafBegin, targets, weights, y;
};

LogicalResult emitTrees(Operation *op, Lowering &lowering) {
  return TreeEmitter(cast<nn::TreeEnsembleOp>(op), lowering).emit();
}

RegisterEmitter trees({"nn.tree_ensemble", "tree-ensemble", 0, nullptr, emitTrees});

} // namespace
} // namespace nnopt::cpu
