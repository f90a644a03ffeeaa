//===- make-artifact.cpp - writes test artifacts at build time --------------===//
//
// make-artifact meta NAME OUT.c          metadata and descriptor as C source
// make-artifact pack NAME IN.so OUT.so   appends weights and trailer
//
//===----------------------------------------------------------------------===//

#include "test/runtime/Builder.h"

#include <cstdio>
#include <fstream>
#include <iterator>

using namespace nnopt::test;

static int writeMeta(const Builder &model, const char *path) {
  std::ofstream out(path);
  out << "#include \"test/runtime/kernels.h\"\nstatic const uint64_t meta[] = {";
  std::vector<uint64_t> words = model.serialize();
  for (size_t i = 0; i < words.size(); ++i)
    out << (i % 4 ? " " : "\n  ") << words[i] << "ull,";
  out << "\n};\n__attribute__((visibility(\"default\"))) const nnopt_descriptor "
         "nnopt_descriptor_value\n"
      << "    __asm__(\"" << NNOPT_DESCRIPTOR_SYMBOL << "\");\n"
      << "const nnopt_descriptor nnopt_descriptor_value = {NNOPT_FORMAT_VERSION, KernelCount_, "
         "testKernels,\n"
      << "    (const uint8_t *)meta, sizeof meta};\n";
  return out.good() ? 0 : 1;
}

static int pack(const Builder &model, const char *from, const char *to) {
  std::ifstream in(from, std::ios::binary);
  std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  nnopt_trailer trailer{};
  trailer.elf_size = file.size();
  trailer.elf_checksum = nnopt_checksum(file.data(), file.size());
  file.resize((file.size() + NNOPT_PAGE - 1) / NNOPT_PAGE * NNOPT_PAGE);
  trailer.weights_offset = file.size();
  trailer.weights_size = model.weights.size();
  file.append(model.weights.begin(), model.weights.end());
  file.resize((file.size() + 127) / 64 * 64);
  trailer.file_size = file.size() + sizeof trailer;
  trailer.format_version = NNOPT_FORMAT_VERSION;
#if defined(__x86_64__)
  trailer.cpu_features = NNOPT_CPU_X86_64;
#elif defined(__aarch64__)
  trailer.cpu_features = NNOPT_CPU_AARCH64;
#endif
  std::memcpy(trailer.magic, NNOPT_TRAILER_MAGIC, sizeof trailer.magic);
  file.append(reinterpret_cast<const char *>(&trailer), sizeof trailer);
  std::ofstream out(to, std::ios::binary);
  out << file;
  return in.good() || in.eof() ? (out.good() ? 0 : 1) : 1;
}

int main(int argc, char **argv) {
  std::string command = argc > 1 ? argv[1] : "";
  if (command == "meta" && argc == 4)
    return writeMeta(modelNamed(argv[2]), argv[3]);
  if (command == "pack" && argc == 5)
    return pack(modelNamed(argv[2]), argv[3], argv[4]);
  std::fprintf(stderr, "usage: make-artifact meta NAME OUT.c | pack NAME IN.so OUT.so\n");
  return 2;
}
