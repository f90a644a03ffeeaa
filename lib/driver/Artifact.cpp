//===- Artifact.cpp - writing the files that are handed out -----------------===//

#include "lib/driver/Artifact.h"
#include "lib/driver/EncodeWeights.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <sys/stat.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace nnopt {

bool writeFileAtomically(StringRef path, function_ref<bool(raw_fd_ostream &os)> write, std::string &error) {
  if (sys::fs::is_directory(path)) {
    error = path.str() + ": is a directory; name a file with -o";
    return false;
  }
  // Devices and pipes (/dev/null, /dev/stdout) are written in place.
  struct stat st;
  bool special = stat(path.str().c_str(), &st) == 0 && !S_ISREG(st.st_mode);
  SmallString<256> temporary;
  int fd = -1;
  std::error_code ec;
  if (special) {
    ec = sys::fs::openFileForWrite(path, fd, sys::fs::CD_OpenExisting);
  } else {
    ec = sys::fs::createUniqueFile(path + ".tmp-%%%%%%", fd, temporary, sys::fs::OF_None, sys::fs::all_read | sys::fs::owner_write);
  }
  if (ec) {
    error = path.str() + ": cannot write: " + ec.message();
    return false;
  }
  auto discard = make_scope_exit([&] {
    if (!special)
      sys::fs::remove(temporary);
  });
  {
    raw_fd_ostream os(fd, /*shouldClose=*/true);
    bool ok = write(os);
    os.flush();
    if (os.has_error()) {
      error = path.str() + ": cannot write: " + os.error().message();
      os.clear_error();
      return false;
    }
    if (!ok)
      return false;
  }
  if (special)
    return true;
  if (std::error_code rename = sys::fs::rename(temporary, path)) {
    error = path.str() + ": cannot write: " + rename.message();
    return false;
  }
  discard.release();
  return true;
}

/// Runs lld on objects in temporary files; `out` gets the bytes of the result.
static bool link(ArrayRef<SmallVector<char, 0>> objects, ArrayRef<const char *> flags, SmallVectorImpl<char> &out,
                 std::string &error) {
  SmallString<128> folder;
  if (std::error_code ec = sys::fs::createUniqueDirectory("nnopt-link", folder)) {
    error = "cannot make a temporary folder: " + ec.message();
    return false;
  }
  auto cleanup = make_scope_exit([&] { sys::fs::remove_directories(folder); });
  std::vector<std::string> paths;
  for (ArrayRef<char> object : objects) {
    paths.push_back((folder + "/" + Twine(paths.size()) + ".o").str());
    std::error_code ec;
    raw_fd_ostream os(paths.back(), ec);
    if (!ec) {
      os.write(object.data(), object.size());
      os.flush();
      ec = os.error();
      os.clear_error();
    }
    if (ec) {
      error = paths.back() + ": cannot write: " + ec.message();
      return false;
    }
  }
  std::string result = (folder + "/result").str(), diagnostics;
  // A few objects need no threads of lld, which would outlive the link: a process that compiles and then forks has none.
  std::vector<const char *> args = {"ld.lld", "--threads=1"};
  args.insert(args.end(), flags.begin(), flags.end());
  for (const std::string &path : paths)
    args.push_back(path.c_str());
  args.insert(args.end(), {"-o", result.c_str()});
  raw_string_ostream diag(diagnostics);
  if (lld::lldMain(args, diag, diag, {{lld::Gnu, &lld::elf::link}}).retCode != 0) {
    error = "linking failed: " + diagnostics;
    return false;
  }
  auto buffer = MemoryBuffer::getFile(result, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    error = result + ": " + buffer.getError().message();
    return false;
  }
  out.assign((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
  return true;
}

bool linkRelocatable(ArrayRef<SmallVector<char, 0>> objects, SmallVectorImpl<char> &out, std::string &error) {
  return link(objects, {"-r"}, out, error);
}

bool writeArtifact(StringRef path, ArrayRef<SmallVector<char, 0>> objects, const Program &program,
                   const ArtifactOptions &options, std::string &error, nnopt_trailer *written) {
  SmallVector<char, 0> elf;
  if (!link(objects,
            {"-shared", "--hash-style=gnu", "-z", "noexecstack", "-z", "relro", "-z", "now", "--build-id=none", "--gc-sections",
             "--unresolved-symbols=ignore-all"},
            elf, error))
    return false;
  nnopt_trailer trailer = {};
  trailer.elf_size = elf.size();
  trailer.elf_checksum = nnopt_checksum(elf.data(), elf.size());
  trailer.weights_offset = (elf.size() + NNOPT_PAGE - 1) / NNOPT_PAGE * NNOPT_PAGE;
  trailer.weights_size = program.weights->size();
  trailer.format_version = NNOPT_FORMAT_VERSION;
  trailer.cpu_features = options.cpuFeatures;
  memcpy(trailer.magic, NNOPT_TRAILER_MAGIC, 8);
  auto write = [&](raw_fd_ostream &os) {
    os.write(elf.data(), elf.size());
    os.write_zeros(trailer.weights_offset - elf.size());
    uint64_t stored = trailer.weights_size;
    if (options.encodeWeights && stored) {
      WeightEncoder encoder([&](const char *bytes, size_t size) { os.write(bytes, size); });
      program.weights->visit([&](ArrayRef<char> bytes) { encoder.add(bytes.data(), bytes.size()); });
      stored = trailer.encoded_size = encoder.finish();
    } else {
      program.weights->write(os);
    }
    // Vector loads may touch up to one register past the last weight.
    uint64_t end = (trailer.weights_offset + stored + 64 + 63) / 64 * 64;
    trailer.file_size = end + sizeof(trailer);
    os.write_zeros(end - trailer.weights_offset - stored);
    os.write(reinterpret_cast<const char *>(&trailer), sizeof(trailer));
    return true;
  };
  if (!writeFileAtomically(path, write, error))
    return false;
  if (written)
    *written = trailer;
  return true;
}

} // namespace nnopt
