//===- Report.cpp - what was done to a model, as data and as a page ---------===//

#include "lib/report/Report.h"
#include "lib/driver/Artifact.h"
#include "lib/report/Layers.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
namespace json = llvm::json;

namespace nnopt::report {

/// The page, with a mark where the data goes: files of lib/report/page, joined by the build.
static constexpr llvm::StringLiteral page =
#include "lib/report/page.inc"
    ;
static constexpr StringRef dataMark = "@DATA@";
/// Changes when a reader of the JSON file would have to change.
static constexpr int64_t formatVersion = 1;

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

static bool parseSize(StringRef text, Sizes &sizes) {
  auto [name, value] = text.rsplit('=');
  int64_t size;
  if (name.empty() || value.getAsInteger(10, size) || size < 0)
    return false;
  sizes[name] = size;
  return true;
}

std::string whyInvalid(const DriverOptions &options) {
  for (const std::string &file : options.reports) {
    StringRef extension = llvm::sys::path::extension(file);
    if (extension != ".html" && extension != ".json")
      return "--report=" + file + ": expected a name that ends in .html or .json";
    if (file == options.output || file == options.model)
      return "--report=" + file + ": this is another file of the command; name a file for the report alone";
  }
  Sizes sizes;
  for (const std::string &text : options.reportDims)
    if (!parseSize(text, sizes))
      return "--report-dim=" + text + ": expected NAME=SIZE";
  if (options.reports.empty() && (options.reportProfile || !options.reportDims.empty()))
    return "--report-profile and --report-dim say what is in a report: name its file with --report";
  if (!options.reports.empty() && options.check)
    return "--check writes nothing; leave out --report";
  if (options.reportProfile && options.emit != EmitKind::Lib)
    return "--report-profile runs the artifact; leave out --emit";
  return {};
}

//===----------------------------------------------------------------------===//
// Collecting
//===----------------------------------------------------------------------===//

/// Operations of the graph; scalar code inside of them does not count.
static int64_t countNodes(Operation *root) {
  int64_t count = 0;
  root->walk(
      [&](Operation *op) { count += isa<nn::NNDialect>(op->getDialect()) && !isa<nn::ConstantOp, nn::YieldOp>(op); });
  return count;
}

/// Counts operations around each pass. Passes run one after another, on one function.
class Report::PassWatch : public PassInstrumentation {
public:
  explicit PassWatch(std::vector<PassRecord> &records) : records(records) {}

  void runBeforePass(Pass *pass, Operation *op) override {
    if (pass->getArgument().empty())
      return; // an adaptor around other passes
    count = countNodes(op);
    start = std::chrono::steady_clock::now();
  }
  void runAfterPass(Pass *pass, Operation *op) override {
    if (pass->getArgument().empty())
      return;
    std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    records.push_back({pass->getArgument().str(), count, countNodes(op), elapsed.count()});
  }

private:
  std::vector<PassRecord> &records;
  int64_t count = 0;
  std::chrono::steady_clock::time_point start;
};

Report::Report(const DriverOptions &options, MLIRContext &ctx) : options(options), remarks(ctx) {}
Report::~Report() = default;

bool Report::imported(ModuleOp module, std::string &error) {
  model["file"] = utf8(llvm::sys::path::filename(options.model));
  for (StringRef key : {"producer", "opset", "ir_version"})
    if (Attribute a = module->getAttr(("nn." + key).str())) {
      std::string text;
      llvm::raw_string_ostream(text) << a;
      if (auto name = dyn_cast<StringAttr>(a))
        text = name.str();
      if (auto number = dyn_cast<IntegerAttr>(a))
        text = std::to_string(number.getInt());
      model[key] = utf8(text);
    }
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return true; // reported by code generation
  before = std::make_unique<Graph>(main);
  std::string known;
  for (auto &[name, low] : before->symbols()) {
    sizes[name] = std::max<int64_t>(1, low);
    known += (known.empty() ? "" : ", ") + name;
  }
  for (const std::string &text : options.reportDims) {
    Sizes given;
    parseSize(text, given);
    if (!sizes.count(given.begin()->first())) {
      error = "--report-dim=" + text + ": " +
              (known.empty() ? "the model has no symbolic dimension" : "the model's symbolic dimensions are " + known);
      return false;
    }
    sizes[given.begin()->first()] = given.begin()->second;
  }
  return true;
}

void Report::instrument(PassManager &pm) { pm.addInstrumentation(std::make_unique<PassWatch>(passes)); }

void Report::optimized(ModuleOp module) {
  if (auto main = module.lookupSymbol<func::FuncOp>("main"))
    after = std::make_unique<Graph>(main);
}

/// `batch=1`, ..., in order.
static std::vector<std::string> sizeTexts(const Sizes &sizes) {
  std::vector<std::string> texts;
  for (auto &entry : sizes)
    texts.push_back((entry.first() + "=" + llvm::Twine(entry.second)).str());
  llvm::sort(texts);
  return texts;
}

int Report::measure(std::string &error) {
  Measurement m;
  int code = report::measure(artifact, options.reportInputs, sizes, result->program->launches.size(), m, error);
  if (code == 0) {
    sizes = m.sizes;
    measured = std::move(m);
  } else if (options.reportInputs.empty() && !sizes.empty()) {
    error += " (random inputs of the sizes " + llvm::join(sizeTexts(sizes), ", ") +
             "; --report-dim sets sizes, --report-profile=FILE.npz gives inputs)";
  }
  return code;
}

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

static json::Object sizesJson(const Sizes &sizes) {
  json::Object object;
  for (auto &entry : sizes)
    object[utf8(entry.first())] = entry.second;
  return object;
}

static json::Object targetJson(const cpu::Target &target) {
  return json::Object{{"name", target.name},        {"cpu", target.cpu},
                      {"triple", target.triple},    {"vector_bits", target.vectorBits},
                      {"l1_bytes", target.l1Bytes}, {"l2_bytes", target.l2Bytes},
                      {"l3_bytes", target.l3Bytes}};
}

json::Object Report::totals() {
  json::Object totals;
  if (before)
    totals["before"] = json::Object{
        {"nodes", int64_t(before->nodeCount())}, {"parameters", before->parameters}, {"macs", before->macs(sizes)}};
  if (after)
    totals["after"] = json::Object{
        {"nodes", int64_t(after->nodeCount())}, {"parameters", after->parameters}, {"macs", after->macs(sizes)}};
  if (!result)
    return totals;
  MemoryPlan plan = result->program->planMemory(sizes);
  totals["kernels"] = int64_t(result->program->kernelNames.size());
  totals["launches"] = int64_t(result->program->launches.size());
  totals["weight_bytes"] = plan.weights;
  totals["arena_bytes"] = plan.arena;
  totals["arena_lower_bound_bytes"] = plan.lowerBound;
  totals["arena_naive_bytes"] = plan.naive;
  uint64_t bytes;
  if (!artifact.empty() && !llvm::sys::fs::file_size(artifact, bytes))
    totals["artifact_bytes"] = int64_t(bytes);
  if (encodedBytes)
    totals["encoded_weight_bytes"] = int64_t(encodedBytes);
  return totals;
}

static StringRef sparseText(cpu::SparseUse use) {
  return use == cpu::SparseUse::Off ? "off" : use == cpu::SparseUse::On ? "on" : "auto";
}

json::Object Report::json(ArrayRef<std::pair<std::string, double>> stages) {
  json::Object object{{"format", formatVersion},
                      {"model", json::Object(model)},
                      {"nnopt", json::Object{{"version", NNOPT_VERSION}, {"llvm", LLVM_VERSION_STRING}}},
                      {"options", json::Object{{"target", options.target},
                                               {"opt", options.optLevel},
                                               {"dims", json::Array(options.dims)},
                                               {"exact_conv", !options.winograd},
                                               {"sparse", sparseText(options.sparse)}}},
                      {"sizes", sizesJson(sizes)},
                      {"totals", totals()},
                      {"remarks", remarks.json()}};
  json::Object graphs;
  if (before)
    graphs["before"] = before->json(sizes);
  if (after)
    graphs["after"] = after->json(sizes);
  object["graphs"] = std::move(graphs);
  if (!compression.empty()) {
    llvm::Expected<json::Value> recipe = json::parse(compression);
    if (recipe)
      object["compression"] = std::move(*recipe);
    else
      llvm::consumeError(recipe.takeError());
  }
  json::Array passList, stageList;
  for (const PassRecord &p : passes)
    passList.push_back(
        json::Object{{"name", p.name}, {"before", p.before}, {"after", p.after}, {"seconds", p.seconds}});
  for (auto &[name, seconds] : stages)
    stageList.push_back(json::Object{{"name", name}, {"seconds", seconds}});
  object["passes"] = std::move(passList);
  object["stages"] = std::move(stageList);
  if (result) {
    object["target"] = targetJson(result->target);
    object["layers"] = layersOf(*result->program, *after, sizes, measured ? &*measured : nullptr);
  }
  if (measured)
    object["profile"] = json::Object{
        {"ms", measured->run},
        {"runs", measured->runs},
        {"threads", measured->threads},
        {"inputs", options.reportInputs.empty() ? "random" : utf8(llvm::sys::path::filename(options.reportInputs))}};
  return object;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

/// The data inside of a script element must not end it: "<" only occurs in strings, where it can be
/// escaped (https://html.spec.whatwg.org/#restrictions-for-contents-of-script-elements).
static void writeEmbedded(llvm::raw_ostream &os, StringRef text) {
  for (size_t at = 0;;) {
    size_t next = text.find('<', at);
    os << text.slice(at, next);
    if (next == StringRef::npos)
      return;
    os << "\\u003c";
    at = next + 1;
  }
}

static void writePage(llvm::raw_ostream &os, StringRef data) {
  auto [head, tail] = page.split(dataMark);
  os << head;
  writeEmbedded(os, data);
  os << tail;
}

bool Report::write(ArrayRef<std::pair<std::string, double>> stages, std::string &error) {
  std::string data;
  llvm::raw_string_ostream(data) << json::Value(json(stages));
  for (const std::string &file : options.reports) {
    auto content = [&](llvm::raw_fd_ostream &os) {
      if (StringRef(file).ends_with(".html"))
        writePage(os, data);
      else
        os << data << "\n";
      return true;
    };
    if (!writeFileAtomically(file, content, error))
      return false;
  }
  return true;
}

} // namespace nnopt::report
