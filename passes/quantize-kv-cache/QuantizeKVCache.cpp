//===- QuantizeKVCache.cpp - keys and values of earlier tokens in 8 bits ----===//
#include "passes/Passes.h"
#include "passes/common/Rewrite.h"
#include "passes/quantize/Quantize.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_QUANTIZEKVCACHE
#include "passes/Passes.h.inc"

namespace {

constexpr StringLiteral kPass = "quantize-kv-cache";

/// An output that is another value with new rows behind it.
struct Cache {
  nn::ConcatOp present;
  unsigned result; // number of the output
  BlockArgument past() { return dyn_cast<BlockArgument>(present->getOperand(0)); }
};

/// Whether a transpose leaves rows, along the last dimension, in one piece.
bool keepsRows(Operation *op) {
  auto transpose = dyn_cast<nn::TransposeOp>(op);
  return transpose && transpose.getPerm().back() == int64_t(transpose.getPerm().size()) - 1;
}

bool isKeysOrValues(OpOperand &use) {
  return isa<nn::AttentionOp>(use.getOwner()) && (use.getOperandNumber() == 1 || use.getOperandNumber() == 2);
}

bool attentionReads(Value v) {
  return llvm::any_of(v.getUses(), [](OpOperand &use) {
    return isKeysOrValues(use) || (keepsRows(use.getOwner()) && attentionReads(use.getOwner()->getResult(0)));
  });
}

/// Somebody who needs `v` otherwise than as keys or values, its size or the output; or null.
Operation *otherReader(Value v, unsigned result) {
  for (OpOperand &use : v.getUses()) {
    Operation *user = use.getOwner();
    bool isResult = user->hasTrait<OpTrait::ReturnLike>() && use.getOperandNumber() == result;
    if (isResult || isa<nn::ShapeOp>(user) || isKeysOrValues(use))
      continue;
    if (!keepsRows(user))
      return user;
    if (Operation *other = otherReader(user->getResult(0), ~0u))
      return other;
  }
  return nullptr;
}

std::string nameOf(Operation *reader) {
  return reader->hasTrait<OpTrait::ReturnLike>() ? "another output" : reader->getName().stripDialect().str();
}

/// Outputs that may be caches: an input with something behind it, or what attention reads with something behind it.
SmallVector<Cache> findCaches(Operation *finish) {
  SmallVector<Cache> caches;
  for (OpOperand &returned : finish->getOpOperands()) {
    auto concat = returned.get().getDefiningOp<nn::ConcatOp>();
    if (!concat || concat->getBlock() != finish->getBlock() || rankOf(concat.getResult()) != 4)
      continue;
    bool fromInput = isa<BlockArgument>(concat->getOperand(0));
    if (fromInput || attentionReads(concat.getResult()))
      caches.push_back({concat, returned.getOperandNumber()});
  }
  return caches;
}

/// Why a cache stays as it is; empty when it does not.
std::string whyNot(Cache &cache) {
  Value present = cache.present.getResult();
  BlockArgument past = cache.past();
  if (!past)
    return "what grows is no input of the model";
  if (cache.present->getNumOperands() != 2)
    return "it has more than two parts";
  if (!elementTypeOf(past).isF32())
    return "it is not of 32-bit floats";
  if (int64_t(cache.present.getAxis()) + 1 == rankOf(present))
    return "it grows along its last dimension, so that rows are not of tokens";
  for (OpOperand &use : past.getUses())
    if (&use != &cache.present->getOpOperand(0) && !isa<nn::ShapeOp>(use.getOwner()))
      return "its past is read by " + nameOf(use.getOwner());
  if (Operation *other = otherReader(present, cache.result))
    return "it is read by " + nameOf(other);
  return attentionReads(present) ? "" : "no attention reads it";
}

class Quantizer {
public:
  Quantizer(func::FuncOp func, FuncShapes &shapes)
      : func(func), shapes(shapes), rewriter(func.getContext()), finish(func.getBody().front().getTerminator()) {}

  void run(Cache cache);
  void finishSignature();

private:
  Value scaleInput(BlockArgument past);
  Value concat(Cache &cache, Value past, Value rows);
  void redirect(Value from, Value bytes, Value scales);

  func::FuncOp func;
  FuncShapes &shapes; // of the graph as it was
  IRRewriter rewriter;
  Operation *finish;
};

std::string nameOf(StringAttr attr, StringRef kind, unsigned number) {
  return attr ? attr.str() : (kind + Twine(number)).str();
}

/// The input for the scales of `past`, with the same dimensions but for the last one.
Value Quantizer::scaleInput(BlockArgument past) {
  unsigned number = past.getArgNumber(), last = func.getNumArguments();
  std::string name = nameOf(func.getArgAttrOfType<StringAttr>(number, "nn.name"), "input", number);
  SmallVector<Attribute> dims;
  for (nn::Dim d : shapes.dims(past))
    dims.push_back(d.isConst() ? Attribute(rewriter.getI64IntegerAttr(d.value())) : rewriter.getStringAttr(d.str()));
  func.setArgAttr(number, "nn.dims", rewriter.getArrayAttr(dims)); // those of the scales are equal to these
  dims.back() = rewriter.getI64IntegerAttr(1);
  SmallVector<int64_t> shape(shapeOf(past));
  shape.back() = 1;
  NamedAttrList attrs;
  attrs.set("nn.name", rewriter.getStringAttr(name + ".scale"));
  attrs.set("nn.dims", rewriter.getArrayAttr(dims));
  (void)func.insertArgument(last, RankedTensorType::get(shape, rewriter.getF32Type()), attrs.getDictionary(func.getContext()),
                            past.getLoc());
  return func.getArgument(last);
}

Value Quantizer::concat(Cache &cache, Value past, Value rows) {
  return nn::ConcatOp::create(rewriter, cache.present.getLoc(), untyped(elementTypeOf(past)), ValueRange{past, rows},
                              cache.present.getAxis());
}

/// Lets attention read `bytes` times `scales` where it has read `from`.
void Quantizer::redirect(Value from, Value bytes, Value scales) {
  OpBuilder::InsertionGuard guard(rewriter);
  Value floats;
  for (OpOperand &use : llvm::make_early_inc_range(from.getUses())) {
    Operation *user = use.getOwner();
    if (user == finish)
      continue;
    if (isa<nn::ShapeOp>(user)) {
      use.set(bytes);
      continue;
    }
    if (auto transpose = dyn_cast<nn::TransposeOp>(user)) {
      rewriter.setInsertionPoint(user);
      auto moved = [&](Value v) {
        return nn::TransposeOp::create(rewriter, user->getLoc(), untyped(elementTypeOf(v)), v, transpose.getPermAttr());
      };
      redirect(transpose.getResult(), moved(bytes), moved(scales));
      rewriter.eraseOp(user);
      continue;
    }
    if (!floats) {
      rewriter.setInsertionPointAfterValue(scales);
      Type f32 = rewriter.getF32Type();
      floats = nn::DequantizeOp::create(rewriter, from.getLoc(), untyped(f32), bytes, scales, Value(), TypeAttr::get(f32));
    }
    use.set(floats);
  }
}

void Quantizer::run(Cache cache) {
  BlockArgument past = cache.past();
  unsigned result = cache.result;
  Value scale = scaleInput(past);
  past.setType(RankedTensorType::get(shapeOf(past), rewriter.getI8Type()));
  rewriter.setInsertionPoint(cache.present);
  quantize::ByteRows rows = quantize::byteRows(rewriter, cache.present.getLoc(), cache.present->getOperand(1));
  Value bytes = concat(cache, past, rows.values), scales = concat(cache, scale, rows.scale);
  redirect(cache.present.getResult(), bytes, scales);
  std::string name = nameOf(func.getResultAttrOfType<StringAttr>(result, "nn.name"), "output", result);
  finish->setOperand(result, bytes);
  finish->insertOperands(finish->getNumOperands(), scales);
  NamedAttrList attrs;
  attrs.set("nn.name", rewriter.getStringAttr(name + ".scale"));
  (void)func.insertResult(func.getNumResults(), scales.getType(), attrs.getDictionary(func.getContext()));
  rewriter.eraseOp(cache.present);
}

void Quantizer::finishSignature() {
  func.setFunctionType(FunctionType::get(func.getContext(), func.getBody().front().getArgumentTypes(), finish->getOperandTypes()));
}

struct QuantizeKVCachePass : impl::QuantizeKVCacheBase<QuantizeKVCachePass> {
  using QuantizeKVCacheBase::QuantizeKVCacheBase;
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    FuncShapes shapes(func);
    if (failed(shapes.infer()))
      return signalPassFailure();
    Quantizer quantizer(func, shapes);
    int64_t count = 0;
    for (Cache &cache : findCaches(func.getBody().front().getTerminator())) {
      Location loc = cache.present.getLoc();
      std::string name = nameOf(func.getResultAttrOfType<StringAttr>(cache.result, "nn.name"), "output", cache.result);
      if (std::string why = whyNot(cache); !why.empty()) {
        missedRemark(loc, kPass, "not-quantized") << remark::reason("{0}", why);
        func.emitWarning() << "the cache '" << name << "' stays in floats: " << why;
        continue;
      }
      quantizer.run(cache);
      ++count;
      passedRemark(loc, kPass, "quantized") << remark::add("has 8 bits and a scale for each row");
    }
    numQuantized += count;
    if (!count && !required)
      return;
    if (!count) {
      func.emitError() << "there is no KV cache to be kept in 8 bits: no output is an input with new rows behind it that attention reads";
      return signalPassFailure();
    }
    quantizer.finishSignature();
    FuncShapes after(func);
    if (failed(after.infer()))
      signalPassFailure();
  }
};

} // namespace
} // namespace nnopt
