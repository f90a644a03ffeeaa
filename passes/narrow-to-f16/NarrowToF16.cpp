//===- NarrowToF16.cpp - f16 in memory between operations -----------------===//
#include "dialects/nn/NarrowWeights.h"
#include "dialects/nn/Precision.h"
#include "passes/Passes.h"
#include "passes/common/Scalar.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_NARROWTOF16
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "narrow-to-f16";
constexpr double largestHalf = 65504;

bool isF32(Value v) { return elementTypeOf(v).isF32(); }
bool hasF32(ValueRange values) { return llvm::any_of(values, isF32); }

/// Which floats an operation takes and gives.
enum class Role {
  Fixed,   ///< f32.
  Scalar,  ///< Each operand and result f32 or f16: its scalar code converts.
  Tied,    ///< Its data are all f32 or all f16: operations that move elements, and those that compute rows or windows.
  Product, ///< The same, and faster with f16. A linear operation has an epilogue, whose operands and results are as Scalar.
};

/// Whether integers that a product widens can be widened to f16: all products that read them have kernels for that.
bool widensToHalf(nn::DequantizeOp op) {
  if (!isF32(op.getResult()) || !isConstant(op.getX()) || !isConstant(op.getScale()) ||
      !nn::NarrowWeights::isWidening(op, /*of16Bit=*/true))
    return false;
  SmallVector<Operation *> work = {op};
  while (!work.empty()) {
    Operation *widened = work.pop_back_val();
    for (Operation *user : widened->getUsers()) {
      auto matmul = dyn_cast<nn::MatMulOp>(user);
      if (matmul ? !nn::NarrowWeights::get(matmul) || nn::NarrowWeights::byteRows(matmul)
                 : !isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::SliceOp>(user))
        return false;
      if (!matmul)
        work.push_back(user);
    }
  }
  return true;
}

/// Integers that a product widens, through what reshapes them; null for others.
nn::DequantizeOp dequantized(Value weight) {
  Operation *op = weight.getDefiningOp();
  while (isa_and_nonnull<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::SliceOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return dyn_cast_or_null<nn::DequantizeOp>(op);
}

Role roleOf(Operation *op) {
  if (auto linear = dyn_cast<nn::LinearOp>(op)) {
    auto dequantize = dequantized(linear.getWeight());
    return isF32(linear.getActivation()) && dequantize && !widensToHalf(dequantize) ? Role::Fixed : Role::Product;
  }
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    return nn::NarrowWeights::get(gather) ? Role::Fixed : Role::Tied;
  if (auto scatter = dyn_cast<nn::ScatterElementsOp>(op))
    return scatter.getReduction() == nn::ScatterReduction::none ? Role::Tied : Role::Fixed;
  if (auto scatter = dyn_cast<nn::ScatterNDOp>(op))
    return scatter.getReduction() == nn::ScatterReduction::none ? Role::Tied : Role::Fixed;
  if (auto reduce = dyn_cast<nn::ReduceOp>(op)) // Products and sums of squares leave the range of f16 early.
    return reduce.getKind() == nn::ReduceKind::prod || reduce.getKind() == nn::ReduceKind::sum_square ? Role::Fixed : Role::Tied;
  if (isa<nn::AttentionOp, nn::MoEOp, nn::GroupedMatMulOp>(op))
    return Role::Product;
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp, nn::ExpandOp, nn::ConcatOp, nn::SplitOp,
          nn::SliceOp, nn::PadOp, nn::TileOp, nn::GatherElementsOp, nn::GatherNDOp, nn::TensorScatterOp, nn::ReverseSequenceOp,
          nn::TriluOp, nn::DepthToSpaceOp, nn::SpaceToDepthOp, nn::SoftmaxOp, nn::LayerNormOp, nn::RMSNormOp,
          nn::MaxPoolOp, nn::AvgPoolOp, nn::LpPoolOp, nn::ResizeOp, nn::RotaryOp>(op))
    return Role::Tied;
  return isElementwise(op) && !isa<nn::CastOp, nn::QuantizeOp, nn::DequantizeOp>(op) ? Role::Scalar : Role::Fixed;
}

/// The f32 operands that become f16 with the operation; none of one without a role.
SmallVector<OpOperand *> dataOf(Operation *op) {
  SmallVector<OpOperand *> data;
  Role role = roleOf(op);
  if (role != Role::Tied && role != Role::Product)
    return data;
  size_t count = 1;
  if (auto linear = dyn_cast<nn::LinearOp>(op)) {
    if (isF32(linear.getActivation()) && isF32(linear.getWeight()))
      data = {&linear.getActivationMutable(), &linear.getWeightMutable()};
    return data;
  }
  if (isa<nn::AttentionOp>(op))
    count = 3;
  else if (isa<nn::GroupedMatMulOp, nn::TensorScatterOp>(op))
    count = 2;
  else if (isa<nn::ConcatOp, nn::MoEOp, nn::PadOp, nn::ScatterElementsOp, nn::ScatterNDOp>(op))
    count = op->getNumOperands(); // The others are integers.
  for (OpOperand &operand : op->getOpOperands().take_front(count))
    if (isF32(operand.get()))
      data.push_back(&operand);
  return data;
}

/// Whether an operand of an operation that is not fixed may be f32 or f16, whatever its data are.
bool takesBoth(OpOperand &operand) {
  Operation *op = operand.getOwner();
  if (auto linear = dyn_cast<nn::LinearOp>(op))
    return operand.get() == linear.getBias() ||
           llvm::is_contained(llvm::map_range(linear.getEpilogueArgs(), [](Value v) { return v; }), operand.get());
  unsigned number = operand.getOperandNumber();
  return isElementwise(op) || (isa<nn::LayerNormOp, nn::RMSNormOp, nn::RotaryOp>(op) && number > 0) ||
         (isa<nn::AttentionOp>(op) && number > 2);
}

/// The scalar code of an operation; null where there is none.
Region *scalarsOf(Operation *op) {
  if (auto linear = dyn_cast<nn::LinearOp>(op))
    return linear.getEpilogue().empty() ? nullptr : &linear.getEpilogue();
  return isa<nn::MapOp, nn::MoEOp>(op) ? &op->getRegion(0) : nullptr;
}

/// Whether an elementwise operation makes angles, integers or bools of floats: of rounded ones it would make others.
bool needsExactOperands(Operation *op) {
  if (isa<nn::SinOp, nn::CosOp, nn::TanOp, nn::ModOp>(op))
    return true;
  auto isFloat = [](Value v) { return isa<FloatType>(elementTypeOf(v)); };
  if (!llvm::all_of(op->getResults(), isFloat))
    return true;
  auto map = dyn_cast<nn::MapOp>(op);
  return map && map.getBody()
                    .walk([](Operation *scalar) {
                      bool exact = isa<math::SinOp, math::CosOp, math::TanOp, arith::RemFOp, arith::FPToSIOp, arith::FPToUIOp>(scalar);
                      return exact ? WalkResult::interrupt() : WalkResult::advance();
                    })
                    .wasInterrupted();
}

/// Whether a product has one term: positions times frequencies.
bool isOuterProduct(Operation *op) {
  auto matmul = dyn_cast<nn::MatMulOp>(op);
  return matmul && shapeOf(matmul.getB())[matmul.getWeightInAxis()] == 1;
}

/// Decides which operations and values stay f32, before any is changed.
class Choice {
public:
  explicit Choice(Block &block) : block(block) {
    for (Operation &op : block) {
      known[&op] = {roleOf(&op), dataOf(&op)};
      if (auto dequantize = dyn_cast<nn::DequantizeOp>(op); dequantize && widensToHalf(dequantize))
        widening.insert(&op);
    }
    findExact();
    while (keepAtEnds() || keepAtStarts()) {
    }
    for (Operation &op : block)
      for (Value v : op.getResults())
        if (readAsF32(v))
          singles.insert(v);
  }

  Role role(Operation *op) const { return known.lookup(op).first; }
  /// The f32 operands that become f16 with the operation.
  ArrayRef<OpOperand *> data(Operation *op) const {
    auto it = known.find(op);
    return it == known.end() ? ArrayRef<OpOperand *>() : ArrayRef(it->second.second);
  }
  /// Whether all floats that the operation reads as data, or by scalar code, are f32.
  bool stays(Operation *op) const { return role(op) == Role::Fixed || kept.contains(op); }
  /// Whether a result that could be f16 is f32.
  bool staysF32(Value v) const { return singles.contains(v); }
  /// Whether f32 is what the operand must be.
  bool wantsF32(OpOperand &use) const {
    Operation *op = use.getOwner();
    if (auto cast = dyn_cast<nn::CastOp>(op))
      return !cast.getTo().isF16();
    if (op->getBlock() != &block || role(op) == Role::Fixed)
      return true;
    return kept.contains(op) ? isElementwise(op) || !takesBoth(use) : !takesBoth(use) && !llvm::is_contained(data(op), &use);
  }
  /// Whether the value is there as f16 without an operation that converts it.
  bool isHalf(Value v) const {
    Operation *op = v.getDefiningOp();
    if (!op || !isF32(v))
      return false;
    if (auto cast = dyn_cast<nn::CastOp>(op))
      return elementTypeOf(cast.getX()).isF16() || isConstant(cast.getX());
    if (isa<nn::DequantizeOp>(op))
      return widening.contains(op);
    if (isConstant(v))
      return true;
    switch (role(op)) {
    case Role::Fixed:
      return false;
    case Role::Scalar:
      return !readAsF32(v);
    case Role::Tied:
      return !kept.contains(op);
    case Role::Product:
      return !kept.contains(op) && !(isa<nn::LinearOp>(op) && readAsF32(v));
    }
    llvm_unreachable("all roles are handled");
  }
  bool isExact(Value v) const { return exact.contains(v); }

private:
  bool readAsF32(Value v) const {
    return exact.contains(v) || (!v.use_empty() && llvm::all_of(v.getUses(), [&](OpOperand &use) { return wantsF32(use); }));
  }

  /// What angles, integers and bools come from, and masks, through what moves and maps elements.
  void findExact() {
    for (Operation &op : llvm::reverse(block)) {
      if (auto attention = dyn_cast<nn::AttentionOp>(op); attention && attention.getMask() && !isConstant(attention.getMask()))
        exact.insert(attention.getMask());
      Role role = this->role(&op);
      bool exactResult = llvm::any_of(op.getResults(), [&](Value v) { return exact.contains(v); });
      bool passesOn = role == Role::Scalar || role == Role::Tied || isOuterProduct(&op);
      if (!(role == Role::Scalar && needsExactOperands(&op)) && !(exactResult && passesOn))
        continue;
      kept.insert(&op);
      for (Value v : op.getOperands())
        if (isF32(v) && !isConstant(v))
          exact.insert(v);
    }
  }

  /// Operations of one type whose results are read as f32 only.
  bool keepAtEnds() {
    bool changed = false;
    for (Operation &op : llvm::reverse(block))
      if (role(&op) == Role::Tied && !kept.contains(&op) && hasF32(op.getResults()) &&
          llvm::all_of(op.getResults(), [&](Value v) { return !isF32(v) || v.use_empty() || readAsF32(v); }))
        changed |= kept.insert(&op).second;
    return changed;
  }

  /// Operations of one type that get f32. Attention that gets f32 keys or values has a cache from the outside: converting
  /// it would cost more than f16 saves.
  bool keepAtStarts() {
    bool changed = false;
    for (Operation &op : block) {
      ArrayRef<OpOperand *> read = data(&op);
      if (isa<nn::AttentionOp>(op))
        read = read.drop_front(std::min<size_t>(1, read.size()));
      else if (role(&op) != Role::Tied)
        continue;
      if (!kept.contains(&op) && llvm::any_of(read, [&](OpOperand *operand) { return !isHalf(operand->get()); }))
        changed |= kept.insert(&op).second;
    }
    return changed;
  }

  Block &block;
  DenseMap<Operation *, std::pair<Role, SmallVector<OpOperand *>>> known;
  DenseSet<Operation *> kept, widening;
  DenseSet<Value> exact, singles;
};

/// Changes the types of one block in program order.
class Narrower {
public:
  Narrower(Block &block, const Choice &choice) : block(block), choice(choice), b(block.getParentOp()->getContext()) {}

  int64_t narrowed = 0, casts = 0;

  void run() {
    for (Operation &op : llvm::make_early_inc_range(block))
      visit(&op);
  }

private:
  void visit(Operation *op) {
    if (auto cast = dyn_cast<nn::CastOp>(op)) {
      visitCast(cast);
      return;
    }
    if (auto dequantize = dyn_cast<nn::DequantizeOp>(op); dequantize && choice.isHalf(dequantize.getResult())) {
      dequantize.setTo(b.getF16Type());
      dequantize.getScaleMutable().assign(half(dequantize.getScale()));
      narrowResult(dequantize.getResult());
      return;
    }
    Role role = choice.role(op);
    bool stays = choice.stays(op);
    ArrayRef<OpOperand *> data = stays ? ArrayRef<OpOperand *>() : choice.data(op);
    // Nested regions read f32, whatever they are.
    op->walk([&](Operation *inner) {
      for (OpOperand &operand : inner->getOpOperands())
        if (wasF32(operand) && (inner != op || choice.wantsF32(operand)))
          operand.set(single(operand.get()));
    });
    if (role == Role::Fixed) {
      if (isa<nn::ShapeFunction>(op) && !isa<nn::ConstantOp>(op) && hasF32(op->getResults()))
        missedRemark(op->getLoc(), kPass, "kept") << remark::reason("only f32 is known to be right, or fast");
      return;
    }
    if (isa<nn::AttentionOp>(op) && stays && isF32(op->getOperand(0)))
      op->setAttr(nn::kTf32Products, b.getUnitAttr());
    SmallVector<Value> results;
    for (Value v : op->getResults())
      if (isF32(v) && (role == Role::Scalar || isa<nn::LinearOp>(op) ? !choice.staysF32(v) : !stays))
        results.push_back(v);
    for (OpOperand *operand : data)
      operand->set(half(operand->get()));
    if (!stays)
      for (OpOperand &operand : op->getOpOperands())
        if (isF32(operand.get()) && isReadAsHalf(operand))
          operand.set(half(operand.get()));
    bool reads = llvm::any_of(op->getOpOperands(), [&](OpOperand &operand) { return wasF32(operand); });
    if (results.empty() && data.empty() && !reads) {
      if (hasF32(op->getResults()))
        missedRemark(op->getLoc(), kPass, "kept")
            << remark::reason("{0}", llvm::any_of(op->getOperands(), [&](Value v) { return choice.isExact(v); })
                                         ? "angles, integers, bools or masks come from it"
                                         : "what it reads or what reads its results is f32");
      return;
    }
    if (auto attention = dyn_cast<nn::AttentionOp>(op))
      attention.setWideSoftmax(true);
    for (Value v : results)
      narrowResult(v);
    convertScalars(op);
    ++narrowed;
    passedRemark(op->getLoc(), kPass, "narrowed") << remark::add("has f16 in memory");
  }

  /// A cast reads what is there; one between f32 and f16 is none then.
  void visitCast(nn::CastOp cast) {
    Value x = cast.getX();
    if (cast.getTo().isF16() && (halves.contains(x) || (isF32(x) && choice.isHalf(x)))) {
      for (OpOperand &use : cast.getResult().getUses())
        readAsF16.insert(&use);
      cast.getResult().replaceAllUsesWith(half(x));
      return;
    }
    if (wasF32(cast.getXMutable()) && !cast.getTo().isF16())
      cast.getXMutable().assign(single(x));
  }

  /// Whether an operand is f16 that was f32.
  bool wasF32(OpOperand &operand) const { return halves.contains(operand.get()) && !readAsF16.contains(&operand); }

  /// Whether an operand that may be of both types is there as f16, or is a constant of many elements.
  bool isReadAsHalf(OpOperand &operand) {
    Operation *op = operand.getOwner();
    Value v = operand.get();
    auto linear = dyn_cast<nn::LinearOp>(op);
    if (!takesBoth(operand) || isa<nn::LayerNormOp, nn::RMSNormOp>(op) || (linear && v == linear.getBias()) || !choice.isHalf(v))
      return false;
    return !isConstant(v) || cast<RankedTensorType>(v.getType()).getNumElements() != 1;
  }

  void narrowResult(Value v) {
    v.setType(withElement(v, b.getF16Type()));
    halves.insert(v);
  }

  static RankedTensorType withElement(Value v, Type element) { return RankedTensorType::get(shapeOf(v), element); }

  /// The f16 value that stands for v.
  Value half(Value v) {
    if (!isF32(v))
      return v;
    Value &known = asHalf[v];
    if (known)
      return known;
    auto conversion = v.getDefiningOp<nn::CastOp>();
    if (conversion && elementTypeOf(conversion.getX()).isF16())
      return known = conversion.getX();
    Value source = conversion && isConstant(conversion.getX()) ? conversion.getX() : v;
    b.setInsertionPointAfterValue(v);
    if (isConstant(source)) {
      nn::ConstantData data = *nn::ConstantData::get(source);
      known = nn::ConstantOp::create(b, v.getLoc(), nn::makeHalves(b.getContext(), shapeOf(v), data.asFloats(), "half"));
    } else {
      known = convert(v, b.getF16Type());
    }
    halves.insert(known);
    return known;
  }

  /// The f32 value that stands for a narrowed one.
  Value single(Value v) {
    Value &known = asSingle[v];
    if (known)
      return known;
    if (auto constant = constantOf(v)) // One that was f32.
      for (auto [from, to] : asHalf)
        if (to == v)
          return known = from;
    b.setInsertionPointAfterValue(v);
    return known = convert(v, b.getF32Type());
  }

  Value convert(Value v, Type to) {
    ++casts;
    return nn::CastOp::create(b, v.getLoc(), withElement(v, to), v, to, /*saturate=*/true);
  }

  //--- scalar code ------------------------------------------------------------

  /// Adapts scalar code to the types of operands and results, and gives some to operations without it.
  void convertScalars(Operation *op) {
    if (auto linear = dyn_cast<nn::LinearOp>(op); linear && linear.getEpilogue().empty()) {
      if (!elementTypeOf(linear.getActivation()).isF16())
        return;
      Block *epilogue = b.createBlock(&linear.getEpilogue());
      nn::YieldOp::create(b, op->getLoc(), ValueRange(epilogue->addArgument(b.getF32Type(), op->getLoc())));
    } else if (isElementwise(op) && !isa<nn::MapOp>(op)) {
      op = asMap(op);
    }
    Region *region = scalarsOf(op);
    if (!region)
      return;
    Block &scalars = region->front();
    bool isMixture = isa<nn::MoEOp>(op);
    unsigned first = isa<nn::LinearOp>(op) ? 1 : 0;
    ValueRange operands = op->getOperands();
    if (auto linear = dyn_cast<nn::LinearOp>(op))
      operands = linear.getEpilogueArgs();
    b.setInsertionPointToStart(&scalars);
    for (BlockArgument argument : scalars.getArguments().drop_front(first)) {
      Value operand = isMixture ? op->getOperand(0) : operands[argument.getArgNumber() - first];
      if (!argument.getType().isF32() || !elementTypeOf(operand).isF16())
        continue;
      argument.setType(b.getF16Type());
      auto wide = arith::ExtFOp::create(b, op->getLoc(), b.getF32Type(), argument);
      argument.replaceAllUsesExcept(wide, wide);
    }
    bool saturates = hasLargeNumbers(op, scalars);
    Operation *yield = scalars.getTerminator();
    b.setInsertionPoint(yield);
    for (auto [operand, result] : llvm::zip(yield->getOpOperands(), op->getResults()))
      if (operand.get().getType().isF32() && elementTypeOf(result).isF16())
        operand.set(truncated(operand.get(), saturates));
  }

  /// Whether scalar code has finite numbers that f16 cannot hold.
  static bool hasLargeNumbers(Operation *op, Block &scalars) {
    auto isLarge = [](double v) { return std::isfinite(v) && std::fabs(v) > largestHalf; };
    for (Operation &scalar : scalars)
      if (auto constant = dyn_cast<arith::ConstantOp>(scalar))
        if (auto value = dyn_cast<FloatAttr>(constant.getValue()); value && isLarge(value.getValueAsDouble()))
          return true;
    return llvm::any_of(op->getOperands(), [&](Value v) {
      std::optional<double> number = scalarOf(v);
      return number && isLarge(*number);
    });
  }

  /// v as f16; what is finite stays so where it `saturates`.
  Value truncated(Value v, bool saturates) {
    Location loc = v.getLoc();
    if (saturates) {
      auto number = [&](double x) { return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(x)); };
      Value low = arith::MaximumFOp::create(b, loc, v, number(-largestHalf));
      Value clamped = arith::MinimumFOp::create(b, loc, low, number(largestHalf));
      Value isInfinite = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, math::AbsFOp::create(b, loc, v), number(INFINITY));
      v = arith::SelectOp::create(b, loc, isInfinite, v, clamped);
    }
    return arith::TruncFOp::create(b, loc, b.getF16Type(), v);
  }

  /// An elementwise operation as a map, which computes f32 from whatever it reads. The operation is dead then.
  Operation *asMap(Operation *op) {
    b.setInsertionPoint(op);
    auto map = nn::MapOp::create(b, op->getLoc(), op->getResultTypes(), op->getOperands(), ValueRange());
    Block *body = b.createBlock(&map.getBody());
    for (OpOperand &operand : op->getOpOperands())
      body->addArgument(wasF32(operand) ? Type(b.getF32Type()) : scalarTypeOf(operand.get()), op->getLoc());
    nn::YieldOp::create(b, op->getLoc(), emitScalar(b, op, body->getArguments()));
    Value result = map->getResult(0), old = op->getResult(0);
    old.replaceAllUsesWith(result);
    if (halves.contains(old))
      halves.insert(result);
    return map;
  }

  Block &block;
  const Choice &choice;
  OpBuilder b;
  DenseSet<Value> halves; ///< f16 values that stand for f32 ones.
  DenseSet<OpOperand *> readAsF16; ///< Operands that were f16 before.
  DenseMap<Value, Value> asHalf, asSingle;
};

struct NarrowToF16Pass : impl::NarrowToF16Base<NarrowToF16Pass> {
  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    Choice choice(block);
    Narrower narrower(block, choice);
    narrower.run();
    numNarrowed += narrower.narrowed;
    numCasts += narrower.casts;
    IRRewriter rewriter(&getContext());
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt
