//===- Driver.h - from options to artifacts ---------------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_DRIVER_H
#define NNOPT_LIB_DRIVER_DRIVER_H

#include "lib/codegen/Program.h"
#include "lib/codegen/cpu/Compile.h"
#include "lib/codegen/cpu/Lowering.h"
#include "lib/codegen/cpu/Target.h"
#include "lib/compress/Options.h"
#include "lib/frontend/onnx/Import.h"
#include "mlir/IR/BuiltinOps.h"
#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace nnopt {
namespace cuda {
class Device;
}

/// Exit codes of every tool (DESIGN 1.2).
enum ExitCode { ExitDone = 0, ExitFailure = 1, ExitUsage = 2, ExitInvalid = 3, ExitUnsupported = 4 };

enum class EmitKind { Lib, Obj, NN, ONNX, Exec, LLVM, Asm };

/// Whether artifacts have weights in fewer bytes: where a budget for the size, or a recipe made with one, is given, or always.
enum class EncodeUse : uint8_t { Off, Auto, On };

struct DriverOptions {
  std::string model;
  std::string output; // empty: chosen from the model's name
  EmitKind emit = EmitKind::Lib;
  std::string target = "native"; // or several, separated by commas
  std::vector<std::string> dims; // NAME=VALUE, NAME=LO..HI, NAME=VALUE,...,*
  int optLevel = 2;
  bool winograd = true;
  cpu::SparseUse sparse = cpu::SparseUse::Auto;
  bool bf16 = false; // convolutions and matrix products multiply bf16
  bool byteCache = false; // caches of attention hold 8 bits
  std::string paddingMask; // input that says which tokens are real; others are not computed
  bool tf32 = false; // those of f32 on GPUs multiply tf32
  bool f16 = false;  // tensors of f32 are f16 in the memory of GPUs
  EncodeUse encode = EncodeUse::Auto;
  std::optional<double> tuneSeconds; // choose kernels by running them, for so long
  std::string cacheDir; // of measurements and object code (Cache.h); empty: none
  std::string gpu; // architectures to add GPU code for; "emulate" or "emulate:N": GPU kernels on the CPU
  bool check = false;
  bool verify = false;
  bool bisect = false;
  std::string verifyInputs; // npz of --verify and --bisect, empty: seeded random inputs
  std::optional<std::string> passes; // a pipeline in place of the default one
  bool externalData = false;         // --emit=onnx: weights in a file of their own
  std::vector<std::string> link;     // objects with the kernels of nn.custom operations
  bool timing = false;
  std::vector<std::string> printAfter; // pass names
  bool quiet = false;                  // no progress, no summary
  std::vector<std::string> reports;    // files: what was done to the model, as .html or .json
  bool reportProfile = false;          // run the artifact for the report
  std::string reportInputs;            // npz, empty: seeded random inputs
  CompressionOptions compression;      // changes to the model beyond exact rewrites
  std::vector<std::string> reportDims; // NAME=SIZE of symbolic dimensions, for the report's figures
};

/// Registers every dialect and interface that the compiler uses.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Shows "stage  done/total  seconds" in one line on a terminal; silent when stderr is piped.
class Progress {
public:
  explicit Progress(bool enabled);
  ~Progress();
  void stage(llvm::StringRef name);
  void fraction(double f);
  void finish();
  /// Seconds of each stage so far, in order.
  std::vector<std::pair<std::string, double>> times() const;

private:
  void draw(double f);
  bool enabled;
  std::chrono::steady_clock::time_point start, stageStart;
  std::string current;
  std::vector<std::pair<std::string, double>> done;
};

/// A lowered and compiled function: what artifacts are made of.
struct CompiledModel {
  std::unique_ptr<nn::DimContext> dims;
  std::unique_ptr<Program> program;
  /// The program for GPUs, where one was asked for.
  std::unique_ptr<nn::DimContext> deviceDims;
  std::unique_ptr<Program> deviceProgram;
  /// What lowering made of the model, until it is compiled.
  mlir::OwningOpRef<mlir::ModuleOp> kernels, deviceHostKernels;
  std::shared_ptr<cuda::Device> device;
  /// Object files, or one text.
  std::vector<llvm::SmallVector<char, 0>> objects;
  cpu::Target target;
};

struct CodegenOptions {
  /// Architectures to add GPU code for: 80 for sm_80.
  std::vector<uint32_t> gpus;
  /// GPU kernels run on the CPU, in place of those of the CPU (cuda::emulate), as in the portable image or that for sm_90a,
  /// as for a GPU with so many multiprocessors where that is said.
  enum class GpuEmulation : uint8_t { None, Portable, Sm90a } emulateGpu = GpuEmulation::None;
  int64_t emulatedMultiprocessors = 0;
  cpu::LoweringOptions lowering;
  cpu::CompileOptions compile;
  std::vector<std::pair<std::string, std::string>> properties;
  /// Where constants go, if other programs have theirs there already.
  std::shared_ptr<WeightStore> weights;
};

/// Lowers `main` of an optimized nn module to a program and kernels for `target`.
mlir::LogicalResult lowerModel(mlir::ModuleOp module, const cpu::Target &target, const CodegenOptions &options,
                               CompiledModel &result, Progress *progress = nullptr);
/// Compiles what was lowered. All programs of an artifact are lowered before the first is compiled: each records the
/// size of the weights.
mlir::LogicalResult compileLowered(const CodegenOptions &options, CompiledModel &result, Progress *progress = nullptr);
/// Both.
mlir::LogicalResult generateCode(mlir::ModuleOp module, const cpu::Target &target, const CodegenOptions &options,
                                 CompiledModel &result, Progress *progress = nullptr);

/// Runs the whole compiler; prints errors to stderr. Returns an ExitCode.
int compileModel(const DriverOptions &options);

/// Parses `NAME=VALUE`, `NAME=LO..HI`; false with a message for anything else.
bool parseDimSpec(llvm::StringRef text, llvm::StringMap<onnx::DimSpec> &dims, std::string &error);

/// Whether `--version` is among the arguments; prints it then: versions of nnopt, LLVM, the host CPU and the targets.
/// Asked before any other parsing, since MLIR's own mains know a `--version` of theirs.
bool printsVersion(int argc, char **argv);

} // namespace nnopt

#endif
