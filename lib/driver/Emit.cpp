//===- Emit.cpp - what a compilation hands out ------------------------------===//

#include "lib/backend/onnx/Export.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/Compilation.h"
#include "lib/driver/Verify.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <map>
#include <set>

using namespace mlir;

namespace nnopt {

std::string identifier(StringRef stem) {
  std::string s;
  for (char c : stem)
    s += llvm::isAlnum(c) ? c : '_';
  return s.empty() || llvm::isDigit(s[0]) ? "model_" + s : s;
}

static bool sameFile(StringRef a, StringRef b) {
  bool same = false;
  return !llvm::sys::fs::equivalent(a, b, same) && same;
}

int Compilation::writeText(llvm::function_ref<bool(llvm::raw_ostream &)> write) {
  if (options.output.empty() || options.output == "-") {
    write(llvm::outs());
    llvm::outs().flush();
    if (llvm::outs().has_error()) {
      std::string reason = llvm::outs().error().message();
      llvm::outs().clear_error();
      return fail("standard output: cannot write: " + reason, ExitFailure);
    }
    return ExitDone;
  }
  std::string error;
  if (!writeFileAtomically(options.output, [&](llvm::raw_fd_ostream &os) { return write(os); }, error))
    return fail(error, ExitFailure);
  return ExitDone;
}

int Compilation::emitModule(ModuleOp module) {
  if (StringRef(options.output).ends_with(".mlirbc"))
    return writeText([&](llvm::raw_ostream &os) { return succeeded(writeBytecodeToFile(module, os)); });
  return writeText([&](llvm::raw_ostream &os) {
    module.print(os, OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(0));
    os << "\n";
    return true;
  });
}

/// An output must not be one of the files that are being read.
int Compilation::refuseInputFile(StringRef path) {
  for (const std::string &input : inputFiles)
    if (!path.empty() && sameFile(path, input))
      return fail(path + ": the output is a file of the input model; name another one with -o", ExitUsage);
  return ExitDone;
}

int Compilation::emitOnnx(ModuleOp module) {
  stage("export");
  onnx::ExportResult exported = onnx::exportModel(module);
  progress.finish();
  if (!exported.unsupported.empty())
    onnx::printUnsupportedTable(llvm::errs(), exported.unsupported);
  if (exported.exitCode)
    return fail(options.model + ": error: " +
                    (exported.exitCode == ExitUnsupported ? llvm::Twine("the graph has operations without ONNX form")
                                                          : llvm::Twine("export failed")),
                exported.exitCode);
  const onnx::ExportedModel &model = *exported.model;
  StringRef output = options.output;
  bool toFile = !output.empty() && output != "-", apart = options.externalData || model.needsDataFile();
  if (!toFile && (apart || options.verify || llvm::outs().is_displayed()))
    return fail("--emit=onnx: name the file to write with -o", ExitUsage);
  std::string data = apart ? (output + ".data").str() : "";
  if (int code = refuseInputFile(data))
    return code;
  int code = ExitDone;
  std::string error;
  if (!apart) {
    code = writeText([&](llvm::raw_ostream &os) { return model.write(os), true; });
  } else if (!writeFileAtomically(
                 output,
                 [&](llvm::raw_fd_ostream &os) {
                   model.write(os, llvm::sys::path::filename(data));
                   os.flush();
                   // Weights get their name before the model does: there is none without its weights.
                   return os.has_error() ||
                          writeFileAtomically(
                              data, [&](llvm::raw_fd_ostream &weights) { return model.writeData(weights), true; }, error);
                 },
                 error)) {
    code = fail(error, ExitFailure);
  }
  return code == ExitDone && options.verify ? verifyExport(options) : code;
}

int Compilation::emitObject(CompiledModel &compiled) {
  std::string stem = options.output.empty() ? llvm::sys::path::stem(options.model).str() + ".o" : options.output;
  std::string base = stem;
  if (StringRef(base).ends_with(".o"))
    base.resize(base.size() - 2);
  std::string name = identifier(llvm::sys::path::filename(base)), error;
  SmallVector<char, 0> object;
  if (!linkRelocatable(compiled.objects, object, error))
    return fail(error, ExitFailure);
  auto bytes = [&](ArrayRef<char> data) {
    return [data](llvm::raw_fd_ostream &os) {
      os.write(data.data(), data.size());
      return true;
    };
  };
  auto header = [&](llvm::raw_fd_ostream &os) {
    os << "/* Made by nnopt from " << llvm::sys::path::filename(options.model) << ". Link " << llvm::sys::path::filename(base)
       << ".o with the nnopt runtime, then\n"
       << " *   nnopt_model_open_static(&nnopt_" << name << ", \"" << llvm::sys::path::filename(base)
       << ".weights\", NULL, &model, &error);\n";
    for (auto [i, t] : llvm::enumerate(compiled.program->inputs))
      os << " * input " << i << ": " << t.name << "\n";
    for (auto [i, t] : llvm::enumerate(compiled.program->outputs))
      os << " * output " << i << ": " << t.name << "\n";
    os << " */\n#ifndef NNOPT_MODEL_" << name << "_H\n#define NNOPT_MODEL_" << name << "_H\n"
       << "#include <nnopt/runtime.h>\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n"
       << "extern const struct nnopt_descriptor nnopt_" << name << ";\n"
       << "#ifdef __cplusplus\n}\n#endif\n#endif\n";
    return true;
  };
  if (!writeFileAtomically(base + ".o", bytes(object), error) ||
      !writeFileAtomically(base + ".h", header, error) ||
      !writeFileAtomically(
          base + ".weights", [&](llvm::raw_fd_ostream &os) { return compiled.program->weights->write(os), true; }, error))
    return fail(error, ExitFailure);
  return ExitDone;
}

/// Adds the objects of --link, which must define `functions`, those of nn.custom operations.
int Compilation::linkObjects(CompiledModel &compiled, ArrayRef<std::string> functions) {
  llvm::StringSet<> defined;
  for (const std::string &path : options.link) {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    if (!buffer)
      return fail("--link=" + path + ": " + buffer.getError().message(), ExitUsage);
    auto object = llvm::object::ObjectFile::createELFObjectFile(**buffer);
    if (!object)
      return fail("--link=" + path + ": not an object file: " + llvm::toString(object.takeError()), ExitUsage);
    for (const llvm::object::SymbolRef &symbol : (*object)->symbols()) {
      llvm::Expected<uint32_t> flags = symbol.getFlags();
      llvm::Expected<StringRef> name = symbol.getName();
      if (flags && name && !(*flags & llvm::object::SymbolRef::SF_Undefined) && (*flags & llvm::object::SymbolRef::SF_Global))
        defined.insert(*name);
      llvm::consumeError(flags.takeError());
      llvm::consumeError(name.takeError());
    }
    compiled.objects.emplace_back((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
  }
  for (const std::string &name : functions)
    if (!defined.contains(name))
      return fail(options.model + ": error: no object defines kernel '" + name + "'; name the one that does with --link=FILE.o",
                  ExitUsage);
  return ExitDone;
}

/// The operations of some launches, with their nodes: `einsum (a), gather (b and 2 more)`.
static std::string byOperation(const Program &program, llvm::function_ref<bool(const ProgramLaunch &)> chosen) {
  std::map<std::string, std::set<std::string>> nodes;
  for (const ProgramLaunch &launch : program.launches)
    if (chosen(launch))
      nodes[launch.op].insert(launch.nodes);
  std::vector<std::string> texts;
  for (const auto &[op, names] : nodes) {
    std::string more = names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "";
    texts.push_back(op + " (" + *names.begin() + more + ")");
  }
  return llvm::join(texts, ", ");
}

void Compilation::summary(CompiledModel &compiled, StringRef path) {
  progress.finish();
  if (options.timing)
    for (auto &[name, seconds] : progress.times())
      llvm::errs() << llvm::formatv("  {0,-24} {1:f3} s\n", name, seconds);
  if (options.quiet)
    return;
  MemoryPlan plan = compiled.program->planMemory();
  llvm::errs() << llvm::formatv(
      "{0}: {1} kernels, {2} launches, weights {3:f2} MB, arena {4:f2} MB (lower bound {5:f2}, without reuse {6:f2})\n", path,
      compiled.program->kernelNames.size(), compiled.program->launches.size(), plan.weights / 1e6, plan.arena / 1e6,
      plan.lowerBound / 1e6, plan.naive / 1e6);
  if (!compiled.deviceProgram)
    return;
  Program &gpu = *compiled.deviceProgram;
  MemoryPlan gpuPlan = gpu.planMemory();
  // Kernels that were not made for GPUs have an emitter of the CPU's.
  auto isOnHost = [](const ProgramLaunch &launch) { return !launch.threads; };
  auto isPlain = [](const ProgramLaunch &launch) { return launch.threads && !launch.emitter.empty(); };
  size_t hostLaunches = llvm::count_if(gpu.launches, isOnHost), plainLaunches = llvm::count_if(gpu.launches, isPlain);
  llvm::errs() << llvm::formatv("  on the GPU: {0} kernels, {1} launches, arena {2:f2} MB\n", gpu.deviceKernelNames.size(),
                                gpu.launches.size() - hostLaunches, gpuPlan.arena / 1e6);
  if (plainLaunches)
    llvm::errs() << llvm::formatv("  of these in plain loops, a thread a task: {0}\n", byOperation(gpu, isPlain));
  if (hostLaunches)
    llvm::errs() << llvm::formatv("  on the CPU, with copies: {0}\n", byOperation(gpu, isOnHost));
}

} // namespace nnopt
