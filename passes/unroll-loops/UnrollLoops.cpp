//===- UnrollLoops.cpp - small loops are written out ----------------------===//
#include "passes/Passes.h"
#include "passes/common/Rewrite.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_UNROLLLOOPS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "unroll-loops";

struct UnrollLoopsPass : impl::UnrollLoopsBase<UnrollLoopsPass> {
  using UnrollLoopsBase::UnrollLoopsBase;

  void runOnOperation() override {
    bool has = getOperation().walk([](nn::LoopOp) { return WalkResult::interrupt(); }).wasInterrupted();
    // Copies of an outer body hold copies of its inner loops, whose trip counts may be known now: again.
    while (has && unrollAll())
      ;
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }

private:
  bool unrollAll() {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure(), false;
    // Without the listener: the shapes of all that follows a loop may change, and are computed again.
    IRRewriter rewriter(&getContext());
    SmallVector<nn::LoopOp> loops;
    getOperation().walk([&](nn::LoopOp op) { loops.push_back(op); });
    SmallVector<std::pair<Location, std::string>> refused;
    for (nn::LoopOp loop : loops) {
      int64_t trips = 0;
      std::string why = whyNot(loop, shapes, trips);
      if (!why.empty()) {
        refused.push_back({loop.getLoc(), why});
        continue;
      }
      passedRemark(loop.getLoc(), kPass, "unrolled") << remark::metric("Iterations", trips);
      unroll(loop, trips, rewriter);
      ++numUnrolled;
      return true;
    }
    for (auto &[loc, why] : refused)
      missedRemark(loc, kPass, "kept") << remark::reason("{0}", why);
    return false;
  }

  std::string whyNot(nn::LoopOp loop, FuncShapes &shapes, int64_t &trips);
  static void unroll(nn::LoopOp loop, int64_t trips, IRRewriter &rewriter);
};

std::string UnrollLoopsPass::whyNot(nn::LoopOp loop, FuncShapes &shapes, int64_t &trips) {
  auto number = [&](Value v) -> std::optional<int64_t> {
    auto content = v ? shapes.ctx.constantContent(v) : std::nullopt;
    return content && content->size() == 1 ? std::optional<int64_t>(content->front()) : std::nullopt;
  };
  Block &body = loop.getBody().front();
  auto yield = cast<nn::YieldOp>(body.getTerminator());
  auto count = number(loop.getTripCount());
  if (!count)
    return "the number of iterations is not known";
  trips = std::max<int64_t>(0, *count);
  bool starts = !loop.getCondition() || number(loop.getCondition()) == 1;
  Value again = yield.getValues().front();
  bool goesOn = (again == body.getArgument(1) && starts) || number(again) == 1 || trips <= 1;
  if (number(loop.getCondition()) == 0)
    trips = 0;
  else if (!starts || !goesOn)
    return "a condition may end it";
  int64_t ops = 0;
  bool draws = false;
  loop.getBody().walk([&](Operation *op) {
    ++ops;
    draws |= isa<nn::RandomKeyOp>(op);
  });
  if (draws)
    return "it draws random numbers";
  if (trips > maxTrips || trips * ops > maxOps)
    return llvm::formatv("{0} iterations of {1} operations are too many", trips, ops).str();
  unsigned carried = loop.getCarried().size();
  if (loop.getNumResults() > carried && trips == 0)
    return "a scan output of no iteration has no elements";
  for (Value result : loop.getResults().drop_front(carried))
    if (!isa<RankedTensorType>(result.getType()))
      return "a scan output is no tensor";
  return "";
}

void UnrollLoopsPass::unroll(nn::LoopOp loop, int64_t trips, IRRewriter &rewriter) {
  Location loc = loop.getLoc();
  Block &body = loop.getBody().front();
  rewriter.setInsertionPoint(loop);
  SmallVector<Value> carried(loop.getCarried());
  SmallVector<SmallVector<Value>> scanned(loop.getNumResults() - carried.size());
  Type i1 = rewriter.getI1Type();
  for (int64_t i = 0; i < trips; ++i) {
    IRMapping map;
    map.map(body.getArgument(0), nn::ConstantOp::create(rewriter, loc, nn::makeInts(rewriter.getContext(), {}, {i})).getResult());
    map.map(body.getArgument(1), nn::ConstantOp::create(rewriter, loc, nn::makeConstant(RankedTensorType::get({}, i1), {1}, "true")).getResult());
    for (auto [argument, value] : llvm::zip(body.getArguments().drop_front(2), carried))
      map.map(argument, value);
    for (Operation &op : body.without_terminator())
      rewriter.clone(op, map);
    auto values = cast<nn::YieldOp>(body.getTerminator()).getValues().drop_front();
    for (auto [k, value] : llvm::enumerate(carried))
      value = map.lookupOrDefault(values[k]);
    for (auto [k, list] : llvm::enumerate(scanned)) {
      Value v = map.lookupOrDefault(values[carried.size() + k]);
      SmallVector<int64_t> shape = {1};
      shape.append(shapeOf(v).begin(), shapeOf(v).end());
      list.push_back(nn::UnsqueezeOp::create(rewriter, loc, RankedTensorType::get(shape, elementTypeOf(v)), v,
                                             rewriter.getDenseI64ArrayAttr({0})));
    }
  }
  SmallVector<Value> results = carried;
  for (auto [k, list] : llvm::enumerate(scanned))
    results.push_back(nn::ConcatOp::create(rewriter, loc, loop.getResult(carried.size() + k).getType(), list,
                                           rewriter.getI64IntegerAttr(0)));
  rewriter.replaceOp(loop, results);
}

} // namespace
} // namespace nnopt
