//===- ModelFile.cpp - an ONNX file and its external data -----------------===//
//
// A model is mapped, not read. Before protobuf sees it, a walk over the wire format makes a copy in
// which each tensor's `raw_data` is replaced by its position (two 64-bit integers: offset and
// length). So weights are never copied, and files beyond protobuf's limit of 2 GB can be read.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ModelFile.h"
#include "google/protobuf/io/coded_stream.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace nnopt::onnx {
namespace {

/// Messages on the way from the model to its tensors; everything else is copied as it is.
enum class Message { Model, Graph, Node, Attribute, SparseTensor, Function, Tensor, Other };

/// The message type of a length-delimited field (numbers from onnx-ml.proto).
Message messageOfField(Message parent, uint64_t field) {
  switch (parent) {
  case Message::Model:
    return field == 7 ? Message::Graph : field == 25 ? Message::Function : Message::Other;
  case Message::Graph:
    return field == 1    ? Message::Node
           : field == 5  ? Message::Tensor
           : field == 15 ? Message::SparseTensor
                         : Message::Other;
  case Message::Node:
    return field == 5 ? Message::Attribute : Message::Other;
  case Message::Attribute:
    return field == 5 || field == 10    ? Message::Tensor
           : field == 6 || field == 11  ? Message::Graph
           : field == 22 || field == 23 ? Message::SparseTensor
                                        : Message::Other;
  case Message::SparseTensor:
    return field == 1 || field == 2 ? Message::Tensor : Message::Other;
  case Message::Function:
    return field == 7 ? Message::Node : field == 11 ? Message::Attribute : Message::Other;
  case Message::Tensor:
  case Message::Other:
    return Message::Other;
  }
  return Message::Other;
}

constexpr uint64_t trainingInfoField = 20; // of the model: not needed, may be large
constexpr uint64_t rawDataField = 9;       // of a tensor
constexpr unsigned maxDepth = 100;         // protobuf's own limit
constexpr size_t positionBytes = 16;

class Stripper {
public:
  explicit Stripper(StringRef file) : file(file) {}

  /// Appends the message at file[begin, end) to `out`, positions in place of raw data.
  bool strip(Message kind, uint64_t begin, uint64_t end, std::string &out, unsigned depth = 0) {
    if (depth > maxDepth)
      return fail(begin, "messages are nested too deeply");
    uint64_t at = begin;
    while (at < end) {
      uint64_t start = at, tag, length = 0;
      if (!varint(at, end, tag))
        return fail(start, "a field is cut off");
      uint64_t field = tag >> 3;
      if (field == 0 || tag > UINT32_MAX)
        return fail(start, "a field has an impossible number");
      switch (tag & 7) {
      case 0:
        if (!varint(at, end, length))
          return fail(start, "a number is cut off");
        break;
      case 1:
      case 5:
        length = (tag & 7) == 1 ? 8 : 4;
        if (end - at < length)
          return fail(start, "a number is cut off");
        at += length;
        break;
      case 2: {
        if (!varint(at, end, length) || length > end - at)
          return fail(start, "a field is longer than what is left of the file");
        uint64_t data = at;
        at += length;
        if (kind == Message::Model && field == trainingInfoField)
          continue;
        if (kind == Message::Tensor && field == rawDataField) {
          char position[positionBytes];
          support::endian::write64le(position, data);
          support::endian::write64le(position + 8, length);
          appendField(out, tag, StringRef(position, positionBytes));
          continue;
        }
        Message child = messageOfField(kind, field);
        if (child == Message::Other)
          break;
        std::string inner;
        if (!strip(child, data, at, inner, depth + 1))
          return false;
        appendField(out, tag, inner);
        continue;
      }
      default:
        return fail(start, "a field has an unknown wire type");
      }
      out.append(file.data() + start, at - start);
    }
    return true;
  }

  std::string error;

private:
  bool varint(uint64_t &at, uint64_t end, uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 70 && at < end; shift += 7) {
      uint8_t byte = file[at++];
      if (shift < 64)
        value |= uint64_t(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  }
  static void appendVarint(std::string &out, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      out.push_back(char(value | 0x80));
    out.push_back(char(value));
  }
  static void appendField(std::string &out, uint64_t tag, StringRef data) {
    appendVarint(out, tag);
    appendVarint(out, data.size());
    out.append(data.data(), data.size());
  }
  bool fail(uint64_t at, StringRef why) {
    error = formatv(
        "not a valid ONNX protobuf: {0} (at byte {1}); the file is truncated or corrupt", why, at);
    return false;
  }

  StringRef file;
};

/// Maps a regular file read-only.
std::unique_ptr<MemoryBuffer> mapFile(StringRef path, std::string &error) {
  sys::fs::file_status status;
  if (std::error_code ec = sys::fs::status(path, status)) {
    error = "cannot open: " + ec.message();
    return nullptr;
  }
  if (status.type() != sys::fs::file_type::regular_file) {
    error = "not a regular file";
    return nullptr;
  }
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    error = "cannot read: " + buffer.getError().message();
    return nullptr;
  }
  return std::move(*buffer);
}

} // namespace

bool ModelFile::open(StringRef path, std::string &error) {
  std::unique_ptr<MemoryBuffer> buffer = mapFile(path, error);
  if (!buffer)
    return false;
  SmallString<256> real, parent(sys::path::parent_path(path));
  if (parent.empty())
    parent = ".";
  if (std::error_code ec = sys::fs::real_path(parent, real)) {
    error = "cannot resolve its folder: " + ec.message();
    return false;
  }
  folder = real.str().str();
  bytes = buffer->getBuffer();
  files->push_back(std::move(buffer));
  return parse(error);
}

std::vector<std::string> ModelFile::paths() const {
  std::vector<std::string> all;
  for (const std::unique_ptr<MemoryBuffer> &file : *files)
    all.push_back(file->getBufferIdentifier().str());
  return all;
}

bool ModelFile::openBytes(StringRef data, std::string &error) {
  bytes = data;
  return parse(error);
}

bool ModelFile::parse(std::string &error) {
  if (bytes.empty()) {
    error = "the file is empty";
    return false;
  }
  std::string stripped;
  Stripper stripper(bytes);
  if (!stripper.strip(Message::Model, 0, bytes.size(), stripped)) {
    error = std::move(stripper.error);
    return false;
  }
  if (stripped.size() > size_t(INT32_MAX)) {
    error = "the graph without its weights is larger than 2 GB";
    return false;
  }
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t *>(stripped.data()),
                                                stripped.size());
  stream.SetTotalBytesLimit(INT32_MAX);
  if (!proto.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    error = "not a valid ONNX protobuf: the file is corrupt or not an ONNX model";
    return false;
  }
  return true;
}

std::optional<ArrayRef<char>> ModelFile::bytesOf(const pb::TensorProto &tensor,
                                                 std::string &error) {
  if (tensor.data_location() == pb::TensorProto::EXTERNAL)
    return externalBytes(tensor, error);
  if (!tensor.has_raw_data())
    return std::nullopt;
  // Every raw_data was replaced by its position, so nothing else can stand here.
  const std::string &position = tensor.raw_data();
  if (position.size() != positionBytes) {
    error = "its raw data is corrupt";
    return std::nullopt;
  }
  uint64_t offset = support::endian::read64le(position.data());
  uint64_t length = support::endian::read64le(position.data() + 8);
  if (offset > bytes.size() || length > bytes.size() - offset) {
    error = "its raw data is corrupt";
    return std::nullopt;
  }
  return ArrayRef<char>(bytes.data() + offset, length);
}

const MemoryBuffer *ModelFile::externalFile(StringRef location, std::string &error) {
  if (const MemoryBuffer *known = external.lookup(location))
    return known;
  if (folder.empty()) {
    error = formatv("external data '{0}' of a model in memory cannot be read", location);
    return nullptr;
  }
  auto refuse = [&](const Twine &why) -> const MemoryBuffer * {
    error = formatv("external data '{0}' {1}", location, why.str());
    return nullptr;
  };
  if (location.empty() || location.contains('\0'))
    return refuse("is not a file name");
  if (sys::path::is_absolute(location) || location.starts_with("\\"))
    return refuse("is an absolute path; only files in the model's folder are read");
  for (auto it = sys::path::begin(location), end = sys::path::end(location); it != end; ++it)
    if (*it == "..")
      return refuse("leads out of the model's folder; only files inside it are read");
  SmallString<256> path(folder), real;
  sys::path::append(path, location);
  if (std::error_code ec = sys::fs::real_path(path, real))
    return refuse("cannot be opened: " + ec.message());
  // A symbolic link may not lead out either.
  StringRef inside(real);
  if (!(folder == "/" || (inside.consume_front(folder) && inside.starts_with("/"))))
    return refuse("is a link out of the model's folder; only files inside it are read");
  std::string why;
  std::unique_ptr<MemoryBuffer> buffer = mapFile(real, why);
  if (!buffer)
    return refuse(why);
  const MemoryBuffer *result = buffer.get();
  files->push_back(std::move(buffer));
  external[location] = result;
  return result;
}

std::optional<ArrayRef<char>> ModelFile::externalBytes(const pb::TensorProto &tensor,
                                                       std::string &error) {
  StringRef location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  for (const pb::StringStringEntryProto &entry : tensor.external_data()) {
    StringRef value = entry.value();
    if (entry.key() == "location") {
      location = value;
    } else if (entry.key() == "offset") {
      if (value.getAsInteger(10, offset)) {
        error = formatv("the offset '{0}' of its external data is not a number", value);
        return std::nullopt;
      }
    } else if (entry.key() == "length") {
      uint64_t n;
      if (value.getAsInteger(10, n)) {
        error = formatv("the length '{0}' of its external data is not a number", value);
        return std::nullopt;
      }
      length = n;
    }
  }
  const MemoryBuffer *file = externalFile(location, error);
  if (!file)
    return std::nullopt;
  uint64_t size = file->getBufferSize();
  if (offset > size || (length && *length > size - offset)) {
    error =
        formatv("external data '{0}' is too short: bytes {1} to {2} are wanted, the file has {3}",
                location, offset, length ? std::to_string(offset + *length) : "the end", size);
    return std::nullopt;
  }
  return ArrayRef<char>(file->getBufferStart() + offset, length.value_or(size - offset));
}

} // namespace nnopt::onnx
