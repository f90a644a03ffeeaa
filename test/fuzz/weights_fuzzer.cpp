//===- weights_fuzzer.cpp - libFuzzer target of the decoder of weights ----===//
//
// The first bytes are the header of a block, the others its streams: any must end in a result or a
// refusal, without a look beyond either.
//
//===----------------------------------------------------------------------===//
#include "runtime/encoding.h"
#include "runtime/format.h"
#include <cstring>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  nnopt_encoded_block block;
  if (size < sizeof block)
    return 0;
  std::memcpy(&block, data, sizeof block);
  // Nothing is learned from blocks that are refused for their sizes.
  block.size %= NNOPT_BLOCK_SIZE + 1;
  block.streams = size - sizeof block;
  static auto memory = std::make_unique<nni_decode_memory>();
  std::vector<uint8_t> streams(data + sizeof block, data + size), out(block.size);
  bool decoded = nni_decode_block(&block, streams.data(), out.data(), memory.get());
  if (decoded && nnopt_checksum(out.data(), out.size()) != block.checksum)
    __builtin_trap();
  return 0;
}
