//===- Cache.cpp - measurements that are kept between runs ------------------===//

#include "lib/driver/Cache.h"
#include "tools/common/runner.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/TargetParser/Host.h"
#include <dlfcn.h>

namespace nnopt {

std::string Cache::defaultDirectory() {
  llvm::SmallString<128> path;
  if (!llvm::sys::path::cache_directory(path))
    return "";
  llvm::sys::path::append(path, "nnopt");
  return path.str().str();
}

/// The file that this code is in, as size and time: another build measures other kernels.
static std::string buildText() {
  static const std::string text = [] {
    Dl_info info;
    llvm::sys::fs::file_status status;
    if (!dladdr(reinterpret_cast<void *>(&buildText), &info) || llvm::sys::fs::status(info.dli_fname, status))
      return std::string(NNOPT_VERSION);
    return std::to_string(status.getSize()) + " " +
           std::to_string(status.getLastModificationTime().time_since_epoch().count());
  }();
  return text;
}

Cache::Cache(std::string directory) : path(std::move(directory)) {
  if (!path.empty() && llvm::sys::fs::create_directories(path))
    path.clear();
  origin = buildText() + "\n" + llvm::sys::getHostCPUName().str() + "\n";
}

/// The names are those that pruneCache() looks at.
std::string Cache::fileOf(llvm::StringRef kind, llvm::StringRef key) const {
  llvm::SHA256 hash;
  hash.update(origin);
  hash.update(key);
  llvm::SmallString<128> file(path);
  llvm::sys::path::append(file,
                          "llvmcache-" + kind + "-" + llvm::toHex(hash.final(), /*LowerCase=*/true));
  return file.str().str();
}

std::optional<nlohmann::json> Cache::find(llvm::StringRef kind, llvm::StringRef key) const {
  if (path.empty())
    return std::nullopt;
  auto buffer = llvm::MemoryBuffer::getFile(fileOf(kind, key));
  if (!buffer)
    return std::nullopt;
  nlohmann::json result =
      nlohmann::json::parse((*buffer)->getBuffer().str(), nullptr, /*allow_exceptions=*/false);
  if (result.is_discarded())
    return std::nullopt;
  return result;
}

void Cache::store(llvm::StringRef kind, llvm::StringRef key, const nlohmann::json &result) const {
  if (path.empty())
    return;
  try {
    writeText(fileOf(kind, key), result.dump() + "\n");
  } catch (const ToolError &) {
    return; // a full or read-only disk: it is measured again
  }
  llvm::CachePruningPolicy policy;
  policy.Expiration = std::chrono::hours(30 * 24);
  policy.MaxSizeBytes = 64 << 20;
  llvm::pruneCache(path, policy);
}

} // namespace nnopt
