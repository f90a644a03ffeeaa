//===- Program.h - a lowered model: buffers, launches, weights --*- C++ -*-===//
//
// What is left of a model after lowering: the tables of runtime/format.h in a form that is easy to
// build, plus the packed weights. `--emit=exec` prints it.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_PROGRAM_H
#define NNOPT_LIB_CODEGEN_PROGRAM_H

#include "dialects/nn/Dim.h"
#include "dialects/nn/ShapeInference.h"
#include "runtime/format.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"
#include <string>
#include <vector>

namespace nnopt {

/// Reference to a buffer that is not a value of the graph.
struct TempTensor {
  uint32_t buffer = NNOPT_NONE;
  mlir::Type elementType;
  nn::Dims dims;
};

struct ProgramBuffer {
  uint32_t kind = NNOPT_B_ARENA;
  nn::Dim size;      // bytes; byte offset for views
  uint32_t index = 0; // input/output number, parent of a view
  uint32_t align = 64;
  uint64_t offset = 0; // of weights
  std::string name;    // for printing
};

struct ProgramLaunch {
  uint32_t kernel;
  std::vector<uint32_t> buffers;
  std::vector<bool> written;
  std::vector<nn::Dim> dims;
  nn::Dim tasks, flops, bytes;
  uint32_t grain = 1;
  std::string nodes, op;
  std::string emitter;                  // who made the kernel
  mlir::Operation *operation = nullptr; // what it computes, in the graph that was lowered
  std::vector<std::pair<uint32_t, uint32_t>> inPlace; // operand positions (in, out)
  // Of a kernel of a device, whose tasks are blocks of threads; 0: a kernel of the CPU.
  uint32_t threads = 0, sharedBytes = 0;
};

struct ProgramTensor {
  std::string name;
  mlir::Type type; // of the value: a tensor type, or that of a host value
  nn::Dims dims;
  uint32_t buffer;
};

/// A call of an operation of the host library.
struct ProgramHostCall {
  std::string operation, nodes;
  std::vector<uint32_t> inputs;  // host buffers
  std::vector<uint32_t> outputs; // numbers in Program::tensors, or NNOPT_NONE
  uint32_t attributes = NNOPT_NONE; // weights
};

/// An output that is an input with more behind it along `axis` (nnopt_state_meta in runtime/format.h).
struct ProgramState {
  uint32_t input, output, axis;
};

/// Memory figures of a program for given symbol values.
struct MemoryPlan {
  int64_t arena = 0, lowerBound = 0, naive = 0, weights = 0;
};

/// Constant bytes, each content once. Programs of one artifact share them.
class WeightStore {
public:
  /// Number of the chunk with these bytes at a multiple of `align`. The bytes are copied unless they
  /// outlive the store.
  size_t add(llvm::ArrayRef<char> bytes, uint32_t align, bool copy);
  uint64_t offset(size_t chunk) const { return chunks[chunk].offset; }
  uint64_t size() const { return end; }
  /// Calls `each` with what belongs to one chunk after the other: its bytes, and zeros up to the next one.
  void visit(llvm::function_ref<void(llvm::ArrayRef<char>)> each) const;
  /// Writes everything in order.
  void write(llvm::raw_ostream &os) const;

private:
  struct Chunk {
    uint64_t offset;
    llvm::ArrayRef<char> bytes;
    std::shared_ptr<const void> owned; // holds the bytes, null for views
  };
  std::vector<Chunk> chunks;
  std::multimap<uint64_t, size_t> byHash;
  uint64_t end = 0;
};

class Program {
public:
  explicit Program(nn::DimContext &dims, std::shared_ptr<WeightStore> weights = std::make_shared<WeightStore>())
      : dimContext(dims), weights(std::move(weights)) {}

  nn::DimContext &dimContext;
  std::vector<ProgramBuffer> buffers;
  std::vector<ProgramLaunch> launches;
  std::vector<nnopt_instruction> instructions;
  std::vector<nnopt_block> blocks;
  std::vector<uint32_t> indices; // loop records
  std::vector<ProgramTensor> inputs, outputs;
  std::vector<ProgramTensor> tensors; // that instructions about host values refer to
  std::vector<ProgramHostCall> hostCalls;
  std::vector<std::string> unboxNodes; // operand c of NNOPT_I_UNBOX until it becomes a string
  std::vector<std::string> kernelNames;
  std::vector<std::string> deviceKernelNames; // of launches with threads
  /// Functions that kernels call and that are not among them (nn.custom).
  std::vector<std::string> outsideFunctions;
  std::vector<std::pair<std::string, std::string>> properties;
  /// NNOPT_CPU_* that kernels need beyond those of their target (Target::required).
  uint32_t cpuFeatures = 0;
  /// Symbols in program numbering.
  std::vector<nn::Dim> symbols;
  llvm::DenseMap<const void *, uint32_t> dataDependent; // symbol -> buffer read from

  uint32_t addBuffer(ProgramBuffer buffer);
  /// Adds constant bytes (copied) to the weights, once per content; returns the buffer.
  uint32_t addWeights(llvm::ArrayRef<char> bytes, uint32_t align = 64);
  /// Adds constant bytes that outlive the program (the mapped model): not copied.
  uint32_t addWeightsView(llvm::ArrayRef<char> bytes, uint32_t align = 64);
  std::shared_ptr<WeightStore> weights;

  /// Number of the value that computes `d`.
  uint32_t value(nn::Dim d);
  /// The expression that a value was made from; null for intermediate ones.
  nn::Dim expression(uint32_t value) const { return expressions.lookup(value); }
  uint32_t symbolNumber(nn::Dim symbol);
  std::vector<ProgramState> states;
  /// A size that is `unbound` unless state number `state` is bound: then it is the state's capacity, or, with
  /// `zero`, 0.
  nn::Dim stateDim(uint32_t state, nn::Dim unbound, bool zero);

  /// Gives outputs of in-place launches the memory of their inputs where these die there.
  void assignInPlace();
  /// Serializes everything but kernels and weights.
  std::vector<char> serialize();
  /// Memory figures; symbols without value count as 1.
  MemoryPlan planMemory(const llvm::StringMap<int64_t> &symbolValues = {}, int threads = 1);
  void print(llvm::raw_ostream &os);

private:
  void computeLiveness(std::vector<uint32_t> &first, std::vector<uint32_t> &last, std::vector<uint32_t> &time) const;
  uint32_t root(uint32_t buffer) const;
  uint32_t addChunk(llvm::ArrayRef<char> bytes, uint32_t align, bool copy);
  std::vector<nnopt_value_expr> values;
  llvm::DenseMap<const void *, uint32_t> valueNumbers;
  llvm::DenseMap<const void *, std::tuple<uint32_t, nn::Dim, bool>> stateDims; // by symbol
  llvm::DenseMap<uint32_t, nn::Dim> expressions;
  llvm::DenseMap<size_t, uint32_t> chunkBuffers;
};

/// The names of the ONNX nodes in a location, each once.
llvm::SmallVector<llvm::StringRef> nodeNames(mlir::Location loc);

/// onnx.TensorProto.DataType of an element type; of host values that of the tensors inside.
uint32_t onnxDataType(mlir::Type type);
/// "seq(tensor(float))".
std::string onnxTypeText(mlir::Type type);
/// nnopt_kind of a value of that type.
uint32_t hostKind(mlir::Type type);

} // namespace nnopt

#endif
