//===- Reduction.cpp - export rules of reductions and scans ---------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

StringRef reduceType(nn::ReduceKind kind) {
  switch (kind) {
  case nn::ReduceKind::sum:
    return "ReduceSum";
  case nn::ReduceKind::mean:
    return "ReduceMean";
  case nn::ReduceKind::max:
    return "ReduceMax";
  case nn::ReduceKind::min:
    return "ReduceMin";
  case nn::ReduceKind::prod:
    return "ReduceProd";
  case nn::ReduceKind::l1:
    return "ReduceL1";
  case nn::ReduceKind::l2:
    return "ReduceL2";
  case nn::ReduceKind::sum_square:
    return "ReduceSumSquare";
  case nn::ReduceKind::log_sum:
    return "ReduceLogSum";
  case nn::ReduceKind::log_sum_exp:
    return "ReduceLogSumExp";
  }
  llvm_unreachable("unknown kind");
}

/// Whether a reduction is over all positions of [N, C, positions...], which has operators of its own
/// that runtimes do best.
StringRef globalPool(nn::ReduceOp op) {
  int64_t rank = rankOf(op.getX());
  if (rank < 3 || !op.getAxes() || !op.getKeepDims() || !isa<FloatType>(elementTypeOf(op.getX())) ||
      int64_t(op.getAxes()->size()) != rank - 2 || (*op.getAxes())[0] != 2)
    return "";
  return op.getKind() == nn::ReduceKind::mean  ? "GlobalAveragePool"
         : op.getKind() == nn::ReduceKind::max ? "GlobalMaxPool"
                                               : "";
}

/// Axes are an attribute at first and an operand since opset 13 (sum) or 18 (the others).
void exportReduce(OpExport &e, nn::ReduceOp op) {
  if (StringRef pool = globalPool(op); !pool.empty())
    return e.finish(pool, {e.in(0)});
  int64_t since = op.getKind() == nn::ReduceKind::sum ? 13 : 18;
  Attrs attrs = {intAttr("keepdims", op.getKeepDims())};
  Names inputs = {e.in(0)};
  if (op.getDynamicAxes()) {
    e.need(since);
    inputs.push_back(e.shape(op.getDynamicAxes()));
  } else if (op.getAxes() && e.opset() >= since) {
    inputs.push_back(e.ints(*op.getAxes()));
  } else if (op.getAxes()) {
    attrs.push_back(intsAttr("axes", *op.getAxes()));
  }
  e.finish(reduceType(op.getKind()), inputs, std::move(attrs));
}

void exportArgReduce(OpExport &e, nn::ArgReduceOp op) {
  Attrs attrs = {intAttr("axis", op.getAxis()), intAttr("keepdims", op.getKeepDims())};
  if (op.getSelectLast()) {
    e.need(12);
    attrs.push_back(intAttr("select_last_index", 1));
  }
  e.finish(op.getMax() ? "ArgMax" : "ArgMin", e.allIn(), std::move(attrs));
}

template <typename OpTy> void exportRunning(OpExport &e, OpTy op, StringRef type, int64_t since) {
  e.need(since);
  Attrs attrs;
  if (op.getExclusive())
    attrs.push_back(intAttr("exclusive", 1));
  if (op.getReverse())
    attrs.push_back(intAttr("reverse", 1));
  e.finish(type, e.allIn(), std::move(attrs));
}

} // namespace

void addReductions(ExportRegistry &r) {
  r.add<nn::ReduceOp>(exportReduce);
  r.add<nn::ArgReduceOp>(exportArgReduce);
  r.add<nn::CumSumOp>([](OpExport &e, nn::CumSumOp op) { exportRunning(e, op, "CumSum", 11); });
  r.add<nn::CumProdOp>([](OpExport &e, nn::CumProdOp op) { exportRunning(e, op, "CumProd", 26); });
}

} // namespace nnopt::onnx
