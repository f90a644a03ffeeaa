//===- DropPages.h - memory of mapped files ---------------------*- C++ -*-===//
#ifndef NNOPT_NN_DROPPAGES_H
#define NNOPT_NN_DROPPAGES_H

#include "llvm/ADT/ArrayRef.h"

namespace nnopt::nn {

/// Gives back the memory of pages that hold these bytes, if they are of a file that is mapped read-only: they are read
/// again when they are needed. Called by those who have gone through a big constant, so that a model of any size is
/// compiled in little memory.
void dropPages(llvm::ArrayRef<char> bytes);

} // namespace nnopt::nn

#endif
