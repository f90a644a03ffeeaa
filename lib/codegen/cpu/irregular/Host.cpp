//===- Host.cpp - operations of the host library --------------------------===//
#include "lib/codegen/cpu/irregular/Host.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "nnopt/ops.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

//===----------------------------------------------------------------------===//
// Attributes (nnopt/ops.h)
//===----------------------------------------------------------------------===//

class AttributeWriter {
public:
  void ints(StringRef name, ArrayRef<int64_t> values) { add('i', name, values.size(), asBytes(values)); }
  void doubles(StringRef name, ArrayRef<double> values) { add('f', name, values.size(), asBytes(values)); }
  void strings(StringRef name, ArrayRef<StringRef> values) {
    std::vector<uint64_t> offsets = {0};
    std::string all;
    for (StringRef s : values) {
      all += s;
      offsets.push_back(all.size());
    }
    std::string content(reinterpret_cast<const char *>(offsets.data()), offsets.size() * 8);
    add('s', name, values.size(), content + all);
  }
  /// Attributes of an operation; types become ONNX element types.
  void of(Operation *op) {
    for (NamedAttribute a : op->getAttrDictionary()) {
      StringRef name = a.getName();
      Attribute value = a.getValue();
      if (isa<UnitAttr>(value))
        ints(name, {1});
      else if (auto flag = dyn_cast<BoolAttr>(value))
        ints(name, {flag.getValue()});
      else if (auto i = dyn_cast<IntegerAttr>(value))
        ints(name, {i.getValue().getSExtValue()});
      else if (auto f = dyn_cast<FloatAttr>(value))
        doubles(name, {f.getValueAsDouble()});
      else if (auto s = dyn_cast<StringAttr>(value))
        strings(name, {s.getValue()});
      else if (auto type = dyn_cast<TypeAttr>(value))
        ints(name, {int64_t(onnxDataType(type.getValue()))});
      else if (auto list = dyn_cast<ArrayAttr>(value)) {
        SmallVector<StringRef> values;
        for (Attribute s : list)
          values.push_back(cast<StringAttr>(s).getValue());
        strings(name, values);
      }
    }
  }
  uint32_t write(Program &program) const { return bytes.empty() ? NNOPT_NONE : program.addWeights(bytes); }

private:
  template <typename T> static std::string asBytes(ArrayRef<T> values) {
    return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
  }
  void pad() { bytes.resize((bytes.size() + 7) / 8 * 8); }
  void add(char kind, StringRef name, size_t count, const std::string &content) {
    size_t start = bytes.size();
    nnopt_attribute header = {0, uint32_t(kind), uint32_t(name.size()), uint32_t(count)};
    bytes.insert(bytes.end(), reinterpret_cast<char *>(&header), reinterpret_cast<char *>(&header + 1));
    bytes.insert(bytes.end(), name.begin(), name.end());
    pad();
    bytes.insert(bytes.end(), content.begin(), content.end());
    pad();
    header.size = bytes.size() - start;
    memcpy(bytes.data() + start, &header, sizeof header);
  }
  std::vector<char> bytes;
};

//===----------------------------------------------------------------------===//
// Operands and results
//===----------------------------------------------------------------------===//

uint32_t addTensor(Lowering &lowering, Value v, uint32_t buffer) {
  lowering.program.tensors.push_back({"", v.getType(), lowering.shapes.info(v).dims, buffer});
  return lowering.program.tensors.size() - 1;
}

uint32_t hostOperand(Lowering &lowering, Value v) {
  uint32_t buffer = lowering.bufferOf(v);
  if (nn::isHostValue(v))
    return buffer;
  uint32_t boxed = newHostBuffer(lowering);
  lowering.addInstruction({NNOPT_I_BOX, boxed, addTensor(lowering, v, buffer), 0});
  return boxed;
}

/// Sizes of a result that only it knows. The body of a loop may be lowered twice: its symbols are read in both.
LogicalResult readDims(Operation *op, Lowering &lowering, Value v, uint32_t host) {
  auto &known = lowering.program.dataDependent;
  for (auto [axis, dim] : llvm::enumerate(lowering.dims(v))) {
    bool resolved = isResolved(lowering, op, dim);
    auto it = known.find(dim.opaque());
    if (resolved && (it == known.end() || it->second != lowering.bufferOf(v)))
      continue;
    if (dim.kind() != nn::Dim::Kind::Symbol)
      return op->emitOpError("has a size that depends on data and is the expression ") << dim.str();
    // Known before the buffer is made, which is then one whose size depends on data.
    known[dim.opaque()] = NNOPT_NONE;
    known[dim.opaque()] = lowering.bufferOf(v);
    lowering.addInstruction({NNOPT_I_READ_DIM, lowering.program.symbolNumber(dim), host, uint32_t(axis)});
  }
  return success();
}

void addCall(Lowering &lowering, ProgramHostCall call) {
  lowering.addInstruction({NNOPT_I_HOST_CALL, uint32_t(lowering.program.hostCalls.size()), 0, 0});
  lowering.program.hostCalls.push_back(std::move(call));
}

} // namespace

uint32_t newHostBuffer(Lowering &lowering) {
  ProgramBuffer buffer;
  buffer.kind = NNOPT_B_HOST;
  buffer.size = lowering.c(0);
  return lowering.program.addBuffer(buffer);
}

LogicalResult emitHostCall(Operation *op, Lowering &lowering) {
  ProgramHostCall call;
  call.operation = op->getName().stripDialect();
  call.nodes = llvm::join(nodeNames(op->getLoc()), ",");
  for (Value v : op->getOperands())
    call.inputs.push_back(hostOperand(lowering, v));
  SmallVector<uint32_t> results;
  for (Value v : op->getResults()) {
    results.push_back(nn::isHostValue(v) ? lowering.bufferOf(v) : newHostBuffer(lowering));
    call.outputs.push_back(addTensor(lowering, v, results.back()));
  }
  AttributeWriter attributes;
  attributes.of(op);
  call.attributes = attributes.write(lowering.program);
  addCall(lowering, std::move(call));
  for (auto [v, host] : llvm::zip(op->getResults(), results))
    if (failed(readDims(op, lowering, v, host)))
      return failure();
  for (auto [v, host] : llvm::zip(op->getResults(), results)) {
    if (nn::isHostValue(v))
      continue;
    uint32_t tensor = addTensor(lowering, v, lowering.bufferOf(v));
    lowering.addInstruction({NNOPT_I_UNBOX, tensor, host, uint32_t(lowering.program.unboxNodes.size())});
    lowering.program.unboxNodes.push_back(llvm::join(nodeNames(op->getLoc()), ","));
  }
  return success();
}

LogicalResult emitStringConstant(nn::ConstantOp op, Lowering &lowering) {
  auto strings = dyn_cast<DenseStringElementsAttr>(op.getValue());
  if (!strings)
    return op.emitError("a constant of strings must be a dense attribute");
  SmallVector<StringRef> values(strings.getValues<StringRef>());
  AttributeWriter attributes;
  attributes.ints("shape", cast<RankedTensorType>(op.getType()).getShape());
  attributes.strings("value", values);
  ProgramHostCall call;
  call.operation = "string_constant";
  call.nodes = llvm::join(nodeNames(op.getLoc()), ",");
  call.outputs.push_back(addTensor(lowering, op.getResult(), lowering.bufferOf(op.getResult())));
  call.attributes = attributes.write(lowering.program);
  addCall(lowering, std::move(call));
  return success();
}

} // namespace nnopt::cpu
