//===- MergeSharedInput.cpp - contractions of one value become one --------===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_MERGESHAREDINPUT
#include "passes/Passes.h.inc"

namespace {

constexpr StringLiteral kPass = "merge-shared-input";

nn::LinearOp linear(Operation *op) { return cast<nn::LinearOp>(op); }

/// Why a contraction cannot be merged with any other; empty when it can.
std::string whyNotMember(Operation *op) {
  Type type = elementTypeOf(op->getResult(0));
  if (!type.isF32() && !type.isF64())
    return "the element type is not f32 or f64";
  if (!linear(op).getEpilogue().empty())
    return "it has an epilogue";
  Value w = linear(op).getWeight();
  if (!nn::ConstantData::get(w))
    return "its weights are not constant";
  if (!w.hasOneUse())
    return "its weights are used elsewhere too";
  if (Value bias = linear(op).getBias(); bias && !isConstant(bias))
    return "its bias is not constant";
  if (auto matmul = dyn_cast<nn::MatMulOp>(op); matmul && (rankOf(w) != 2 || rankOf(matmul.getA()) < 2 || matmul.getTransposeA()))
    return "it is not a product of rows with a matrix";
  if (auto conv = dyn_cast<nn::ConvOp>(op); conv && conv.getGroup() != 1)
    return "it has groups";
  return "";
}

/// Whether two contractions of one value differ in weights and bias only.
bool agree(Operation *a, Operation *b) {
  if (a->getName() != b->getName() || a->getBlock() != b->getBlock())
    return false;
  auto strip = [](Operation *op) {
    NamedAttrList attributes(op->getDiscardableAttrDictionary());
    if (auto conv = dyn_cast<nn::ConvOp>(op)) {
      attributes.set("strides", conv.getStridesAttr());
      attributes.set("pads", conv.getPadsAttr());
      attributes.set("dilations", conv.getDilationsAttr());
      attributes.set("channels_last", conv.getChannelsLastAttr() ? Attribute(conv.getChannelsLastAttr())
                                                                 : BoolAttr::get(op->getContext(), false));
    }
    return attributes.getDictionary(op->getContext());
  };
  if (strip(a) != strip(b))
    return false;
  return isa<nn::MatMulOp>(a) ||
         shapeOf(linear(a).getWeight()).drop_front() == shapeOf(linear(b).getWeight()).drop_front();
}

//===----------------------------------------------------------------------===//
// The cost rule: who takes the parts
//===----------------------------------------------------------------------===//

/// What reads `v` otherwise than in place; empty when nothing does.
std::string readsByCopy(Value v, bool moved) {
  for (OpOperand &use : v.getUses()) {
    Operation *user = use.getOwner();
    if (isa<nn::TransposeOp, nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::SliceOp, nn::SplitOp>(user)) {
      if (use.getOperandNumber() != 0)
        return "it is a shape";
      for (Value result : user->getResults())
        if (std::string why = readsByCopy(result, moved || isa<nn::TransposeOp, nn::SliceOp>(user)); !why.empty())
          return why;
      continue;
    }
    auto concat = dyn_cast<nn::ConcatOp>(user);
    bool inPlace = (isa<nn::AttentionOp>(user) && use.getOperandNumber() < 3) || (isElementwise(user) && moved) ||
                   (isa<nn::RotaryOp>(user) && use.getOperandNumber() == 0) ||
                   (concat && concat.getAxis() > 0);
    if (!inPlace)
      return user->hasTrait<OpTrait::IsTerminator>() ? "it is an output" : user->getName().getStringRef().str();
  }
  return v.use_empty() ? "nothing" : "";
}

/// A part on its way into a concatenation: the contraction, or one activation behind it.
struct ConcatPart {
  nn::ConcatOp concat;
  unsigned position;
  Operation *activation; // or null
};

std::optional<ConcatPart> concatPartOf(Operation *op) {
  Value v = op->getResult(0);
  if (!v.hasOneUse())
    return std::nullopt;
  ConcatPart part{nullptr, v.use_begin()->getOperandNumber(), nullptr};
  Operation *user = *v.user_begin();
  if (isa<nn::Elementwise>(user) && user->getNumOperands() == 1 && user->getResult(0).hasOneUse()) {
    part.activation = user;
    OpOperand &use = *user->getResult(0).use_begin();
    part.position = use.getOperandNumber();
    user = use.getOwner();
  }
  part.concat = dyn_cast<nn::ConcatOp>(user);
  if (!part.concat || part.concat.getAxis() != linear(op).getOutChannelAxis())
    return std::nullopt;
  return part;
}

bool sameActivation(const ConcatPart &a, const ConcatPart &b) {
  if (!a.activation || !b.activation)
    return a.activation == b.activation;
  return a.activation->getName() == b.activation->getName() &&
         a.activation->getAttrDictionary() == b.activation->getAttrDictionary() &&
         elementTypeOf(a.activation->getResult(0)) == elementTypeOf(b.activation->getResult(0));
}

//===----------------------------------------------------------------------===//
// Merging
//===----------------------------------------------------------------------===//

/// Weights of all operations, one after another along the output channels.
Value concatWeights(RewriterBase &rewriter, ArrayRef<Operation *> ops, Location loc) {
  auto first = dyn_cast<nn::MatMulOp>(ops.front());
  int64_t bytes = nn::elementBytes(elementTypeOf(ops.front()->getResult(0))), channels = 0;
  std::vector<char> data;
  for (Operation *op : ops) {
    Value w = linear(op).getWeight();
    nn::ConstantData values = *nn::ConstantData::get(w);
    channels += linear(op).getOutChannels();
    auto matmul = dyn_cast<nn::MatMulOp>(op);
    // A matrix product is given its weights as [outputs, inputs].
    if (matmul && !matmul.getTransposeB()) {
      std::vector<char> rows = transposeBytes(values.bytes(), shapeOf(w), {1, 0}, bytes);
      data.insert(data.end(), rows.begin(), rows.end());
    } else {
      data.insert(data.end(), values.bytes().begin(), values.bytes().end());
    }
  }
  SmallVector<int64_t> shape(shapeOf(linear(ops.front()).getWeight()));
  if (first)
    shape = {channels, shape[first.getTransposeB() ? 1 : 0]};
  shape[0] = channels;
  auto type = RankedTensorType::get(shape, elementTypeOf(ops.front()->getResult(0)));
  return nn::ConstantOp::create(rewriter, loc, nn::makeConstant(type, data, "merged_weight"));
}

Value concatBiases(RewriterBase &rewriter, ArrayRef<Operation *> ops, Location loc) {
  std::vector<double> all;
  bool any = false;
  for (Operation *op : ops) {
    std::vector<double> values = biasOf(linear(op));
    any |= bool(linear(op).getBias());
    all.insert(all.end(), values.begin(), values.end());
  }
  Type type = elementTypeOf(ops.front()->getResult(0));
  return any ? makeNumbersOp(rewriter, loc, type, {int64_t(all.size())}, all, "merged_bias") : Value();
}

Value mergedResult(RewriterBase &rewriter, ArrayRef<Operation *> ops, Location loc) {
  Operation *first = ops.front();
  rewriter.setInsertionPoint(first);
  Value w = concatWeights(rewriter, ops, loc), bias = concatBiases(rewriter, ops, loc);
  if (auto matmul = dyn_cast<nn::MatMulOp>(first))
    return nn::MatMulOp::create(rewriter, loc, matmul.getType(), matmul.getA(), w, bias, Value(), Value(),
                                ValueRange(), UnitAttr(), rewriter.getUnitAttr())
        .getResult();
  return linear(first).cloneWith(rewriter, loc, linear(first).getActivation(), w, bias)->getResult(0);
}

class Merger {
public:
  Merger(IRRewriter &rewriter) : rewriter(rewriter) {}
  /// Merges what pays of contractions of one value that agree. Returns how many were merged into another.
  int64_t run(ArrayRef<Operation *> ops);

private:
  int64_t mergeInConcats(ArrayRef<Operation *> ops, DenseSet<Operation *> &done);
  void mergeNeighbours(ArrayRef<std::pair<Operation *, ConcatPart>> parts);
  void mergeBySplit(ArrayRef<Operation *> ops);

  IRRewriter &rewriter;
};

void Merger::mergeNeighbours(ArrayRef<std::pair<Operation *, ConcatPart>> parts) {
  // In the order of the concatenation; the earliest in the block is where the merged one stands.
  SmallVector<Operation *> ops;
  Operation *earliest = parts.front().first;
  for (auto &[op, part] : parts) {
    ops.push_back(op);
    if (op->isBeforeInBlock(earliest))
      earliest = op;
  }
  Location loc = fusedLoc(ops);
  rewriter.moveOpBefore(ops.front(), earliest);
  Value merged = mergedResult(rewriter, ops, loc);
  const ConcatPart &first = parts.front().second;
  if (first.activation) {
    rewriter.setInsertionPointAfter(merged.getDefiningOp());
    Operation *activation = rewriter.clone(*first.activation);
    activation->setOperand(0, merged);
    merged = activation->getResult(0);
  }
  nn::ConcatOp concat = first.concat;
  SmallVector<Value> inputs(concat.getInputs());
  inputs.erase(inputs.begin() + first.position + 1, inputs.begin() + first.position + parts.size());
  inputs[first.position] = merged;
  rewriter.modifyOpInPlace(concat, [&] { concat.getInputsMutable().assign(inputs); });
  for (auto &[op, part] : parts) {
    if (part.activation)
      rewriter.eraseOp(part.activation);
    rewriter.eraseOp(op);
  }
  if (inputs.size() == 1)
    rewriter.replaceOp(concat, merged);
  passedRemark(loc, kPass, "merged") << remark::metric("Parts", (int64_t)parts.size())
                                     << remark::add("neighbours in a concatenation");
}

int64_t Merger::mergeInConcats(ArrayRef<Operation *> ops, DenseSet<Operation *> &done) {
  llvm::MapVector<Operation *, SmallVector<std::pair<Operation *, ConcatPart>>> byConcat;
  for (Operation *op : ops)
    if (auto part = concatPartOf(op))
      byConcat[part->concat].push_back({op, *part});
  int64_t merged = 0;
  for (auto &[concat, parts] : byConcat) {
    llvm::sort(parts, [](auto &a, auto &b) { return a.second.position < b.second.position; });
    // From the end on, so that positions stay true.
    for (size_t end = parts.size(); end > 0;) {
      size_t begin = end - 1;
      while (begin > 0 && parts[begin - 1].second.position + 1 == parts[begin].second.position &&
             sameActivation(parts[begin - 1].second, parts[begin].second))
        --begin;
      if (end - begin > 1) {
        for (size_t i = begin; i < end; ++i)
          done.insert(parts[i].first);
        merged += end - begin - 1;
        mergeNeighbours(ArrayRef(parts).slice(begin, end - begin));
      }
      end = begin;
    }
  }
  return merged;
}

void Merger::mergeBySplit(ArrayRef<Operation *> ops) {
  Location loc = fusedLoc(ops);
  Value merged = mergedResult(rewriter, ops, loc);
  rewriter.setInsertionPointAfter(merged.getDefiningOp());
  SmallVector<int64_t> sizes;
  SmallVector<Type> types;
  for (Operation *op : ops) {
    sizes.push_back(linear(op).getOutChannels());
    types.push_back(op->getResult(0).getType());
  }
  auto split = nn::SplitOp::create(rewriter, loc, types, merged, makeIntsOp(rewriter, loc, sizes),
                                   rewriter.getI64IntegerAttr(linear(ops.front()).getOutChannelAxis()));
  for (auto [op, part] : llvm::zip(ops, split.getResults()))
    rewriter.replaceOp(op, part);
  passedRemark(loc, kPass, "merged") << remark::metric("Parts", (int64_t)ops.size()) << remark::add("read in place");
}

int64_t Merger::run(ArrayRef<Operation *> ops) {
  DenseSet<Operation *> done;
  int64_t merged = mergeInConcats(ops, done);
  SmallVector<Operation *> inPlace;
  SmallVector<std::pair<Location, std::string>> refused;
  for (Operation *op : ops) {
    if (done.contains(op))
      continue;
    std::string reader = readsByCopy(op->getResult(0), false);
    // The parts of what is not last lie apart: only the last dimension leaves rows whole.
    if (reader.empty() && linear(op).getOutChannelAxis() != rankOf(op->getResult(0)) - 1)
      reader = "rows of channels first";
    if (reader.empty())
      inPlace.push_back(op);
    else
      refused.push_back({op->getLoc(), "taking its part out would be a copy for: " + reader});
  }
  if (inPlace.size() == 1)
    refused.push_back({inPlace.front()->getLoc(), "no other product of the same value can be read in place"});
  for (auto &[loc, why] : refused)
    missedRemark(loc, kPass, "not-merged") << remark::reason("{0}", why);
  if (inPlace.size() < 2)
    return merged;
  mergeBySplit(inPlace);
  return merged + inPlace.size() - 1;
}

struct MergeSharedInputPass : impl::MergeSharedInputBase<MergeSharedInputPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    llvm::MapVector<Value, SmallVector<Operation *>> byInput;
    getOperation().walk([&](Operation *op) {
      if (isa<nn::ConvOp, nn::MatMulOp>(op))
        byInput[op->getOperand(0)].push_back(op);
    });
    Merger merger(rewriter);
    for (auto &[x, ops] : byInput) {
      SmallVector<SmallVector<Operation *>> groups;
      for (Operation *op : ops) {
        auto group = llvm::find_if(groups, [&](auto &g) { return agree(g.front(), op); });
        if (std::string why = ops.size() < 2 ? "alone" : whyNotMember(op); !why.empty()) {
          if (why != "alone")
            missedRemark(op->getLoc(), kPass, "not-merged") << remark::reason("{0}", why);
        } else if (group == groups.end()) {
          groups.push_back({op});
        } else {
          group->push_back(op);
        }
      }
      for (auto &group : groups)
        if (group.size() > 1)
          numMerged += merger.run(group);
    }
  }
};

} // namespace
} // namespace nnopt
