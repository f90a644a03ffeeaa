//===- Lowering.h - from the nn graph to a program of kernels ---*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_LOWERING_H
#define NNOPT_LIB_CODEGEN_CPU_LOWERING_H

#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"
#include "lib/codegen/Program.h"
#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Target.h"
#include <set>
#include <unordered_map>

namespace nnopt::cpu {

/// Hardware that runs kernels beside the CPU (lib/codegen/cuda): launches are blocks of threads.
class Device {
public:
  virtual ~Device() = default;
  /// Emits `op` by a kernel made for the device; nothing where there is none for it.
  virtual std::optional<mlir::LogicalResult> emit(mlir::Operation *op, Lowering &lowering) = 0;
  /// Whether the device can run a kernel of plain loops, each task by a thread.
  virtual bool canRun(mlir::func::FuncOp kernel) = 0;
  /// Whether the device's emitter of the operand's owner reads it through strides (StridedView.h).
  virtual bool readsStrided(mlir::OpOperand &operand, Lowering &lowering) = 0;
  /// Whether the device's emitter reads weights of the product as they are stored (dialects/nn/NarrowWeights.h).
  virtual bool takesNarrowWeights(mlir::OpOperand &operand) = 0;
  /// Threads of a block of such a kernel.
  static constexpr int64_t plainThreads = 128;
  /// Where kernels of the device go.
  mlir::ModuleOp kernels;
};

struct Tile;

/// Whether contractions skip weights that are zero: where that is estimated to be faster, or wherever it is possible.
enum class SparseUse { Off, Auto, On };

struct LoweringOptions {
  /// 0: every operation by its reference emitter (plain loops).
  int optLevel = 2;
  bool winograd = true;
  SparseUse sparse = SparseUse::Auto;
  /// Lower for this device; what it has no kernel for is a reference kernel, run by it if it can.
  Device *device = nullptr;
  /// Whether the device's tensor cores may round f32 to tf32 where they multiply.
  bool tf32 = false;
  /// In front of the names of CPU kernels.
  std::string kernelPrefix;
  /// Gets the register tiles that contractions had to choose from: for tuning.
  std::vector<Tile> *tiles = nullptr;
};

/// Emits the code of one operation: builds kernels and launches them. Returns failure after
/// emitting a diagnostic.
using EmitFn = mlir::LogicalResult (*)(mlir::Operation *op, Lowering &lowering);
/// Whether an emitter can handle an operation.
using MatchFn = bool (*)(mlir::Operation *op, Lowering &lowering);

/// An emitter. For each operation the matching one of highest priority is used, or the one that its attribute
/// `nn.kernel = {emitter = "conv-tiled"}` asks for, if it matches; at --opt=0 only those of priority 0, which are the
/// reference: plain loops, every type and attribute.
struct Emitter {
  llvm::StringRef opName; // "nn.conv"; "*" for every elementwise operation
  llvm::StringRef name;   // "conv-direct": shown in reports
  int priority;
  MatchFn match; // null: always
  EmitFn emit;
};
/// Registers an emitter; used at namespace scope: `static RegisterEmitter r({...});`
struct RegisterEmitter {
  explicit RegisterEmitter(Emitter emitter);
};
llvm::ArrayRef<Emitter> emittersOf(llvm::StringRef opName);

/// The state of lowering one function.
class Lowering {
public:
  Lowering(mlir::ModuleOp kernels, Program &program, nn::ShapeContext &shapes, const Target &target,
           const LoweringOptions &options);

  /// Lowers `main`: fills the program and the kernel module. Diagnoses every operation that has no
  /// emitter.
  mlir::LogicalResult run(mlir::func::FuncOp main);

  //--- for emitters ----------------------------------------------------------
  const Target &target;
  const LoweringOptions &options;
  nn::ShapeContext &shapes;
  nn::DimContext &dimContext() { return shapes.dimContext(); }
  nn::Dim c(int64_t v) { return dimContext().constant(v); }
  const nn::Dims &dims(mlir::Value v) { return shapes.info(v).dims; }
  nn::Dim numElements(mlir::Value v) { return nn::product(dimContext(), dims(v)); }
  /// Product of dims[from, to).
  nn::Dim product(llvm::ArrayRef<nn::Dim> dims, unsigned from, unsigned to) {
    return nn::product(dimContext(), dims.slice(from, to - from));
  }
  /// The dimensions that `v` has in memory: its own, but of past and present of a state (Program::states) the state's
  /// capacity along the axis that grows.
  const nn::Dims &memoryDims(mlir::Value v) {
    auto it = stateMemory.find(v);
    return it == stateMemory.end() ? dims(v) : it->second;
  }
  /// 1 unless the concat is an append to a state that is bound: then its first part is there already, and this is 0.
  nn::Dim copiesPast(nn::ConcatOp concat) {
    auto it = appends.find(concat);
    return it == appends.end() ? c(1) : it->second;
  }
  /// The constant that defines a value, if one does.
  std::optional<nn::ConstantData> constant(mlir::Value v);
  /// A tensor between two launches of the same operation.
  TempTensor temp(mlir::Type elementType, llvm::ArrayRef<nn::Dim> dims);
  /// Elements that are zero in a new session and kept from run to run.
  TempTensor kept(mlir::Type elementType, int64_t elements);
  /// Finishes a kernel and launches it with `tasks` tasks. Equal kernels are kept once.
  void launch(Kernel &kernel, nn::Dim tasks);
  /// The same for a kernel of the device: its function gets the number of the block, the number of
  /// blocks and the thread in the block in place of tasks and thread.
  void launchBlocks(Kernel &kernel, nn::Dim blocks, int64_t threads, int64_t sharedBytes);
  /// Makes `result` a view of `source`, starting `byteOffset` bytes into it. No code.
  void alias(mlir::Value result, mlir::Value source, nn::Dim byteOffset = {});
  /// Emits a contiguous copy of `source` into `result`.
  void copy(mlir::Value result, mlir::Value source);
  /// The concatenation that begins with the operands of the one that computes `v`, and is where they are put; `v` itself
  /// where there is none.
  mlir::Value longerConcat(mlir::Value v) const { return longerConcats.lookup_or(v, v); }
  /// How many operands of a concatenation are in place. Those of the ones it begins with need not be copied again.
  unsigned &operandsInPlace(mlir::Value concat) { return inPlaceOperands[concat]; }
  /// Where a contraction writes the rows of its result into a concatenation along the last dimension; null: it is contiguous.
  struct RowPlace {
    mlir::Value whole;
    nn::Dim position;
  };
  const RowPlace *rowPlaceOf(mlir::Value v) const {
    auto it = rowPlaces.find(v);
    return it == rowPlaces.end() ? nullptr : &it->second;
  }
  /// Elements between the rows (the last dimension) of a result.
  nn::Dim rowPitch(mlir::Value v) {
    const RowPlace *place = rowPlaceOf(v);
    return dims(place ? place->whole : v).back();
  }
  /// Whether a run of the model leaves its weights in the last cache, so that the next one finds them there.
  bool weightsStayCached() const { return constantBytes * 2 <= target.l3Bytes; }
  /// Whether some emitter reads `v` itself, and not only what it is a view of.
  bool isRead(mlir::Value v) const { return readValues.contains(v); }
  /// `op` needs no code of its own: the emitter of its operand has written its result.
  void absorb(mlir::Operation *op) { absorbed.insert(op); }
  /// Lowers the operations of a region into a new block of the program and returns its number;
  /// `after` may add instructions at its end.
  mlir::FailureOr<uint32_t> lowerBlock(mlir::Region &region, llvm::function_ref<mlir::LogicalResult()> after = nullptr);
  /// Program buffer of a value (made on first use).
  uint32_t bufferOf(mlir::Value v);
  uint32_t value(nn::Dim d) { return program.value(d); }
  /// Declares a function from outside for kernels to call; the artifact must be linked with it.
  void declareFunction(llvm::StringRef name, mlir::FunctionType type);
  /// Appends to the block that is being lowered.
  void addInstruction(nnopt_instruction instruction);
  Program &program;

private:
  friend class Kernel;
  mlir::LogicalResult lowerOp(mlir::Operation *op);
  mlir::LogicalResult lowerRange(mlir::Block &block);
  void markNeeded(mlir::func::FuncOp main);
  void planStates(mlir::func::FuncOp main);
  void planConcatViews(mlir::func::FuncOp main);
  void planConcatPrefixes(mlir::func::FuncOp main);
  void placeRows(nn::ConcatOp concat);
  mlir::LogicalResult finishPlacedConcat(nn::ConcatOp concat);
  mlir::LogicalResult materialize(mlir::Operation *op, llvm::ArrayRef<nn::Dim> content);
  void emitCopy(uint32_t to, uint32_t from, nn::Dim byteOffset, const nn::ValueInfo &info);
  void finishBlock(uint32_t number);
  bool launchAsThreads(Kernel &kernel, nn::Dim tasks);
  bool addKernel(Kernel &kernel, mlir::ModuleOp module, std::vector<std::string> &names, uint32_t &number);
  void addLaunch(Kernel &kernel, ProgramLaunch launch);
  mlir::ModuleOp kernels;
  llvm::StringRef emitterName; // the one that is at work
  int64_t constantBytes = 0; // of the function
  llvm::DenseMap<mlir::Value, uint32_t> buffers;
  llvm::DenseSet<mlir::Operation *> needed, absorbed;
  llvm::DenseSet<mlir::Value> readValues;
  /// A kernel that is in `module`, with the attributes that it had when its name was not settled.
  struct KnownKernel {
    mlir::ModuleOp module;
    mlir::Operation *func;
    mlir::DictionaryAttr attributes;
    uint32_t number;
  };
  std::unordered_map<size_t, std::vector<KnownKernel>> kernelsByHash;
  std::set<std::string> usedNames;
  std::vector<std::vector<nnopt_instruction>> blockStack;
  llvm::DenseMap<mlir::Value, nn::Dims> stateMemory;
  llvm::DenseMap<mlir::Operation *, nn::Dim> appends;
  llvm::DenseSet<mlir::Operation *> placedConcats;
  llvm::DenseMap<mlir::Value, mlir::Value> longerConcats;
  llvm::DenseMap<mlir::Value, unsigned> inPlaceOperands;
  llvm::DenseMap<mlir::Value, RowPlace> rowPlaces;
  std::set<std::pair<mlir::Operation *, void *>> placedInputs;
};

} // namespace nnopt::cpu

#endif
