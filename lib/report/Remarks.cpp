//===- Remarks.cpp - what passes say, kept ----------------------------------===//

#include "lib/report/Remarks.h"
#include "lib/report/Graph.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using remark::detail::Remark;

namespace nnopt::report {

static StringRef kindOf(const Remark &remark) {
  switch (remark.getRemarkType()) {
  case llvm::remarks::Type::Passed:
    return "passed";
  case llvm::remarks::Type::Missed:
    return "missed";
  case llvm::remarks::Type::Failure:
    return "failed";
  default:
    return "analysis";
  }
}

class Remarks::Streamer : public remark::detail::MLIRRemarkStreamerBase {
public:
  explicit Streamer(std::shared_ptr<std::vector<Remarks::Remark>> list) : list(std::move(list)) {}

  void streamOptimizationRemark(const mlir::remark::detail::Remark &remark) override {
    Remarks::Remark r{kindOf(remark).str(),
                      remark.getCategoryName().str(),
                      remark.getRemarkName().str(),
                      "",
                      remark.getLocation(),
                      {},
                      1};
    // Texts make the message; everything else is a named value.
    for (const auto &arg : remark.getArgs()) {
      if (arg.key == "Remark" || arg.key == "Reason" || arg.key == "Suggestion") {
        r.message += (r.message.empty() ? "" : "; ") + utf8(arg.val);
        continue;
      }
      int64_t number;
      if (StringRef(arg.val).getAsInteger(10, number))
        r.values[arg.key] = utf8(arg.val);
      else
        r.values[arg.key] = number;
    }
    std::string key = r.kind + "\n" + r.pass + "\n" + r.name + "\n" + r.message;
    auto [it, isNew] = seen.try_emplace({r.loc.getAsOpaquePointer(), key}, list->size());
    if (isNew)
      list->push_back(std::move(r));
    else
      ++(*list)[it->second].count;
  }

private:
  std::shared_ptr<std::vector<Remarks::Remark>> list;
  std::map<std::pair<const void *, std::string>, size_t> seen;
};

Remarks::Remarks(MLIRContext &ctx) {
  remark::RemarkCategories categories;
  categories.all = categories.passed = categories.missed = categories.analysis = categories.failed = ".*";
  (void)remark::enableOptimizationRemarks(ctx, std::make_unique<Streamer>(list),
                                          std::make_unique<remark::RemarkEmittingPolicyAll>(), categories);
}

llvm::json::Array Remarks::json() const {
  llvm::json::Array array;
  for (const Remark &r : *list) {
    llvm::json::Object object{
        {"kind", r.kind}, {"pass", r.pass}, {"name", r.name}, {"message", r.message}, {"nodes", originsOf(r.loc)}};
    if (!r.values.empty())
      object["values"] = llvm::json::Object(r.values);
    if (r.count > 1)
      object["count"] = r.count;
    array.push_back(std::move(object));
  }
  return array;
}

} // namespace nnopt::report
