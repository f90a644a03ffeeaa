//===- Driver.cpp - the compiler from option to file ------------------------===//

#include "lib/driver/Driver.h"
#include "lib/backend/onnx/Export.h"
#include "lib/codegen/cuda/Compile.h"
#include "lib/compress/Engine.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/Bisect.h"
#include "lib/driver/PassList.h"
#include "lib/driver/Verify.h"
#include "lib/report/Report.h"
#include "tools/common/tensor.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Config/llvm-config.h"

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
    error = "--dim=" + text.str() + ": expected NAME=VALUE or NAME=LOW..HIGH with sizes of 0 or more";
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

//===----------------------------------------------------------------------===//
// One compilation
//===----------------------------------------------------------------------===//

namespace {

/// Diagnostics of MLIR as one line each: severity, ONNX node, message.
class DiagnosticPrinter : public ScopedDiagnosticHandler {
public:
  DiagnosticPrinter(MLIRContext *ctx, StringRef file) : ScopedDiagnosticHandler(ctx), file(file.str()) {
    setHandler([this](Diagnostic &d) { print(d); });
  }

private:
  void print(Diagnostic &d) {
    if (d.getSeverity() == DiagnosticSeverity::Remark || d.getSeverity() == DiagnosticSeverity::Note)
      return;
    std::string node = llvm::join(nodeNames(d.getLocation()), ", ");
    llvm::errs() << file << (node.empty() ? "" : ": node '" + node + "'")
                 << (d.getSeverity() == DiagnosticSeverity::Error ? ": error: " : ": warning: ") << d.str() << "\n";
  }
  std::string file;
};

/// Prints the module after the passes that the user named.
struct PrintAfter : PassInstrumentation {
  explicit PrintAfter(std::vector<std::string> names) : names(std::move(names)) {}
  void runAfterPass(Pass *pass, Operation *op) override {
    if (llvm::is_contained(names, pass->getArgument()) || llvm::is_contained(names, "all")) {
      llvm::errs() << "// ----- after " << pass->getArgument() << " -----\n";
      op->print(llvm::errs(), OpPrintingFlags().elideLargeElementsAttrs(16).elideLargeResourceString(0).useLocalScope());
      llvm::errs() << "\n";
    }
  }
  std::vector<std::string> names;
};

class Compilation {
public:
  explicit Compilation(const DriverOptions &options) : options(options), progress(!options.quiet) {}
  int run();
  /// After a crash: writes what was being compiled to a file and prints where.
  int reportCrash();

private:
  int fail(const llvm::Twine &message, int code) {
    progress.finish();
    llvm::errs() << message << "\n";
    return code;
  }
  void stage(StringRef name) {
    stageName = name.str();
    progress.stage(name);
  }
  int emitModule(ModuleOp module);
  int emitOnnx(ModuleOp module);
  int refuseInputFile(StringRef path);
  int writeText(llvm::function_ref<bool(llvm::raw_ostream &)> write);
  int emitObject(CompiledModel &compiled);
  int linkObjects(CompiledModel &compiled);
  void summary(CompiledModel &compiled, StringRef path);

  /// Keeps the graph as text (weights elided) in case the next stage crashes.
  void remember(ModuleOp module) {
    snapshot.clear();
    llvm::raw_string_ostream os(snapshot);
    module.print(os, OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(0).enableDebugInfo());
  }

  const DriverOptions &options;
  Progress progress;
  std::string stageName, snapshot;
  std::vector<std::string> inputFiles; // the model and its external data
};

} // namespace

/// A valid C identifier from the model's name.
static std::string identifier(StringRef stem) {
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

/// Adds the objects of --link, which must define the functions of nn.custom operations.
int Compilation::linkObjects(CompiledModel &compiled) {
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
  for (const std::string &name : compiled.program->outsideFunctions)
    if (!defined.contains(name))
      return fail(options.model + ": error: no object defines kernel '" + name + "'; name the one that does with --link=FILE.o",
                  ExitUsage);
  return ExitDone;
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
  llvm::StringSet<> onHost;
  size_t hostLaunches = 0;
  for (const ProgramLaunch &launch : gpu.launches)
    if (!launch.threads) {
      ++hostLaunches;
      onHost.insert(launch.op);
    }
  llvm::errs() << llvm::formatv("  on the GPU: {0} kernels, {1} launches, arena {2:f2} MB; {3} launches on the CPU",
                                gpu.deviceKernelNames.size(), gpu.launches.size() - hostLaunches, gpuPlan.arena / 1e6,
                                hostLaunches);
  llvm::SmallVector<StringRef> names(onHost.keys());
  llvm::sort(names);
  llvm::errs() << (hostLaunches ? ": " : "") << llvm::join(names, ", ") << "\n";
}

int Compilation::run() {
  std::string error;
  llvm::StringMap<onnx::DimSpec> dims;
  for (const std::string &spec : options.dims)
    if (!parseDimSpec(spec, dims, error))
      return fail(error, ExitUsage);
  cpu::Target target;
  if (!cpu::Target::get(options.target, target, error))
    return fail("--target=" + options.target + ": " + error, ExitUsage);
  if (error = report::whyInvalid(options); !error.empty())
    return fail(error, ExitUsage);
  inputFiles = {options.model};
  if (int code = refuseInputFile(options.output))
    return code;

  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext ctx(registry, MLIRContext::Threading::DISABLED);
  ctx.loadAllAvailableDialects();
  DiagnosticPrinter diagnostics(&ctx, options.model);
  std::optional<report::Report> report;
  if (!options.reports.empty())
    report.emplace(options, ctx);
  // The report is the last thing that is written: it tells of everything else.
  auto writeReport = [&](int code) -> int {
    progress.finish();
    if (code != ExitDone || !report)
      return code;
    return report->write(progress.times(), error) ? ExitDone : fail(error, ExitFailure);
  };

  stage("import");
  onnx::ImportResult imported;
  StringRef modelPath = options.model;
  if (modelPath.ends_with(".mlir") || modelPath.ends_with(".mlirbc")) {
    imported.module = parseSourceFile<ModuleOp>(options.model, &ctx);
    if (!imported.module)
      return fail(options.model + ": not a valid nn module", ExitInvalid);
  } else {
    nn::DimContext importDims;
    onnx::ImportOptions importOptions;
    importOptions.dims = dims;
    importOptions.checkOnly = options.check;
    imported = onnx::importModel(options.model, ctx, importDims, importOptions);
  }
  if (!options.quiet)
    for (const std::string &warning : imported.warnings)
      llvm::errs() << options.model << ": warning: " << warning << "\n";
  if (imported.exitCode != 0) {
    progress.finish();
    if (!imported.unsupported.empty())
      onnx::printUnsupportedTable(llvm::errs(), imported.unsupported);
    if (!imported.error.empty())
      llvm::errs() << imported.error << "\n";
    return imported.exitCode;
  }
  inputFiles.insert(inputFiles.end(), imported.files.begin(), imported.files.end());
  if (int code = refuseInputFile(options.output))
    return code;
  if (options.check) {
    progress.finish();
    if (!options.quiet)
      llvm::outs() << options.model << ": every operator is supported\n";
    return ExitDone;
  }
  ModuleOp module = *imported.module;
  if (report && !report->imported(module, error))
    return fail(error, ExitUsage);

  DriverOptions again = options; // for --verify: what was chosen is not chosen a second time
  if (options.compression.active()) {
    remember(module);
    stageName = "compression";
    try {
      again.compression.recipe = compress::compressModule(module, options, progress);
    } catch (const ToolError &e) {
      return fail(e.what(), e.status());
    }
  }

  stage("optimization");
  remember(module);
  PassManager pm(&ctx, ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
  if (!options.printAfter.empty())
    pm.addInstrumentation(std::make_unique<PrintAfter>(options.printAfter));
  if (!addPasses(pm, options, error))
    return fail(error, ExitUsage);
  if (options.timing)
    pm.enableTiming();
  if (report)
    report->instrument(pm);
  if (failed(pm.run(module)))
    return fail(options.model + ": error: optimization failed", ExitFailure);
  if (report)
    report->optimized(module);
  if (options.emit == EmitKind::NN) {
    progress.finish();
    return writeReport(emitModule(module));
  }
  if (options.emit == EmitKind::ONNX)
    return writeReport(emitOnnx(module));

  CodegenOptions codegen;
  codegen.lowering.optLevel = options.optLevel;
  codegen.lowering.winograd = options.winograd;
  codegen.properties = {{"producer", "nnopt " NNOPT_VERSION},
                        {"target", target.name},
                        {"opt", std::to_string(options.optLevel)},
                        {"model", llvm::sys::path::filename(options.model).str()}};
  if (module.walk([](nn::QuantizeOp) { return WalkResult::interrupt(); }).wasInterrupted())
    codegen.properties.push_back({"quantizes", "yes"});
  if (options.gpu == "emulate")
    codegen.emulateGpu = true;
  else if (!options.gpu.empty() && !cuda::parseArchitectures(options.gpu, codegen.gpus, error))
    return fail("--gpu: " + error, ExitUsage);
  if (options.emit == EmitKind::LLVM)
    codegen.compile.kind = cpu::CodeKind::LLVMIR;
  if (options.emit == EmitKind::Asm)
    codegen.compile.kind = cpu::CodeKind::Assembly;
  std::string output = options.output;
  if (options.emit == EmitKind::Obj) {
    StringRef base = output.empty() ? llvm::sys::path::stem(options.model) : StringRef(output);
    base.consume_back(".o");
    codegen.compile.descriptorSymbol = "nnopt_" + identifier(llvm::sys::path::filename(base));
  }
  stageName = "code generation";
  remember(module);
  CompiledModel compiled;
  if (failed(generateCode(module, target, codegen, compiled, &progress)))
    return fail(options.model + ": error: code generation failed", ExitFailure);
  if (report)
    report->compiled(compiled);

  if (options.emit == EmitKind::Lib || options.emit == EmitKind::Obj)
    if (int code = linkObjects(compiled))
      return code;

  switch (options.emit) {
  case EmitKind::NN:
  case EmitKind::ONNX:
    break;
  case EmitKind::Exec:
    progress.finish();
    return writeReport(writeText([&](llvm::raw_ostream &os) {
      compiled.program->print(os);
      if (compiled.deviceProgram)
        compiled.deviceProgram->print(os << "cuda:\n");
      return true;
    }));
  case EmitKind::LLVM:
  case EmitKind::Asm:
    progress.finish();
    return writeReport(writeText([&](llvm::raw_ostream &os) {
      os.write(compiled.objects[0].data(), compiled.objects[0].size());
      return true;
    }));
  case EmitKind::Obj:
    stage("writing");
    if (int code = emitObject(compiled))
      return code;
    summary(compiled, options.model);
    return writeReport(ExitDone);
  case EmitKind::Lib:
    break;
  }
  stage("writing");
  if (output.empty())
    output = llvm::sys::path::stem(options.model).str() + ".so";
  if (int code = refuseInputFile(output))
    return code;
  if (!writeArtifact(output, compiled.objects, *compiled.program, target.required, error))
    return fail(error, ExitFailure);
  if (report) {
    report->written(output);
    if (options.reportProfile) {
      stage("profiling");
      if (int code = report->measure(error))
        return fail(error, code);
    }
  }
  summary(compiled, output);
  if (int code = writeReport(ExitDone))
    return code;
  return options.verify ? verifyArtifact(again, output) : ExitDone;
}

int Compilation::reportCrash() {
  progress.finish();
  llvm::errs() << options.model << ": internal error during " << stageName << "; this is a defect of nnopt\n";
  SmallString<128> path;
  int fd;
  if (snapshot.empty() || llvm::sys::fs::createUniqueFile("nnopt-crash-%%%%%%.mlir", fd, path))
    return ExitFailure;
  llvm::raw_fd_ostream os(fd, /*shouldClose=*/true);
  os << "// nnopt " NNOPT_VERSION ", " << options.model << " at --opt=" << options.optLevel << " --target=" << options.target
     << ": crash during " << stageName << "\n"
     << snapshot << "\n";
  llvm::errs() << "The graph at that point is in " << path << "; please report it.\n";
  return ExitFailure;
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
