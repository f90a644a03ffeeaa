//===- Cache.cpp - results that are kept between runs -----------------------===//

#include "lib/driver/Cache.h"
#include "tools/common/runner.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/xxhash.h"
#include "llvm/TargetParser/Host.h"
#include <dlfcn.h>
#include <map>

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
static std::string fileOf(llvm::StringRef folder, llvm::StringRef kind, llvm::StringRef content) {
  llvm::SHA256 hash;
  hash.update(content);
  llvm::SmallString<128> file(folder);
  llvm::sys::path::append(file, "llvmcache-" + kind + "-" + llvm::toHex(hash.final(), /*LowerCase=*/true));
  return file.str().str();
}

/// Writes a file of `folder`, which is held below `limit` bytes. A full or read-only disk: it is computed again next time.
static void write(const std::string &folder, const std::string &file, const std::string &content, uint64_t limit) {
  try {
    writeText(file, content);
  } catch (const ToolError &) {
    return;
  }
  llvm::CachePruningPolicy policy;
  policy.Interval = std::chrono::minutes(1);
  policy.Expiration = std::chrono::hours(30 * 24);
  policy.MaxSizeBytes = limit;
  llvm::pruneCache(folder, policy);
}

std::optional<nlohmann::json> Cache::find(llvm::StringRef kind, llvm::StringRef key) const {
  if (path.empty())
    return std::nullopt;
  auto buffer = llvm::MemoryBuffer::getFile(fileOf(path, kind, origin + key.str()));
  if (!buffer)
    return std::nullopt;
  nlohmann::json result =
      nlohmann::json::parse((*buffer)->getBuffer().str(), nullptr, /*allow_exceptions=*/false);
  if (result.is_discarded())
    return std::nullopt;
  return result;
}

void Cache::store(llvm::StringRef kind, llvm::StringRef key, const nlohmann::json &result) const {
  if (!path.empty())
    write(path, fileOf(path, kind, origin + key.str()), result.dump() + "\n", 64 << 20);
}

/// What object code ends with in its file: damaged code is not run.
static std::string checksum(llvm::StringRef code) {
  uint64_t sum = llvm::xxh3_64bits(code);
  return std::string(reinterpret_cast<const char *>(&sum), sizeof sum);
}

cpu::ObjectCache Cache::objects() const {
  if (path.empty())
    return {};
  llvm::SmallString<128> folder(path);
  llvm::sys::path::append(folder, "objects");
  if (llvm::sys::fs::create_directories(folder))
    return {};
  auto fileOfKey = [folder = folder.str().str(), origin = origin](llvm::StringRef key) {
    return fileOf(folder, "kernel", origin + key.str());
  };
  cpu::ObjectCache result;
  result.find = [fileOfKey](llvm::StringRef key, llvm::SmallVectorImpl<char> &object) {
    auto buffer = llvm::MemoryBuffer::getFile(fileOfKey(key));
    llvm::StringRef content = buffer ? (*buffer)->getBuffer() : "";
    if (content.size() < sizeof(uint64_t))
      return false;
    llvm::StringRef code = content.drop_back(sizeof(uint64_t));
    object.assign(code.begin(), code.end());
    return checksum(code) == content.take_back(sizeof(uint64_t));
  };
  result.store = [fileOfKey, folder = folder.str().str()](llvm::StringRef key, llvm::ArrayRef<char> object) {
    std::string content(object.begin(), object.end());
    write(folder, fileOfKey(key), content + checksum(content), 256 << 20);
  };
  return result;
}

cpu::ObjectCache objectsInMemory() {
  auto kept = std::make_shared<std::map<std::array<uint8_t, 32>, std::vector<char>>>();
  auto hash = [](llvm::StringRef key) { return llvm::SHA256::hash(llvm::arrayRefFromStringRef(key)); };
  cpu::ObjectCache result;
  result.find = [kept, hash](llvm::StringRef key, llvm::SmallVectorImpl<char> &object) {
    auto it = kept->find(hash(key));
    if (it == kept->end())
      return false;
    object.assign(it->second.begin(), it->second.end());
    return true;
  };
  result.store = [kept, hash](llvm::StringRef key, llvm::ArrayRef<char> object) { (*kept)[hash(key)] = object.vec(); };
  return result;
}

} // namespace nnopt
