//===- Bisect.cpp - which pass changes the outputs --------------------------===//

#include "lib/driver/Bisect.h"
#include "lib/driver/PassList.h"
#include "lib/driver/Verify.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace nnopt {

namespace {

enum class Verdict { Equal, Differ, Fail };

/// Compiles with the first passes of a pipeline and compares.
class Search {
public:
  Search(const DriverOptions &options, std::vector<PassText> passes)
      : options(options), passes(std::move(passes)) {}

  size_t count() const { return passes.size(); }
  StringRef name(size_t pass) const { return StringRef(passes[pass - 1].text).take_until([](char c) { return c == '{'; }); }
  Oracle oracle;

  Verdict attempt(size_t first) {
    std::string text, log;
    for (size_t i = 0; i < first; ++i) {
      const PassText &pass = passes[i];
      text += (i ? "," : "") + (pass.anchor.empty() ? pass.text : pass.anchor + "(" + pass.text + ")");
    }
    TemporaryArtifact artifact("nnopt-bisect");
    if (!artifact.ok())
      return Verdict::Fail;
    DriverOptions part = quietOptions(options, artifact.path());
    part.passes = "builtin.module(" + text + ")";
    llvm::raw_string_ostream os(log);
    Verdict verdict = Verdict::Fail;
    if (compileModel(part) == ExitDone)
      verdict = oracle.compare(artifact.path(), os) == ExitDone ? Verdict::Equal : Verdict::Differ;
    llvm::outs() << llvm::formatv("{0,6}  {1,-28} {2}\n", first, first == 0 ? "(none)" : name(first).str(),
                                  verdict == Verdict::Equal    ? "equal"
                                  : verdict == Verdict::Differ ? "differ"
                                                               : "does not compile");
    llvm::outs().flush();
    return verdict;
  }

private:
  const DriverOptions &options;
  std::vector<PassText> passes;
};

} // namespace

int bisectPasses(const DriverOptions &options) {
  if (options.byteCache) {
    llvm::errs() << "--kv-cache=int8 changes inputs and outputs, so that --bisect cannot compare what earlier passes leave\n";
    return ExitUsage;
  }
  std::string text, error;
  {
    MLIRContext ctx(MLIRContext::Threading::DISABLED);
    PassManager pm(&ctx, ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
    if (!addPasses(pm, options, error)) {
      llvm::errs() << error << "\n";
      return ExitUsage;
    }
    llvm::raw_string_ostream os(text);
    pm.printAsTextualPipeline(os);
  }
  Search search(options, splitPipeline(text));
  if (int code = search.oracle.prepare(options))
    return code;
  llvm::outs() << llvm::formatv("bisect: outputs against --opt=0 after the first passes of {0}\n{1,6}  {2,-28} {3}\n",
                                search.count(), "passes", "the last of them", "outputs");
  if (search.attempt(search.count()) == Verdict::Equal) {
    llvm::outs() << "bisect: nothing differs\n";
    return ExitDone;
  }
  size_t good = 0, bad = search.count();
  if (bad == 0 || search.attempt(0) != Verdict::Equal) {
    llvm::outs() << "bisect: outputs differ without any pass: code generation is guilty\n";
    return ExitFailure;
  }
  while (bad - good > 1) {
    size_t middle = (good + bad) / 2;
    (search.attempt(middle) == Verdict::Equal ? good : bad) = middle;
  }
  llvm::outs() << llvm::formatv("bisect: guilty is pass {0} of {1}, {2}\n", bad, search.count(), search.name(bad));
  return ExitFailure;
}

} // namespace nnopt
