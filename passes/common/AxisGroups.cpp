//===- AxisGroups.cpp - what can be removed from a graph, and with what ---===//
#include "passes/common/AxisGroups.h"
#include "passes/common/Parts.h"

#include "lib/codegen/Program.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/StringExtras.h"
#include <map>

using namespace mlir;

namespace nnopt {

//===----------------------------------------------------------------------===//
// Places and sets of their indices
//===----------------------------------------------------------------------===//

unsigned AxisGroups::placeFor(Value value, Operation *user, unsigned operand, int64_t dim, int64_t size) {
  void *owner = user ? static_cast<void *>(user) : value.getAsOpaquePointer();
  auto [it, isNew] = placeNumbers.try_emplace({owner, operand, dim}, allPlaces.size());
  if (isNew) {
    unsigned first = parents.size();
    allPlaces.push_back({value, user, operand, dim, size, first});
    for (int64_t i = 0; i < size; ++i)
      parents.push_back(first + i);
    fixedAt.resize(parents.size());
    // What is 1 can only stay.
    if (size == 1)
      fix(it->second, 0, user ? user : value.getDefiningOp());
  }
  return it->second;
}

/// Numbers of operands begin at 0; axes of operations count from behind.
constexpr unsigned kValue = ~0u, kOwn = 1u << 31;

std::optional<unsigned> AxisGroups::place(Operation *op, nn::Axis axis, bool create) {
  void *owner;
  unsigned number = kValue;
  Value value;
  Operation *user = nullptr;
  if (axis.of == nn::Axis::Of::Own) {
    owner = user = op;
    number = kOwn + axis.number;
  } else {
    value = axis.of == nn::Axis::Of::Operand ? op->getOperand(axis.number) : op->getResult(axis.number);
    if (axis.of == nn::Axis::Of::Operand && isConstant(value)) {
      user = op;
      number = axis.number;
    }
    owner = user ? static_cast<void *>(user) : value.getAsOpaquePointer();
  }
  if (auto it = placeNumbers.find({owner, number, axis.dim}); it != placeNumbers.end())
    return it->second;
  if (!create)
    return std::nullopt;
  int64_t size = axis.of == nn::Axis::Of::Own ? tiesOf(op)->size(axis) : shapeOf(value)[axis.dim];
  if (ShapedType::isDynamic(size))
    return std::nullopt;
  return placeFor(value, user, number, axis.dim, size);
}

std::optional<unsigned> AxisGroups::placeOf(Operation *op, nn::Axis axis) const {
  return const_cast<AxisGroups *>(this)->place(op, axis, /*create=*/false);
}

const nn::AxisTies *AxisGroups::tiesOf(Operation *op) const {
  auto it = allTies.find(op);
  return it == allTies.end() ? nullptr : it->second.get();
}

unsigned AxisGroups::root(unsigned e) const {
  while (parents[e] != e)
    e = parents[e] = parents[parents[e]];
  return e;
}

void AxisGroups::unite(unsigned a, unsigned b) {
  a = root(a), b = root(b);
  if (a == b)
    return;
  parents[b] = a;
  if (!fixedAt[a])
    fixedAt[a] = fixedAt[b];
}

void AxisGroups::fix(unsigned place, int64_t index, Operation *by) {
  std::optional<Operation *> &at = fixedAt[root(allPlaces[place].first + index)];
  if (!at)
    at = by;
}

std::optional<Operation *> AxisGroups::fixedBy(unsigned place, int64_t index) const {
  return fixedAt[root(allPlaces[place].first + index)];
}

std::optional<std::pair<unsigned, unsigned>> AxisGroups::unitOf(unsigned place, int64_t index) const {
  auto [group, unit] = unitNumbers[root(allPlaces[place].first + index)];
  return group < 0 ? std::nullopt : std::optional(std::pair<unsigned, unsigned>(group, unit));
}

//===----------------------------------------------------------------------===//
// Ties of all operations
//===----------------------------------------------------------------------===//

void AxisGroups::fixAll(Operation *op, ValueRange values) {
  for (Value v : values) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    if (!type || isConstant(v))
      continue;
    for (auto [d, size] : llvm::enumerate(type.getShape()))
      if (!ShapedType::isDynamic(size)) {
        unsigned p = placeFor(v, nullptr, kValue, d, size);
        for (int64_t i = 0; i < size; ++i)
          fix(p, i, op);
      }
  }
}

void AxisGroups::collect(Operation *op, FuncShapes &shapes) {
  // What regions read from outside stays.
  for (Region &region : op->getRegions())
    region.walk([&](Operation *inner) {
      for (Value v : inner->getOperands())
        if (v.getParentRegion()->isProperAncestor(&region))
          fixAll(op, v);
    });
  if (isa<nn::ConstantOp>(op))
    return;
  auto dependency = dyn_cast<nn::AxisDependency>(op);
  if (!dependency) {
    fixAll(op, op->getOperands());
    fixAll(op, op->getResults());
    auto isNumbers = [](Value v) {
      return isa<RankedTensorType>(v.getType()) && isa<FloatType>(elementTypeOf(v)) && rankOf(v) > 0;
    };
    if (!op->hasTrait<OpTrait::IsTerminator>() && llvm::any_of(op->getOperands(), isNumbers))
      allBarriers.push_back({op, "it does not say how its axes depend on each other"});
    return;
  }
  auto ties = std::make_unique<nn::AxisTies>(op, shapes.ctx);
  dependency.tieAxes(*ties);
  nn::AxisTies &t = *(allTies[op] = std::move(ties));
  tied.push_back(op);
  for (const nn::AxisTies::Tie &tie : t.ties) {
    auto a = place(op, tie.a, /*create=*/true), b = place(op, tie.b, /*create=*/true);
    if (!a || !b)
      continue;
    for (auto [i, j] : llvm::enumerate(tie.indices))
      if (j >= 0)
        unite(allPlaces[*a].first + i, allPlaces[*b].first + j);
  }
  auto fixUnmentioned = [&](nn::Axis axis) {
    if (llvm::is_contained(t.mentioned, axis))
      return;
    if (auto p = place(op, axis, /*create=*/true))
      for (int64_t i = 0; i < allPlaces[*p].size; ++i)
        fix(*p, i, op);
  };
  auto fixRest = [&](ValueRange values, auto axisOf) {
    for (auto [n, v] : llvm::enumerate(values))
      if (auto type = dyn_cast<RankedTensorType>(v.getType()))
        for (int64_t d = 0; d < type.getRank(); ++d)
          fixUnmentioned(axisOf(n, d));
  };
  fixRest(op->getOperands(), nn::AxisTies::operand);
  fixRest(op->getResults(), nn::AxisTies::result);
}

/// Narrows the first factor that can be: the channels of flattened images, the heads of attention.
void AxisGroups::decide(Operation *op, const nn::AxisTies::Product &product) {
  auto whole = place(op, product.whole, /*create=*/true);
  SmallVector<unsigned> factors;
  for (nn::Axis f : product.factors)
    factors.push_back(*place(op, f, /*create=*/true));
  int chosen = -1;
  for (auto [n, f] : llvm::enumerate(factors))
    for (int64_t i = 0; chosen < 0 && i < allPlaces[f].size; ++i)
      if (!fixedBy(f, i))
        chosen = n;
  int64_t inner = 1;
  for (int n = factors.size() - 1; n >= 0; --n) {
    const Place &factor = allPlaces[factors[n]];
    for (int64_t i = 0; n != chosen && i < factor.size; ++i)
      fix(factors[n], i, op);
    for (int64_t i = 0; n == chosen && i < allPlaces[*whole].size; ++i)
      unite(allPlaces[*whole].first + i, factor.first + i / inner % factor.size);
    inner *= factor.size;
  }
  for (int64_t i = 0; chosen < 0 && i < allPlaces[*whole].size; ++i)
    fix(*whole, i, op);
}

//===----------------------------------------------------------------------===//
// Units and groups
//===----------------------------------------------------------------------===//

void AxisGroups::findUnits() {
  unitNumbers.assign(parents.size(), {-1, -1});
  llvm::DenseMap<unsigned, Unit> units;
  std::vector<unsigned> order;
  for (auto [p, place] : llvm::enumerate(allPlaces))
    for (int64_t i = 0; i < place.size; ++i) {
      unsigned r = root(place.first + i);
      if (fixedAt[r])
        continue;
      auto [it, isNew] = units.try_emplace(r);
      if (isNew)
        order.push_back(r);
      if (it->second.empty() || it->second.back().place != p)
        it->second.push_back({unsigned(p), {}});
      it->second.back().indices.push_back(i);
    }
  // Units of one group have equally many indices in the same places.
  std::map<std::vector<std::pair<unsigned, size_t>>, unsigned> known;
  llvm::StringMap<int> names;
  for (unsigned r : order) {
    const Unit &unit = units[r];
    std::vector<std::pair<unsigned, size_t>> key;
    for (const Member &m : unit)
      key.push_back({m.place, m.indices.size()});
    auto [it, isNew] = known.try_emplace(key, allGroups.size());
    if (isNew) {
      // By the layer that makes the values, else by what else has them.
      Operation *maker = nullptr;
      for (const Member &m : unit) {
        const Place &p = allPlaces[m.place];
        auto linear = dyn_cast_or_null<nn::LinearOp>(p.user);
        if (linear && p.operand == linear.getWeightMutable().getOperandNumber() && p.dim == linear.getWeightOutAxis())
          maker = !maker || linear->isBeforeInBlock(maker) ? linear : maker;
      }
      for (const Member &m : unit)
        if (const Place &p = allPlaces[m.place]; !maker)
          maker = p.user ? p.user : p.value.getDefiningOp();
      std::string name = maker ? llvm::join(nodeNames(maker->getLoc()), "+") : "";
      if (name.empty())
        name = maker ? maker->getName().stripDialect().str() : "input";
      int count = ++names[name];
      allGroups.push_back({count == 1 ? name : name + "#" + std::to_string(count), {}});
    }
    Group &group = allGroups[it->second];
    unitNumbers[r] = {int(it->second), int(group.units.size())};
    group.units.push_back(unit);
  }
}

AxisGroups::AxisGroups(func::FuncOp func, FuncShapes &shapes) : func(func) {
  Block &body = func.getBody().front();
  fixAll(nullptr, body.getArguments());
  for (Operation &op : body)
    collect(&op, shapes);
  for (Operation &op : body)
    if (const nn::AxisTies *ties = tiesOf(&op))
      for (const nn::AxisTies::Product &product : ties->products)
        decide(&op, product);
  findUnits();
}

//===----------------------------------------------------------------------===//
// Removal
//===----------------------------------------------------------------------===//

LogicalResult AxisGroups::remove(const std::vector<std::pair<unsigned, unsigned>> &units) {
  llvm::DenseMap<unsigned, llvm::BitVector> gone; // indices by place
  for (auto [group, unit] : units)
    for (const Member &m : allGroups[group].units[unit]) {
      llvm::BitVector &bits = gone[m.place];
      bits.resize(allPlaces[m.place].size);
      for (int64_t i : m.indices)
        bits.set(i);
    }
  auto keptOf = [&](Operation *op, nn::Axis axis) {
    auto p = placeOf(op, axis);
    int64_t size = axis.of == nn::Axis::Of::Own      ? tiesOf(op)->ownSizes[axis.number]
                   : axis.of == nn::Axis::Of::Result ? shapeOf(op->getResult(axis.number))[axis.dim]
                                                     : shapeOf(op->getOperand(axis.number))[axis.dim];
    SmallVector<int64_t> kept;
    auto it = p ? gone.find(*p) : gone.end();
    for (int64_t i = 0; i < size; ++i)
      if (it == gone.end() || !it->second.test(i))
        kept.push_back(i);
    return kept;
  };
  std::map<std::pair<Operation *, unsigned>, SmallVector<unsigned>> constants; // places that shrink, by use
  for (auto &[p, bits] : gone)
    if (allPlaces[p].user && allPlaces[p].value)
      constants[{allPlaces[p].user, allPlaces[p].operand}].push_back(p);
  OpBuilder b(func.getContext());
  for (Operation &op : func.getBody().front())
    if (auto dependency = dyn_cast<nn::AxisDependency>(op)) {
      b.setInsertionPoint(&op);
      // Types are those before: what is narrowed first keeps its own until all are inferred.
      dependency.narrow(b, [&](nn::Axis axis) { return keptOf(&op, axis); });
    }
  for (auto &[use, places] : constants) {
    auto [user, number] = use;
    nn::ConstantOp from = constantOf(user->getOperand(number));
    ElementsAttr value = from.getValue();
    for (unsigned p : places)
      value = pickConstant(*nn::ConstantData::get(value), allPlaces[p].dim,
                           keptOf(user, nn::AxisTies::operand(number, allPlaces[p].dim)));
    b.setInsertionPoint(user);
    user->setOperand(number, nn::ConstantOp::create(b, from.getLoc(), value));
  }
  IRRewriter rewriter(func.getContext());
  eraseDeadOps(func, rewriter);
  FuncShapes shapes(func);
  return shapes.infer();
}

} // namespace nnopt
