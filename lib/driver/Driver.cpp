//===- Driver.cpp - the compiler from option to file ------------------------===//

#include "lib/driver/Driver.h"
#include "lib/codegen/cpu/LowerToLLVM.h"
#include "lib/codegen/cuda/Compile.h"
#include "lib/driver/Bisect.h"
#include "lib/driver/Compilation.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;

namespace nnopt {

void registerAllDialects(DialectRegistry &registry) {
  registry.insert<nn::NNDialect>();
  cpu::registerCodegenDialects(registry);
  cuda::registerDialects(registry);
}

bool parseDimSpec(StringRef text, llvm::StringMap<onnx::DimSpec> &dims, std::string &error) {
  auto [name, value] = text.rsplit('=');
  auto number = [](StringRef s, int64_t &v) { return !s.empty() && !s.getAsInteger(10, v) && v >= 0; };
  onnx::DimSpec spec;
  bool ok = !name.empty() && text.contains('=');
  if (ok) {
    if (size_t dots = value.find(".."); dots != StringRef::npos) {
      ok = number(value.take_front(dots), spec.low) && number(value.drop_front(dots + 2), spec.high) &&
           spec.low <= spec.high;
    } else {
      ok = number(value, spec.low);
      spec.high = spec.low;
    }
  }
  if (!ok) {
    error = "--dim=" + text.str() + ": expected NAME=VALUE, NAME=LOW..HIGH or NAME=VALUE,VALUE,* with sizes of 0 or more";
    return false;
  }
  dims[name] = spec;
  return true;
}

bool printsVersion(int argc, char **argv) {
  if (llvm::none_of(llvm::ArrayRef(argv, argc).drop_front(), [](llvm::StringRef arg) { return arg == "--version"; }))
    return false;
  llvm::outs() << "nnopt " NNOPT_VERSION "\n"
     << "  LLVM " LLVM_VERSION_STRING ", artifact format " << NNOPT_FORMAT_VERSION << "\n"
     << "  host CPU: " << llvm::sys::getHostCPUName() << " (" << llvm::sys::getDefaultTargetTriple() << ")\n"
     << "  targets: x86-64 (native, x86-64-v2, x86-64-v3, x86-64-v4, any CPU name of LLVM), aarch64-linux-gnu:CPU\n";
  return true;
}

int compileModel(const DriverOptions &options) {
  if (options.bisect)
    return bisectPasses(options);
  // LLVM aborts on some internal errors; these become exit code 1 and a message.
  llvm::CrashRecoveryContext::Enable();
  llvm::CrashRecoveryContext recovery;
  Compilation compilation(options);
  int code = ExitFailure;
  if (!recovery.RunSafely([&] { code = compilation.run(); }))
    return compilation.reportCrash();
  return code;
}

} // namespace nnopt
