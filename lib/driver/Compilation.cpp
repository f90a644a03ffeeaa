//===- Compilation.cpp - one run of the compiler ----------------------------===//

#include "lib/driver/Compilation.h"
#include "lib/codegen/cuda/Compile.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/compress/Engine.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/PassList.h"
#include "lib/driver/Tune.h"
#include "lib/driver/Verify.h"
#include "lib/report/Report.h"
#include "tools/common/tensor.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace nnopt {

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

} // namespace

/// Reads the model with dimensions pinned as `texts` say.
int Compilation::import(ArrayRef<std::string> texts, MLIRContext &ctx, onnx::ImportResult &imported) {
  stage("import");
  StringRef path = options.model;
  if (path.ends_with(".mlir") || path.ends_with(".mlirbc")) {
    if (!texts.empty())
      return fail("--dim=" + texts.front() + ": dimensions are pinned while a model is imported, not in a graph of nn operations",
                  ExitUsage);
    imported.module = parseSourceFile<ModuleOp>(options.model, &ctx);
    return imported.module ? int(ExitDone) : fail(options.model + ": not a valid nn module", ExitInvalid);
  }
  nn::DimContext dims;
  onnx::ImportOptions importOptions;
  std::string error;
  for (const std::string &text : texts)
    if (!parseDimSpec(text, importOptions.dims, error))
      return fail(error, ExitUsage);
  importOptions.checkOnly = options.check;
  imported = onnx::importModel(options.model, ctx, dims, importOptions);
  if (!options.quiet && inputFiles.size() == 1)
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
  return ExitDone;
}

int Compilation::optimize(ModuleOp module, const DriverOptions &options, report::Report *report) {
  stage("optimization");
  remember(module);
  PassManager pm(module.getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
  if (!options.printAfter.empty())
    pm.addInstrumentation(std::make_unique<PrintAfter>(options.printAfter));
  std::string error;
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
  return ExitDone;
}

int Compilation::codegenOptions(ModuleOp module, CodegenOptions &codegen) {
  codegen.lowering.optLevel = options.optLevel;
  codegen.lowering.winograd = options.winograd;
  codegen.lowering.sparse = options.sparse;
  codegen.compile.cache = Cache(options.cacheDir).objects();
  codegen.properties = {{"producer", "nnopt " NNOPT_VERSION},
                        {"opt", std::to_string(options.optLevel)},
                        {"model", llvm::sys::path::filename(options.model).str()}};
  if (module.walk([](nn::QuantizeOp) { return WalkResult::interrupt(); }).wasInterrupted())
    codegen.properties.push_back({"quantizes", "yes"});
  if (options.bf16 || options.tf32 || options.f16)
    codegen.properties.push_back({"precision", options.bf16 ? "bf16" : options.tf32 ? "tf32" : "f16"});
  std::string error;
  codegen.lowering.tf32 = options.tf32;
  StringRef gpu = options.gpu;
  bool isExact = gpu.starts_with("emulate") && gpu.consume_back(":sm_90a");
  if (gpu.consume_front("emulate") && (gpu.empty() || (gpu.consume_front(":") && !gpu.getAsInteger(10, codegen.emulatedMultiprocessors) &&
                                                       codegen.emulatedMultiprocessors > 0)))
    codegen.emulateGpu = isExact ? CodegenOptions::GpuEmulation::Sm90a : CodegenOptions::GpuEmulation::Portable;
  else if (!options.gpu.empty() && !cuda::parseArchitectures(options.gpu, codegen.gpus, error))
    return fail("--gpu: " + error, ExitUsage);
  if (options.emit == EmitKind::LLVM)
    codegen.compile.kind = cpu::CodeKind::LLVMIR;
  if (options.emit == EmitKind::Asm)
    codegen.compile.kind = cpu::CodeKind::Assembly;
  if (options.emit == EmitKind::Obj) {
    StringRef base = options.output.empty() ? llvm::sys::path::stem(options.model) : StringRef(options.output);
    base.consume_back(".o");
    codegen.compile.descriptorSymbol = "nnopt_" + identifier(llvm::sys::path::filename(base));
  }
  return ExitDone;
}

/// Chooses kernels by running them. They are the same for all targets that have the registers for them.
int Compilation::tuneKernels(ModuleOp module, ArrayRef<cpu::Target> targets) {
  stage("tuning");
  CodegenOptions codegen;
  if (int code = codegenOptions(module, codegen))
    return code;
  Cache cache(options.cacheDir);
  TuneResult result = tune(module, targets.front(), codegen.lowering, cache, *options.tuneSeconds, progress);
  progress.finish();
  if (!options.quiet)
    llvm::errs() << options.model << ": tuning: " << result.measured << " kernels measured, " << result.cached << " known from "
                 << (cache.directory().empty() ? "nowhere (no cache)" : cache.directory()) << "; " << result.changed
                 << " differ from the cost model's choice"
                 << (result.left ? "; " + std::to_string(result.left) + " not reached in time: give --tune=SECONDS" : "")
                 << (result.unknownSizes ? "; " + std::to_string(result.unknownSizes) + " have sizes that are not known: pin them with --dim" : "")
                 << "\n";
  return ExitDone;
}

/// Compiles every model for every target. `compiled` gets all objects; its program is the general one (of the last
/// one) for the first target, which refers to the others.
int Compilation::generate(ArrayRef<onnx::ImportResult> models, ArrayRef<cpu::Target> targets, CompiledModel &compiled) {
  struct Part {
    CodegenOptions codegen;
    CompiledModel compiled;
  };
  std::vector<std::unique_ptr<Part>> parts;
  std::vector<Version> versions;
  bool several = models.size() * targets.size() > 1;
  std::string base, error;
  auto weights = std::make_shared<WeightStore>();
  for (const cpu::Target &target : targets)
    for (const onnx::ImportResult &model : models) {
      ModuleOp module = *model.module;
      Part &part = *parts.emplace_back(std::make_unique<Part>());
      if (int code = codegenOptions(module, part.codegen))
        return code;
      part.codegen.weights = weights;
      part.codegen.properties.push_back({"target", target.name});
      part.codegen.properties.push_back({"vector_bits", std::to_string(target.vectorBits)});
      cpu::CompileOptions &compile = part.codegen.compile;
      base = compile.descriptorSymbol;
      bool general = &model == &models.back(), primary = general && &target == &targets.front();
      if (several && !primary) {
        std::string number = std::to_string(versions.size());
        compile.descriptorSymbol = base + "_" + number;
        compile.exported = false;
        part.codegen.lowering.kernelPrefix = "v" + number + "_";
      } else if (several) {
        compile.versionsSymbol = base + "_versions";
      }
      versions.push_back({compile.descriptorSymbol, target.required, general});
      remember(module);
      if (failed(lowerModel(module, target, part.codegen, part.compiled, &progress)))
        return fail(options.model + ": error: code generation failed", ExitFailure);
      versions.back().cpuFeatures |= part.compiled.program->cpuFeatures;
    }
  std::vector<std::string> functions;
  for (std::unique_ptr<Part> &part : parts) {
    if (failed(compileLowered(part->codegen, part->compiled, &progress)))
      return fail(options.model + ": error: code generation failed", ExitFailure);
    llvm::append_range(functions, part->compiled.program->outsideFunctions);
  }
  size_t primary = models.size() - 1;
  compiled = std::move(parts[primary]->compiled);
  for (std::unique_ptr<Part> &part : parts)
    if (part != parts[primary])
      std::move(part->compiled.objects.begin(), part->compiled.objects.end(), std::back_inserter(compiled.objects));
  if (several && !emitVersions(versions, targets.front(), base + "_versions", compiled.objects.emplace_back(), error))
    return fail(error, ExitFailure);
  return options.emit == EmitKind::Lib || options.emit == EmitKind::Obj ? linkObjects(compiled, functions) : int(ExitDone);
}

int Compilation::run() {
  std::string error;
  std::vector<std::vector<std::string>> dims; // of each version, the general one last
  std::vector<cpu::Target> targets;
  if (!expandDims(options.dims, dims, error) || !parseTargets(options.target, targets, error))
    return fail(error, ExitUsage);
  llvm::StringMap<onnx::DimSpec> parsed;
  for (const std::string &text : dims.front())
    if (!parseDimSpec(text, parsed, error))
      return fail(error, ExitUsage);
  if (error = report::whyInvalid(options); !error.empty())
    return fail(error, ExitUsage);
  for (const cpu::Target &target : targets)
    if (options.bf16 && !target.bf16 && options.gpu.empty())
      return fail("--precision=bf16: " + target.name + " has no instructions for bf16; AVX-512 BF16 is needed (znver4, "
                  "cooperlake, sapphirerapids)", ExitUsage);
  if (options.encode == EncodeUse::On && options.emit != EmitKind::Lib)
    return fail("--encode-weights=on is about artifacts; it does nothing with --emit of anything but lib", ExitUsage);
  if (options.bf16 && options.emit == EmitKind::ONNX)
    return fail("--precision=bf16 chooses kernels; it cannot be used with --emit=onnx", ExitUsage);
  if (options.tf32 && options.gpu.empty())
    return fail("--precision=tf32 is for tensor cores of GPUs, which multiply f32 only when it is rounded to tf32; add "
                "--gpu=ARCH, or leave it out", ExitUsage);
  if (options.f16 && options.gpu.empty())
    return fail("--precision=f16 keeps tensors as f16 for kernels of GPUs; add --gpu=ARCH, or leave it out", ExitUsage);
  if (options.f16 && options.emit == EmitKind::ONNX)
    return fail("--precision=f16 chooses what kernels read and write; it cannot be used with --emit=onnx", ExitUsage);
  if (options.byteCache && !options.gpu.empty())
    return fail("--kv-cache=int8 is for CPUs: attention on GPUs reads floats; it cannot be used with --gpu", ExitUsage);
  if (options.tuneSeconds)
    for (const cpu::Target &target : targets)
      if (!cpu::runsOnHost(target))
        return fail("--tune runs kernels on this machine, which cannot run those of " + target.name, ExitUsage);
  if (options.tuneSeconds && (options.optLevel == 0 || options.emit == EmitKind::NN || options.emit == EmitKind::ONNX))
    return fail("--tune chooses kernels; it does nothing with --opt=0, --emit=nn and --emit=onnx", ExitUsage);
  const char *list = dims.size() > 1 ? "a list of sizes" : targets.size() > 1 ? "a list of targets" : nullptr;
  if (list && (!options.gpu.empty() || (options.emit != EmitKind::Lib && options.emit != EmitKind::Obj)))
    return fail(llvm::Twine(list) + " makes an artifact with several programs for CPUs; it cannot be used with --gpu, or with "
                "--emit of anything but lib and obj", ExitUsage);
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

  std::vector<onnx::ImportResult> models(dims.size());
  if (int code = import(dims.back(), ctx, models.back()))
    return code;
  if (int code = refuseInputFile(options.output))
    return code;
  if (options.check) {
    progress.finish();
    if (!options.quiet)
      llvm::outs() << options.model << ": every operator is supported\n";
    return ExitDone;
  }
  ModuleOp module = *models.back().module;
  if (report && !report->imported(module, error))
    return fail(error, ExitUsage);

  DriverOptions again = options; // for --verify and other versions: what was chosen is not chosen a second time
  if (options.compression.active()) {
    remember(module);
    stageName = "compression";
    try {
      again.compression.recipe = compress::compressModule(module, options, progress);
      if (report)
        report->compressed(again.compression.recipe->text());
    } catch (const ToolError &e) {
      return fail(e.what(), e.status());
    }
  }
  if (int code = optimize(module, options, report ? &*report : nullptr))
    return code;
  // The report is the last thing that is written: it tells of everything else.
  auto writeReport = [&](int code) -> int {
    progress.finish();
    if (code != ExitDone || !report)
      return code;
    return report->write(progress.times(), error) ? ExitDone : fail(error, ExitFailure);
  };
  if (options.emit == EmitKind::NN) {
    progress.finish();
    return writeReport(emitModule(module));
  }
  if (options.emit == EmitKind::ONNX)
    return writeReport(emitOnnx(module));

  for (size_t i = 0; i + 1 < models.size(); ++i) {
    if (int code = import(dims[i], ctx, models[i]))
      return code;
    if (options.compression.active()) {
      try {
        compress::compressModule(*models[i].module, again, progress);
      } catch (const ToolError &e) {
        return fail(e.what(), e.status());
      }
    }
    DriverOptions silent = options;
    silent.printAfter.clear();
    silent.timing = false;
    if (int code = optimize(*models[i].module, silent, nullptr))
      return code;
  }
  if (options.tuneSeconds)
    for (onnx::ImportResult &model : models)
      if (int code = tuneKernels(*model.module, targets))
        return code;
  stageName = "code generation";
  CompiledModel compiled;
  if (int code = generate(models, targets, compiled))
    return code;
  if (report)
    report->compiled(compiled);

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
  std::string output = options.output.empty() ? llvm::sys::path::stem(options.model).str() + ".so" : options.output;
  if (int code = refuseInputFile(output))
    return code;
  uint32_t features = targets.front().required;
  for (const cpu::Target &target : targets)
    features &= target.required;
  if (targets.size() == 1) // else a version says it
    features |= compiled.program->cpuFeatures;
  const compress::Recipe *recipe = again.compression.recipe.get();
  bool encode = options.encode == EncodeUse::On ||
                (options.encode == EncodeUse::Auto && recipe && recipe->notes.value("encode_weights", false));
  nnopt_trailer trailer;
  if (!writeArtifact(output, compiled.objects, *compiled.program, {features, encode}, error, &trailer))
    return fail(error, ExitFailure);
  if (report) {
    report->written(output, trailer);
    if (options.reportProfile) {
      stage("profiling");
      if (int code = report->measure(error))
        return fail(error, code);
    }
  }
  summary(compiled, output);
  if (encode && !options.quiet)
    llvm::errs() << llvm::formatv("  weights in the file: {0:f2} MB, decoded when it is opened\n", trailer.encoded_size / 1e6);
  if (models.size() * targets.size() > 1 && !options.quiet)
    llvm::errs() << "  " << models.size() * targets.size() << " programs: " << describeVersions(dims, targets) << "\n";
  if (int code = writeReport(ExitDone))
    return code;
  if (!options.verify)
    return ExitDone;
  if (targets.size() > 1)
    again.target = "native"; // of the reference
  for (const std::vector<std::string> &set : dims) {
    again.dims = set;
    if (int code = verifyArtifact(again, output))
      return code;
  }
  return ExitDone;
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

} // namespace nnopt
