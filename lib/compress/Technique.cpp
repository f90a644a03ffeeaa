//===- Technique.cpp - what techniques have in common -----------------------===//

#include "lib/compress/Technique.h"
#include "lib/codegen/Program.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>

using namespace mlir;

namespace nnopt::compress {

std::optional<double> percentOf(llvm::StringRef text) {
  double percent;
  if (!text.consume_back("%") || text.getAsDouble(percent))
    return std::nullopt;
  return percent / 100;
}

std::string Technique::configure(StringRef spec) {
  SmallVector<StringRef> parts, own;
  spec.split(parts, ',');
  for (StringRef part : parts) {
    if (!part.starts_with("error=")) {
      own.push_back(part);
      continue;
    }
    allowedError = percentOf(part.substr(6));
    if (!allowedError || !(*allowedError > 0))
      return "'" + part.str() + "': error=3% bounds what changes in the outputs, in percent of them";
  }
  return readSpec(llvm::join(own, ","));
}

std::optional<double> Technique::errorLimit() const {
  std::optional<double> error = allowedError ? allowedError : defaultError();
  return error ? std::optional(*error * *error) : std::nullopt;
}

npz::Array arrayOf(const Matrix &matrix) {
  npz::Array array{'f', 4, {matrix.rows(), matrix.cols()}, {}};
  array.data.resize(size_t(matrix.size()) * 4);
  std::memcpy(array.data.data(), matrix.data(), array.data.size());
  return array;
}

npz::Array arrayOf(const Vector &vector) {
  npz::Array array{'f', 4, {vector.size()}, {}};
  array.data.resize(size_t(vector.size()) * 4);
  std::memcpy(array.data.data(), vector.data(), array.data.size());
  return array;
}

std::optional<Matrix> matrixOf(const Tensors &tensors, const std::string &name) {
  auto it = tensors.find(name);
  if (it == tensors.end())
    return std::nullopt;
  const npz::Array &a = it->second;
  if (a.kind != 'f' || a.width != 4 || a.shape.empty() || a.shape.size() > 2)
    return std::nullopt;
  return Eigen::Map<const Matrix>(reinterpret_cast<const float *>(a.data.data()), a.shape[0],
                                  a.shape.size() == 2 ? a.shape[1] : 1);
}

std::string SiteNames::of(mlir::Operation *op) {
  std::string name = llvm::join(nodeNames(op->getLoc()), "+");
  if (name.empty())
    name = op->getName().stripDialect().str();
  int count = ++seen[name];
  return count == 1 ? name : name + "#" + std::to_string(count);
}

} // namespace nnopt::compress
