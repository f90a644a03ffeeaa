//===- AxisGroups.h - what can be removed from a graph, and with what -*- C++ -*-===//
//
// Closes the ties of all operations (dialects/nn/AxisDependency.h) over a function. What results are units, the least
// sets of indices that can go together: a channel with its rows and columns of weights, elements of biases and slices
// of values; a head of attention in q, k, v and the projection behind; a hidden neuron of a feed-forward layer. Units
// that have indices in the same places form a group (dependency groups: Fang et al. 2023, "DepGraph").
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_AXISGROUPS_H
#define NNOPT_PASSES_COMMON_AXISGROUPS_H

#include "passes/common/Rewrite.h"

namespace nnopt {

class AxisGroups {
public:
  AxisGroups(mlir::func::FuncOp func, FuncShapes &shapes);

  /// An axis: of a value, of a constant operand of one operation (every use of a constant counts by itself), or of an
  /// operation.
  struct Place {
    mlir::Value value;     // null for an axis of an operation
    mlir::Operation *user; // null for a value that is no constant
    unsigned operand;
    int64_t dim, size;
    unsigned first; // of its indices among those of all places
  };
  struct Member {
    unsigned place;
    llvm::SmallVector<int64_t> indices;
  };
  using Unit = llvm::SmallVector<Member>;
  struct Group {
    std::string name; // of the first layer that makes its values
    std::vector<Unit> units;
  };
  /// An operation that keeps all of its axes because it does not say how they depend on each other.
  struct Barrier {
    mlir::Operation *op;
    std::string reason;
  };

  llvm::ArrayRef<Group> groups() const { return allGroups; }
  llvm::ArrayRef<Barrier> barriers() const { return allBarriers; }
  llvm::ArrayRef<Place> places() const { return allPlaces; }
  /// Operations with ties, in order.
  llvm::ArrayRef<mlir::Operation *> operations() const { return tied; }
  /// The ties of an operation; null for one without the interface.
  const nn::AxisTies *tiesOf(mlir::Operation *op) const;
  /// The place of an axis of an operation, where it is static.
  std::optional<unsigned> placeOf(mlir::Operation *op, nn::Axis axis) const;
  /// What index `index` of a place belongs to: (group, unit), or nothing where it cannot be removed.
  std::optional<std::pair<unsigned, unsigned>> unitOf(unsigned place, int64_t index) const;
  /// Why an index cannot be removed: the operation that needs it (the return for outputs of the function, null for
  /// inputs); nothing where it can.
  std::optional<mlir::Operation *> fixedBy(unsigned place, int64_t index) const;

  /// Removes units from the graph: shrinks constants, adapts operations, infers types anew. At least one index of each
  /// place has to stay. Places refer to the graph as it was: what was found is of no use afterwards.
  mlir::LogicalResult remove(const std::vector<std::pair<unsigned, unsigned>> &units);

private:
  unsigned placeFor(mlir::Value value, mlir::Operation *user, unsigned operand, int64_t dim, int64_t size);
  std::optional<unsigned> place(mlir::Operation *op, nn::Axis axis, bool create);
  void collect(mlir::Operation *op, FuncShapes &shapes);
  void fixAll(mlir::Operation *op, mlir::ValueRange values);
  void fix(unsigned place, int64_t index, mlir::Operation *by);
  void decide(mlir::Operation *op, const nn::AxisTies::Product &product);
  void findUnits();
  unsigned root(unsigned element) const;
  void unite(unsigned a, unsigned b);

  mlir::func::FuncOp func;
  std::vector<Place> allPlaces;
  llvm::DenseMap<std::tuple<void *, unsigned, int64_t>, unsigned> placeNumbers;
  mutable std::vector<unsigned> parents;                 // of all indices of all places
  std::vector<std::optional<mlir::Operation *>> fixedAt; // of roots
  llvm::DenseMap<mlir::Operation *, std::unique_ptr<nn::AxisTies>> allTies;
  std::vector<mlir::Operation *> tied;
  std::vector<Group> allGroups;
  std::vector<Barrier> allBarriers;
  std::vector<std::pair<int, int>> unitNumbers; // of roots
};

} // namespace nnopt

#endif
