//===- NNDialect.cpp - registration of the nn dialect ---------------------===//
#include "dialects/nn/NN.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

#include "dialects/nn/NNEnums.cpp.inc"

#include "dialects/nn/NNDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/nn/NNTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/nn/NNAttrs.cpp.inc"

#include "dialects/nn/NNInterfaces.cpp.inc"

namespace nnopt::nn {

void NNDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/nn/NNTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/nn/NNAttrs.cpp.inc"
      >();
  registerNNDialectOperations(this);
}

/// Folders return elements attributes; they become nn.constant.
Operation *NNDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type,
                                          Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getShapedType() != type)
    return nullptr;
  return ConstantOp::create(builder, loc, elements);
}

//===----------------------------------------------------------------------===//
// Host values
//===----------------------------------------------------------------------===//

Type elementTypeOf(Type type) {
  auto tensor = dyn_cast<TensorType>(type);
  return tensor ? tensor.getElementType() : type;
}

bool isHostType(Type type) {
  return isa<StringType, SequenceType, OptionalType, MapType>(elementTypeOf(type));
}

bool touchesHostValues(Operation *op) {
  return llvm::any_of(op->getOperandTypes(), isHostType) || llvm::any_of(op->getResultTypes(), isHostType);
}

Type joinTypes(Type a, Type b) {
  if (a == b)
    return a;
  if (auto x = dyn_cast<OptionalType>(a)) {
    auto y = dyn_cast<OptionalType>(b);
    Type element = y ? joinTypes(x.getElement(), y.getElement()) : Type();
    return element ? OptionalType::get(a.getContext(), element) : Type();
  }
  if (auto x = dyn_cast<SequenceType>(a)) {
    auto y = dyn_cast<SequenceType>(b);
    Type element = y ? joinTypes(x.getElement(), y.getElement()) : Type();
    return element ? SequenceType::get(a.getContext(), element) : Type();
  }
  auto x = dyn_cast<TensorType>(a), y = dyn_cast<TensorType>(b);
  if (!x || !y || x.getElementType() != y.getElementType())
    return {};
  // What says less about the rank gives way: ranks are checked when an element is taken out.
  if (!x.hasRank() || !y.hasRank())
    return x.hasRank() ? x : y;
  if (x.getRank() != y.getRank())
    return UnrankedTensorType::get(x.getElementType());
  SmallVector<int64_t> shape;
  for (auto [m, n] : llvm::zip(x.getShape(), y.getShape()))
    shape.push_back(m == n ? m : ShapedType::kDynamic);
  return RankedTensorType::get(shape, x.getElementType());
}

Type unrankedElements(Type type) {
  if (auto optional = dyn_cast<OptionalType>(type))
    return OptionalType::get(type.getContext(), unrankedElements(optional.getElement()));
  auto sequence = dyn_cast<SequenceType>(type);
  auto tensor = sequence ? dyn_cast<TensorType>(sequence.getElement()) : TensorType();
  return tensor ? SequenceType::get(type.getContext(), UnrankedTensorType::get(tensor.getElementType())) : type;
}

} // namespace nnopt::nn
