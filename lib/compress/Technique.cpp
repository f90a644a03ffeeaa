//===- Technique.cpp - names of sites ---------------------------------------===//

#include "lib/compress/Technique.h"
#include "lib/codegen/Program.h"
#include "llvm/ADT/StringExtras.h"

namespace nnopt::compress {

std::string SiteNames::of(mlir::Operation *op) {
  std::string name = llvm::join(nodeNames(op->getLoc()), "+");
  if (name.empty())
    name = op->getName().stripDialect().str();
  int count = ++seen[name];
  return count == 1 ? name : name + "#" + std::to_string(count);
}

} // namespace nnopt::compress
