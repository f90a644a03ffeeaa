//===- Versions.cpp - several programs in one artifact ----------------------===//

#include "lib/driver/Versions.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace llvm;

namespace nnopt {

bool parseTargets(StringRef list, std::vector<cpu::Target> &targets, std::string &error) {
  SmallVector<StringRef> names;
  list.split(names, ',');
  for (StringRef name : names) {
    cpu::Target target;
    if (!cpu::Target::get(name, target, error)) {
      error = "--target=" + list.str() + ": " + error;
      return false;
    }
    if (!targets.empty() && targets.front().triple != target.triple) {
      error = "--target=" + list.str() + ": " + targets.front().triple + " and " + target.triple +
              " cannot be in one file; compile once for each";
      return false;
    }
    // Of two names for the same instructions the first would always be chosen.
    bool known = any_of(targets, [&](const cpu::Target &other) {
      return other.cpu == target.cpu && other.features == target.features;
    });
    if (!known)
      targets.push_back(std::move(target));
  }
  llvm::stable_sort(targets, [](const cpu::Target &a, const cpu::Target &b) {
    auto instructions = [](const cpu::Target &t) { return std::make_tuple(t.vectorBits, popcount(t.required), t.amx); };
    return instructions(a) > instructions(b);
  });
  return true;
}

bool expandDims(ArrayRef<std::string> dims, std::vector<std::vector<std::string>> &sets, std::string &error) {
  constexpr size_t limit = 32; // programs for one CPU
  sets.assign(1, {});
  for (StringRef text : dims) {
    auto [name, value] = text.rsplit('=');
    SmallVector<StringRef> sizes;
    value.split(sizes, ',');
    if (sizes.size() > 1 && sizes.pop_back_val() != "*") {
      error = "--dim=" + text.str() + ": a list of sizes ends with '*', the program for all others: --dim=" + text.str() + ",*";
      return false;
    }
    bool isList = value.contains(',');
    std::vector<std::vector<std::string>> more;
    for (const std::vector<std::string> &set : sets) {
      for (StringRef size : sizes) {
        more.push_back(set);
        more.back().push_back((name + "=" + size).str());
      }
      if (isList)
        more.push_back(set);
    }
    sets = std::move(more);
    if (sets.size() > limit) {
      error = "--dim=" + text.str() + ": more than " + std::to_string(limit) + " combinations of sizes; give fewer";
      return false;
    }
  }
  llvm::stable_sort(sets, [](const auto &a, const auto &b) { return a.size() > b.size(); });
  return true;
}

std::string describeVersions(ArrayRef<std::vector<std::string>> sets, ArrayRef<cpu::Target> targets) {
  std::string text, names;
  for (const std::vector<std::string> &set : sets.drop_back())
    text += join(set, " ") + "; ";
  text += sets.size() > 1 ? "all other sizes" : "all sizes";
  for (const cpu::Target &target : targets)
    names += (names.empty() ? "" : ", ") + target.name;
  return text + (targets.size() > 1 ? "; each for " + names : "");
}

bool emitVersions(ArrayRef<Version> versions, const cpu::Target &target, StringRef symbol, SmallVectorImpl<char> &object,
                  std::string &error) {
  LLVMContext ctx;
  Module m("versions", ctx);
  auto *i32 = Type::getInt32Ty(ctx);
  auto *ptr = PointerType::get(ctx, 0);
  auto *type = StructType::get(ctx, {ptr, i32, i32});
  SmallVector<Constant *> entries;
  for (const Version &v : versions) {
    auto *descriptor =
        new GlobalVariable(m, Type::getInt8Ty(ctx), true, GlobalValue::ExternalLinkage, nullptr, v.descriptorSymbol);
    entries.push_back(ConstantStruct::get(
        type, {descriptor, ConstantInt::get(i32, v.cpuFeatures), ConstantInt::get(i32, v.general)}));
  }
  entries.push_back(Constant::getNullValue(type));
  auto *arrayType = ArrayType::get(type, entries.size());
  auto *array = new GlobalVariable(m, arrayType, true, GlobalValue::ExternalLinkage, ConstantArray::get(arrayType, entries), symbol);
  array->setVisibility(GlobalValue::HiddenVisibility);
  return cpu::emitData(m, target, object, error);
}

} // namespace nnopt
