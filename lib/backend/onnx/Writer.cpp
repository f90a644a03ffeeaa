//===- Writer.cpp - an exported model as bytes ----------------------------===//
//
// The fields of a message may come in any order, and a message may be written as the concatenation
// of its fields. So the parts without weights are serialized by protobuf, and each weight is
// appended as one more `initializer` field whose bytes go from where they lie to the file.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/Export.h"
#include "lib/codegen/Program.h"
#include "onnx-ml.pb.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace nnopt::onnx {
namespace {

// Field numbers of onnx.proto; a field of bytes begins with (number << 3 | 2).
constexpr unsigned graphOfModel = 7, initializerOfGraph = 5, rawDataOfTensor = 9;
/// Smaller weights stay in the model. Runtimes map the rest, at multiples of the page size.
constexpr int64_t smallestOutside = 1024, alignment = 4096;

std::string fieldHead(unsigned field, uint64_t length) {
  std::string bytes(1, char(field << 3 | 2));
  for (; length >= 0x80; length >>= 7)
    bytes.push_back(char(length | 0x80));
  bytes.push_back(char(length));
  return bytes;
}

bool isOutside(const ExportedModel::Weight &w, bool dataFile) {
  return dataFile && int64_t(w.bytes().size()) >= smallestOutside;
}

uint64_t alignedTo(uint64_t offset) { return (offset + alignment - 1) / alignment * alignment; }

/// Everything of a tensor but its bytes.
std::string tensorHead(const ExportedModel::Weight &w, StringRef dataFile, uint64_t offset) {
  pb::TensorProto tensor;
  tensor.set_name(w.name);
  tensor.set_data_type(onnxDataType(w.data.type().getElementType()));
  for (int64_t d : w.data.type().getShape())
    tensor.add_dims(d);
  if (isOutside(w, !dataFile.empty())) {
    tensor.set_data_location(pb::TensorProto::EXTERNAL);
    auto entry = [&](const char *key, const std::string &value) {
      pb::StringStringEntryProto *e = tensor.add_external_data();
      e->set_key(key);
      e->set_value(value);
    };
    entry("location", dataFile.str());
    entry("offset", std::to_string(offset));
    entry("length", std::to_string(w.bytes().size()));
  }
  return tensor.SerializeAsString();
}

} // namespace

bool ExportedModel::needsDataFile() const {
  uint64_t total = model.size() + graph.size();
  for (const Weight &w : weights)
    total += w.bytes().size() + w.name.size() + 64;
  return total >= (uint64_t(1) << 31) - (1 << 16);
}

void ExportedModel::write(raw_ostream &os, StringRef dataFile) const {
  std::vector<std::string> heads;
  uint64_t graphSize = graph.size(), offset = 0;
  for (const Weight &w : weights) {
    std::string tensor = tensorHead(w, dataFile, offset);
    uint64_t bytes = w.bytes().size(), size = tensor.size();
    if (isOutside(w, !dataFile.empty())) {
      offset = alignedTo(offset + bytes);
    } else {
      tensor += fieldHead(rawDataOfTensor, bytes);
      size = tensor.size() + bytes;
    }
    heads.push_back(fieldHead(initializerOfGraph, size) + tensor);
    graphSize += heads.back().size() + (size - tensor.size());
  }
  os << model << fieldHead(graphOfModel, graphSize) << graph;
  for (auto [w, head] : zip(weights, heads)) {
    os << head;
    if (!isOutside(w, !dataFile.empty()))
      os.write(w.bytes().data(), w.bytes().size());
  }
}

void ExportedModel::writeData(raw_ostream &os) const {
  uint64_t offset = 0;
  for (const Weight &w : weights) {
    if (!isOutside(w, true))
      continue;
    os.write(w.bytes().data(), w.bytes().size());
    uint64_t end = offset + w.bytes().size();
    offset = alignedTo(end);
    os.write_zeros(offset - end);
  }
}

} // namespace nnopt::onnx
