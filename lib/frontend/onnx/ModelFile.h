//===- ModelFile.h - an ONNX file and its external data ---------*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_MODELFILE_H
#define NNOPT_FRONTEND_ONNX_MODELFILE_H

#include "onnx-ml.pb.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nnopt::onnx {

/// A parsed model whose tensor bytes stay in the mapped files. Functions return false (or nothing)
/// and set `error` when the files are at fault.
class ModelFile {
public:
  bool open(llvm::StringRef path, std::string &error);
  /// A model in memory, which must outlive everything made from it.
  bool openBytes(llvm::StringRef bytes, std::string &error);

  const pb::ModelProto &model() const { return proto; }

  /// The bytes of `raw_data` or of the external data of a tensor; nothing (without an error) when
  /// the tensor has neither.
  std::optional<llvm::ArrayRef<char>> bytesOf(const pb::TensorProto &tensor, std::string &error);

  /// Paths of all files that were opened.
  std::vector<std::string> paths() const;
  /// Keeps the mapped files alive.
  std::shared_ptr<void> storage() const { return files; }

private:
  bool parse(std::string &error);
  std::optional<llvm::ArrayRef<char>> externalBytes(const pb::TensorProto &tensor,
                                                    std::string &error);
  const llvm::MemoryBuffer *externalFile(llvm::StringRef location, std::string &error);

  using Files = std::vector<std::unique_ptr<llvm::MemoryBuffer>>;
  std::shared_ptr<Files> files = std::make_shared<Files>();
  llvm::StringMap<const llvm::MemoryBuffer *> external;
  llvm::StringRef bytes;
  /// Folder of the model, with symbolic links resolved; empty for a model in memory.
  std::string folder;
  pb::ModelProto proto;
};

} // namespace nnopt::onnx

#endif
