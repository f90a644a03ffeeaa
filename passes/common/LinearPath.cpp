//===- LinearPath.cpp - chains of linear operations -----------------------===//
#include "passes/common/LinearPath.h"

#include <numeric>

using namespace mlir;

namespace nnopt {

std::optional<size_t> LinearPath::find(Value v) const {
  for (size_t n = 0; n <= steps.size(); ++n)
    if (value(n) == v)
      return n;
  return std::nullopt;
}

/// Whether nobody but the step's own operations uses x (a sum of affine maps reads it twice).
static bool isOnlyReadBy(Value x, const LinearStep &step) {
  return llvm::all_of(x.getUsers(),
                      [&](Operation *user) { return llvm::is_contained(step.ops, user); });
}

LinearPath followPath(Value end, bool endIsFree, size_t maxSteps) {
  LinearPath path;
  path.end = end;
  Operation *last = end.getDefiningOp();
  if (!endIsFree && !end.hasOneUse()) {
    path.stop = last;
    path.why = "its result has other users";
    return path;
  }
  Value v = end;
  while (path.steps.size() < maxSteps) {
    std::string why;
    std::optional<LinearStep> step;
    if (Operation *op = v.getDefiningOp(); op && op->getBlock() != last->getBlock())
      why = "it is outside of this branch or loop";
    else
      step = readLinearStep(v, why);
    if (!step) {
      path.stop = v.getDefiningOp();
      path.why = why;
      return path;
    }
    path.steps.push_back(*step);
    v = step->x;
    if (!isOnlyReadBy(v, *step)) {
      path.stop = v.getDefiningOp();
      path.why = "its result has other users";
      return path;
    }
  }
  return path;
}

std::optional<unsigned> spatialRankOf(ArrayRef<const LinearStep *> steps) {
  std::optional<unsigned> rank;
  for (const LinearStep *step : steps) {
    if (step->kind == LinearStep::Affine)
      continue;
    unsigned own =
        step->kind == LinearStep::Pad ? step->padsBegin.size() : step->geometry.spatialRank();
    if (rank && *rank != own)
      return std::nullopt;
    rank = own;
  }
  return rank;
}

/// Dimension of the channels of a form of that rank.
static int64_t channelAxis(Value v, unsigned spatialRank) {
  return spatialRank == 0 ? rankOf(v) - 1 : 1;
}

std::string LinearPath::geometry(size_t begin, size_t end, unsigned spatialRank,
                                 LinearGeometry &form) const {
  Value x = value(end);
  int64_t axis = channelAxis(x, spatialRank);
  if ((spatialRank && rankOf(x) != (int64_t)spatialRank + 2) ||
      ShapedType::isDynamic(shapeOf(x)[axis]))
    return "its number of channels is not static";
  form = LinearGeometry::identity(shapeOf(x)[axis], spatialRank);
  for (size_t n = end; n-- > begin;) {
    const LinearStep &step = steps[n];
    if (step.kind == LinearStep::Affine && step.map.axis != ChannelMap::kNumbers &&
        step.map.axis != axis)
      return "an affine map between is not one of channels";
    if (std::string why = applyGeometry(form, step); !why.empty())
      return why;
  }
  return "";
}

std::string LinearPath::form(size_t begin, size_t end, unsigned spatialRank,
                             LinearForm &form) const {
  LinearGeometry checked;
  if (std::string why = geometry(begin, end, spatialRank, checked); !why.empty())
    return why;
  form =
      LinearForm::identity(shapeOf(value(end))[channelAxis(value(end), spatialRank)], spatialRank);
  for (size_t n = end; n-- > begin;)
    if (std::string why = applyStep(form, steps[n]); !why.empty())
      return why;
  return "";
}

double LinearPath::cost(size_t begin, size_t end) const {
  double cost = 0, positions = 1;
  for (size_t n = begin; n < end; ++n) {
    cost += positions * steps[n].cost;
    for (int64_t s : steps[n].geometry.strides)
      positions *= s;
  }
  return cost;
}

bool LinearPath::hasLinear(size_t begin, size_t end) const {
  for (size_t n = begin; n < end; ++n)
    if (steps[n].kind == LinearStep::Linear)
      return true;
  return false;
}

void eraseUnused(Operation *op, RewriterBase &rewriter) {
  SmallVector<Operation *> work = {op};
  while (!work.empty()) {
    Operation *dead = work.pop_back_val();
    if (!isOpTriviallyDead(dead))
      continue;
    for (Value v : dead->getOperands())
      if (Operation *producer = v.getDefiningOp(); producer && !llvm::is_contained(work, producer))
        work.push_back(producer);
    llvm::erase(work, dead);
    rewriter.eraseOp(dead);
  }
}

} // namespace nnopt
