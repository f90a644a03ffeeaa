//===- PassList.cpp - passes by name ----------------------------------------===//

#include "lib/driver/PassList.h"
#include "lib/driver/Versions.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace nnopt {

void registerAllPasses() {
  registerNnoptPasses();
  registerPipelines();
  mlir::registerTransformsPasses();
}

bool loadPlugin(StringRef path, std::string &error) {
  auto plugin = PassPlugin::load(path.str());
  if (!plugin) {
    error = "--load-pass-plugin=" + path.str() + ": " + llvm::toString(plugin.takeError());
    return false;
  }
  plugin->registerPassRegistryCallbacks();
  return true;
}

/// Splits at commas that are in no parentheses or braces.
static std::vector<StringRef> splitList(StringRef text) {
  std::vector<StringRef> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    char c = i < text.size() ? text[i] : ',';
    depth += c == '(' || c == '{' ? 1 : c == ')' || c == '}' ? -1 : 0;
    if (c == ',' && depth == 0) {
      if (i > begin)
        parts.push_back(text.slice(begin, i));
      begin = i + 1;
    }
  }
  return parts;
}

std::vector<PassText> splitPipeline(StringRef text) {
  std::vector<PassText> passes;
  text.consume_front("builtin.module(") && text.consume_back(")");
  for (StringRef part : splitList(text)) {
    size_t open = part.find_first_of("({");
    // A pass has options in braces, a nested pipeline passes in parentheses.
    if (open == StringRef::npos || part[open] == '{') {
      passes.push_back({"", part.str()});
      continue;
    }
    for (StringRef inner : splitList(part.slice(open + 1, part.size() - 1)))
      passes.push_back({part.take_front(open).str(), inner.str()});
  }
  return passes;
}

/// Adds one pass. parsePassPipeline would not nest by itself.
static LogicalResult addPass(OpPassManager &pm, const PassText &pass, std::string &error) {
  llvm::raw_string_ostream os(error);
  if (!pass.anchor.empty())
    return parsePassPipeline(pass.anchor + "(" + pass.text + ")", pm, os);
  auto [name, options] = StringRef(pass.text).split('{');
  options.consume_back("}");
  const PassRegistryEntry *entry = PassInfo::lookup(name);
  if (!entry)
    entry = PassPipelineInfo::lookup(name);
  if (!entry)
    return os << "no pass is called " << name, failure();
  return entry->addToPipeline(pm, options, [&](const llvm::Twine &message) { return os << message, failure(); });
}

bool addPasses(OpPassManager &pm, const DriverOptions &options, std::string &error) {
  if (!options.passes) {
    PipelineOptions pipeline;
    pipeline.optLevel = options.optLevel;
    pipeline.end = options.emit == EmitKind::ONNX ? PipelineEnd::Graph : PipelineEnd::Target;
    pipeline.precision = options.f16 ? Precision::F16 : options.bf16 ? Precision::BF16 : Precision::F32;
    pipeline.gpu = !options.gpu.empty();
    // Tiles multiply sixteen bf16 in the time of one f32: no algorithm makes up for that.
    std::vector<cpu::Target> targets;
    std::string unknown; // refused elsewhere
    bool haveTiles = parseTargets(options.target, targets, unknown) && llvm::all_of(targets, [](auto &t) { return t.amx; });
    pipeline.winograd = options.winograd && !pipeline.gpu && !haveTiles;
    pipeline.byteCache = options.byteCache;
    pipeline.paddingMask = options.paddingMask;
    buildOptimizationPipeline(pm, pipeline);
    return true;
  }
  for (const PassText &pass : splitPipeline(*options.passes)) {
    std::string reason;
    if (succeeded(addPass(pm, pass, reason)))
      continue;
    error = "--passes=" + *options.passes + ": " + StringRef(reason).trim().str();
    return false;
  }
  return true;
}

} // namespace nnopt
