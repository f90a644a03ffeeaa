//===- Program.cpp - buffers, values, launches ------------------------------===//

#include "lib/codegen/Program.h"
#include "dialects/nn/Constants.h"
#include "dialects/nn/DropPages.h"
#include "dialects/nn/NN.h"
#include "lib/codegen/SpilledCopy.h"
#include "nnopt/runtime.h"
#include "llvm/Support/xxhash.h"

using namespace nnopt;
using nnopt::nn::Dim;

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

uint32_t Program::addBuffer(ProgramBuffer buffer) {
  buffers.push_back(std::move(buffer));
  return buffers.size() - 1;
}

size_t WeightStore::add(llvm::ArrayRef<char> bytes, uint32_t align, bool copy) {
  uint64_t hash = llvm::xxh3_64bits(llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
  auto range = byHash.equal_range(hash);
  for (auto it = range.first; it != range.second; ++it)
    if (chunks[it->second].bytes == bytes && chunks[it->second].offset % align == 0)
      return it->second;
  Chunk chunk;
  // Vector loads of the last elements may read up to one register past the end.
  chunk.offset = (end + align - 1) / align * align;
  chunk.bytes = bytes;
  constexpr size_t big = 1 << 20;
  if (auto spilled = copy && bytes.size() >= big ? SpilledCopy::make(bytes) : nullptr) {
    chunk.bytes = spilled->bytes();
    chunk.owned = spilled;
  } else if (copy) {
    auto kept = std::make_shared<std::vector<char>>(bytes.begin(), bytes.end());
    chunk.bytes = llvm::ArrayRef<char>(*kept);
    chunk.owned = kept;
  }
  end = chunk.offset + bytes.size();
  byHash.insert({hash, chunks.size()});
  chunks.push_back(std::move(chunk));
  return chunks.size() - 1;
}

void WeightStore::visit(llvm::function_ref<void(llvm::ArrayRef<char>)> each) const {
  for (size_t i = 0; i < chunks.size(); ++i) {
    const Chunk &chunk = chunks[i];
    each(chunk.bytes);
    nn::dropPages(chunk.bytes);
    uint64_t at = chunk.offset + chunk.bytes.size(), next = i + 1 < chunks.size() ? chunks[i + 1].offset : end;
    each(std::vector<char>(next - at));
  }
}

void WeightStore::write(llvm::raw_ostream &os) const {
  visit([&](llvm::ArrayRef<char> bytes) { os.write(bytes.data(), bytes.size()); });
}

uint32_t Program::addChunk(llvm::ArrayRef<char> bytes, uint32_t align, bool copy) {
  size_t chunk = weights->add(bytes, align, copy);
  auto [it, isNew] = chunkBuffers.try_emplace(chunk, 0);
  if (!isNew)
    return it->second;
  ProgramBuffer buffer;
  buffer.kind = NNOPT_B_WEIGHT;
  buffer.size = dimContext.constant(bytes.size());
  buffer.align = align;
  buffer.offset = weights->offset(chunk);
  return it->second = addBuffer(buffer);
}

uint32_t Program::addWeights(llvm::ArrayRef<char> bytes, uint32_t align) { return addChunk(bytes, align, true); }
uint32_t Program::addWeightsView(llvm::ArrayRef<char> bytes, uint32_t align) { return addChunk(bytes, align, false); }

uint32_t Program::symbolNumber(Dim symbol) {
  for (size_t i = 0; i < symbols.size(); ++i)
    if (symbols[i] == symbol)
      return i;
  symbols.push_back(symbol);
  return symbols.size() - 1;
}

Dim Program::stateDim(uint32_t state, Dim unbound, bool zero) {
  Dim symbol = dimContext.symbol("state " + std::to_string(state) + (zero ? " copies" : " capacity for " + unbound.str()));
  dimContext.setBounds(symbol, 0, std::nullopt);
  stateDims[symbol.opaque()] = {state, unbound, zero};
  return symbol;
}

uint32_t Program::value(Dim d) {
  auto it = valueNumbers.find(d.opaque());
  if (it != valueNumbers.end())
    return it->second;
  nnopt_value_expr expr = {};
  auto append = [&](nnopt_value_expr e) -> uint32_t {
    values.push_back(e);
    return values.size() - 1;
  };
  auto chain = [&](uint32_t op) -> uint32_t {
    uint32_t acc = value(d.operands()[0]);
    for (Dim operand : d.operands().drop_front()) {
      uint32_t rhs = value(operand);
      acc = append({op, acc, rhs, 0, 0});
    }
    return acc;
  };
  uint32_t number = 0;
  switch (d.kind()) {
  case Dim::Kind::Const:
    expr.op = NNOPT_V_CONST;
    expr.imm = d.value();
    number = append(expr);
    break;
  case Dim::Kind::Symbol:
    if (auto it = stateDims.find(d.opaque()); it != stateDims.end()) {
      auto [state, unbound, zero] = it->second;
      expr = {NNOPT_V_STATE, value(unbound), state, 0, zero ? 0 : 1};
    } else {
      expr.op = NNOPT_V_SYMBOL;
      expr.a = symbolNumber(d);
    }
    number = append(expr);
    break;
  case Dim::Kind::Add: number = chain(NNOPT_V_ADD); break;
  case Dim::Kind::Mul: number = chain(NNOPT_V_MUL); break;
  case Dim::Kind::FloorDiv: number = chain(NNOPT_V_FLOORDIV); break;
  case Dim::Kind::Mod: number = chain(NNOPT_V_MOD); break;
  case Dim::Kind::Min: number = chain(NNOPT_V_MIN); break;
  case Dim::Kind::Max: number = chain(NNOPT_V_MAX); break;
  case Dim::Kind::Broadcast: number = chain(NNOPT_V_BROADCAST); break;
  }
  valueNumbers[d.opaque()] = number;
  expressions[number] = d;
  return number;
}

//===----------------------------------------------------------------------===//
// Lifetimes and memory
//===----------------------------------------------------------------------===//

uint32_t Program::root(uint32_t buffer) const {
  while (buffers[buffer].kind == NNOPT_B_VIEW)
    buffer = buffers[buffer].index;
  return buffer;
}

/// Lifetimes in order of execution: `time` numbers the instructions as a run would first reach them
/// (then-branch before else-branch). A buffer that is used both inside and outside of a loop is
/// live through the whole loop; a buffer that only a loop's body uses is written there before it
/// is read in each iteration (carried values live outside), so its own interval is enough.
void Program::computeLiveness(std::vector<uint32_t> &first, std::vector<uint32_t> &last,
                              std::vector<uint32_t> &time) const {
  first.assign(buffers.size(), NNOPT_NONE);
  last.assign(buffers.size(), 0);
  time.assign(instructions.size(), 0);
  std::vector<std::pair<uint32_t, uint32_t>> loops;
  uint32_t now = 0;
  auto use = [&](uint32_t buffer) {
    if (buffer == NNOPT_NONE)
      return;
    uint32_t r = root(buffer);
    first[r] = std::min(first[r], now);
    last[r] = std::max(last[r], now);
  };
  std::function<void(uint32_t)> walk = [&](uint32_t block) {
    for (uint32_t i = blocks[block].first; i < blocks[block].first + blocks[block].count; ++i) {
      const nnopt_instruction &in = instructions[i];
      time[i] = now;
      switch (in.op) {
      case NNOPT_I_LAUNCH:
        for (uint32_t b : launches[in.a].buffers)
          use(b);
        ++now;
        break;
      case NNOPT_I_COPY:
        use(in.a);
        use(in.b);
        ++now;
        break;
      case NNOPT_I_READ_SYMBOL:
        use(in.b);
        ++now;
        break;
      case NNOPT_I_BOX:
        use(tensors[in.b].buffer);
        ++now;
        break;
      case NNOPT_I_UNBOX:
        use(tensors[in.a].buffer);
        ++now;
        break;
      case NNOPT_I_HOST_CALL:
      case NNOPT_I_HOST_COPY:
      case NNOPT_I_READ_DIM:
        ++now;
        break;
      case NNOPT_I_IF:
        use(in.a);
        ++now;
        walk(in.b);
        walk(in.c);
        break;
      case NNOPT_I_LOOP: {
        uint32_t start = now;
        for (int j = 0; j < 3; ++j)
          use(indices[in.a + j]);
        ++now;
        walk(indices[in.a + 3]);
        // The condition is read again after each iteration.
        for (int j = 0; j < 3; ++j)
          use(indices[in.a + j]);
        loops.push_back({start, now});
        ++now;
        break;
      }
      }
    }
  };
  if (!blocks.empty())
    walk(0);
  // Outer loops were recorded after inner ones, so one sweep extends through all levels.
  for (auto [start, end] : loops)
    for (size_t b = 0; b < buffers.size(); ++b) {
      if (first[b] == NNOPT_NONE)
        continue;
      bool inside = first[b] <= end && last[b] >= start;
      bool outside = first[b] < start || last[b] > end;
      if (inside && (outside || first[b] == start)) {
        first[b] = std::min(first[b], start);
        last[b] = std::max(last[b], end);
      }
    }
}

void Program::assignInPlace() {
  std::vector<uint32_t> first, last, time;
  computeLiveness(first, last, time);
  // Only in the main program: nested blocks may run several times.
  for (uint32_t i = blocks[0].first; i < blocks[0].first + blocks[0].count; ++i) {
    if (instructions[i].op != NNOPT_I_LAUNCH)
      continue;
    ProgramLaunch &launch = launches[instructions[i].a];
    llvm::SmallVector<uint32_t, 2> taken;
    for (auto [in, out] : launch.inPlace) {
      uint32_t from = root(launch.buffers[in]), to = root(launch.buffers[out]);
      if (from == to || llvm::is_contained(taken, from) || llvm::is_contained(taken, to))
        continue;
      ProgramBuffer &source = buffers[from], &target = buffers[to];
      if (source.kind != NNOPT_B_ARENA || target.kind != NNOPT_B_ARENA)
        continue;
      // Views would be fine too, but only whole buffers of equal size are simple to prove.
      if (launch.buffers[in] != from || launch.buffers[out] != to || source.size != target.size)
        continue;
      if (last[from] != time[i] || first[to] != time[i])
        continue;
      // No other operand of the launch may be a view of the source.
      if (llvm::count_if(launch.buffers, [&](uint32_t b) { return root(b) == from; }) != 1)
        continue;
      target.kind = NNOPT_B_VIEW;
      target.index = from;
      target.size = dimContext.constant(0);
      last[from] = last[to];
      taken.push_back(from);
      break;
    }
  }
}

MemoryPlan Program::planMemory(const llvm::StringMap<int64_t> &symbolValues, int threads) {
  std::vector<uint32_t> first, last, time;
  computeLiveness(first, last, time);
  std::vector<int64_t> sizes;
  std::vector<uint32_t> begins, ends, aligns;
  MemoryPlan plan;
  plan.weights = weights->size();
  auto valueOf = [&](Dim symbol) -> std::optional<int64_t> {
    auto it = symbolValues.find(symbol.symbol());
    return it != symbolValues.end() ? it->second : 1;
  };
  for (size_t i = 0; i < buffers.size(); ++i) {
    const ProgramBuffer &buffer = buffers[i];
    if ((buffer.kind != NNOPT_B_ARENA && buffer.kind != NNOPT_B_SCRATCH) || first[i] == NNOPT_NONE)
      continue;
    int64_t size = dimContext.evaluate(buffer.size, valueOf).value_or(0);
    if (buffer.kind == NNOPT_B_SCRATCH)
      size *= threads;
    sizes.push_back(size);
    begins.push_back(first[i]);
    ends.push_back(last[i]);
    aligns.push_back(buffer.align);
    plan.naive += size;
  }
  std::vector<int64_t> offsets(sizes.size()), work(4 * sizes.size() + 4);
  if (!sizes.empty())
    plan.arena = nnopt_plan_memory(sizes.size(), sizes.data(), begins.data(), ends.data(), aligns.data(), offsets.data(),
                                   work.data(), &plan.lowerBound);
  return plan;
}

//===----------------------------------------------------------------------===//
// Serialization
//===----------------------------------------------------------------------===//

static void collectNames(mlir::Location loc, llvm::SmallVectorImpl<llvm::StringRef> &names) {
  if (auto name = llvm::dyn_cast<mlir::NameLoc>(loc)) {
    if (!llvm::is_contained(names, name.getName().getValue()))
      names.push_back(name.getName());
  } else if (auto fused = llvm::dyn_cast<mlir::FusedLoc>(loc)) {
    for (mlir::Location l : fused.getLocations())
      collectNames(l, names);
  }
}

llvm::SmallVector<llvm::StringRef> nnopt::nodeNames(mlir::Location loc) {
  llvm::SmallVector<llvm::StringRef> names;
  collectNames(loc, names);
  return names;
}

uint32_t nnopt::onnxDataType(mlir::Type type) {
  if (auto optional = llvm::dyn_cast<nn::OptionalType>(type)) return onnxDataType(optional.getElement());
  if (auto sequence = llvm::dyn_cast<nn::SequenceType>(type)) return onnxDataType(sequence.getElement());
  if (auto map = llvm::dyn_cast<nn::MapType>(type)) return onnxDataType(map.getValue());
  type = nn::elementTypeOf(type);
  if (llvm::isa<nn::StringType>(type)) return 8;
  if (type.isF32()) return 1;
  if (type.isUnsignedInteger(8)) return 2;
  if (type.isSignlessInteger(8)) return 3;
  if (type.isUnsignedInteger(16)) return 4;
  if (type.isSignlessInteger(16)) return 5;
  if (type.isSignlessInteger(32)) return 6;
  if (type.isSignlessInteger(64)) return 7;
  if (type.isInteger(1)) return 9;
  if (type.isF16()) return 10;
  if (type.isF64()) return 11;
  if (type.isUnsignedInteger(32)) return 12;
  if (type.isUnsignedInteger(64)) return 13;
  if (type.isBF16()) return 16;
  if (llvm::isa<mlir::Float8E4M3FNType>(type)) return 17;
  if (llvm::isa<mlir::Float8E4M3FNUZType>(type)) return 18;
  if (llvm::isa<mlir::Float8E5M2Type>(type)) return 19;
  if (llvm::isa<mlir::Float8E5M2FNUZType>(type)) return 20;
  if (type.isUnsignedInteger(4)) return 21;
  if (type.isSignlessInteger(4)) return 22;
  if (llvm::isa<mlir::Float4E2M1FNType>(type)) return 23;
  if (llvm::isa<mlir::Float8E8M0FNUType>(type)) return 24;
  if (type.isUnsignedInteger(2)) return 25;
  if (type.isSignlessInteger(2)) return 26;
  return 0;
}

std::string nnopt::onnxTypeText(mlir::Type type) {
  if (auto optional = llvm::dyn_cast<nn::OptionalType>(type))
    return "optional(" + onnxTypeText(optional.getElement()) + ")";
  if (auto sequence = llvm::dyn_cast<nn::SequenceType>(type))
    return "seq(" + onnxTypeText(sequence.getElement()) + ")";
  static const char *const names[] = {
      "undefined", "float",  "uint8",   "int8",   "uint16", "int16",     "int32",      "int64",
      "string",    "bool",   "float16", "double", "uint32", "uint64",    "complex64",  "complex128",
      "bfloat16",  "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4",
      "float4e2m1", "float8e8m0", "uint2", "int2"};
  auto name = [&](mlir::Type t) {
    uint32_t number = onnxDataType(t);
    return std::string(number < std::size(names) ? names[number] : "undefined");
  };
  if (auto map = llvm::dyn_cast<nn::MapType>(type))
    return "map(" + name(map.getKey()) + ",tensor(" + name(map.getValue()) + "))";
  return "tensor(" + name(type) + ")";
}

uint32_t nnopt::hostKind(mlir::Type type) {
  if (llvm::isa<nn::SequenceType>(type))
    return NNOPT_KIND_SEQUENCE;
  if (llvm::isa<nn::OptionalType>(type))
    return NNOPT_KIND_OPTIONAL;
  if (llvm::isa<nn::MapType>(type))
    return NNOPT_KIND_MAP;
  return nn::isHostType(type) ? NNOPT_KIND_STRINGS : NNOPT_KIND_TENSOR;
}

namespace {
/// Appends tables to the blob behind a header.
class BlobWriter {
public:
  BlobWriter() : bytes(sizeof(nnopt_meta_header)) {}
  template <typename T> nnopt_table table(const std::vector<T> &entries) {
    bytes.resize((bytes.size() + 7) / 8 * 8);
    nnopt_table t = {uint32_t(bytes.size()), uint32_t(entries.size())};
    const char *data = reinterpret_cast<const char *>(entries.data());
    bytes.insert(bytes.end(), data, data + entries.size() * sizeof(T));
    return t;
  }
  std::vector<char> bytes;
};
} // namespace

std::vector<char> Program::serialize() {
  std::vector<uint32_t> first, last, time;
  computeLiveness(first, last, time);

  std::vector<char> strings = {0};
  llvm::StringMap<uint32_t> stringOffsets;
  auto string = [&](llvm::StringRef s) -> uint32_t {
    if (s.empty())
      return 0;
    auto [it, isNew] = stringOffsets.try_emplace(s, strings.size());
    if (isNew) {
      strings.insert(strings.end(), s.begin(), s.end());
      strings.push_back(0);
    }
    return it->second;
  };

  std::vector<uint32_t> pool = indices;
  std::vector<nnopt_tensor_meta> tensorMetas;
  std::vector<uint32_t> inputTensors, outputTensors;
  auto addTensor = [&](const ProgramTensor &t) -> uint32_t {
    nnopt_tensor_meta meta = {string(t.name), onnxDataType(t.type), uint32_t(t.dims.size()), 0, t.buffer, 0,
                              hostKind(t.type), string(onnxTypeText(t.type))};
    std::vector<uint32_t> dims, names;
    for (Dim d : t.dims) {
      dims.push_back(value(d));
      names.push_back(d.kind() == Dim::Kind::Symbol ? symbolNumber(d) : NNOPT_NONE);
    }
    meta.dims = pool.size();
    pool.insert(pool.end(), dims.begin(), dims.end());
    meta.dim_names = pool.size();
    pool.insert(pool.end(), names.begin(), names.end());
    tensorMetas.push_back(meta);
    return tensorMetas.size() - 1;
  };
  for (const ProgramTensor &t : tensors)
    addTensor(t);
  for (const ProgramTensor &t : inputs)
    inputTensors.push_back(addTensor(t));
  for (const ProgramTensor &t : outputs)
    outputTensors.push_back(addTensor(t));

  std::vector<nnopt_buffer_meta> bufferMetas;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const ProgramBuffer &b = buffers[i];
    bool used = first[i] != NNOPT_NONE;
    // Memory of the caller only has the alignment of its elements; the runtime copies where more is asked for.
    bool ofCaller = b.kind == NNOPT_B_INPUT || b.kind == NNOPT_B_OUTPUT;
    bufferMetas.push_back({b.kind, value(b.size), b.index, ofCaller ? 1 : b.align, used ? first[i] : 0,
                           used ? last[i] : 0, b.offset});
    // Unused buffers take no memory.
    if (!used && (b.kind == NNOPT_B_ARENA || b.kind == NNOPT_B_SCRATCH))
      bufferMetas.back().size = value(dimContext.constant(0));
  }

  std::vector<nnopt_operand> operands;
  std::vector<nnopt_launch_meta> launchMetas;
  for (const ProgramLaunch &l : launches) {
    nnopt_launch_meta m = {};
    m.kernel = l.kernel;
    m.buffers = operands.size();
    m.buffer_count = l.buffers.size();
    for (uint32_t b : l.buffers)
      operands.push_back({b});
    m.dims = operands.size();
    m.dim_count = l.dims.size();
    for (Dim d : l.dims)
      operands.push_back({value(d)});
    m.tasks = value(l.tasks);
    m.grain = l.grain;
    m.name = string(l.threads ? deviceKernelNames[l.kernel] : kernelNames[l.kernel]);
    m.nodes = string(l.nodes);
    m.op = string(l.op);
    m.flops = l.flops ? value(l.flops) : NNOPT_NONE;
    m.bytes = l.bytes ? value(l.bytes) : NNOPT_NONE;
    m.threads = l.threads;
    m.shared = l.sharedBytes;
    m.written = pool.size();
    pool.resize(pool.size() + (l.written.size() + 31) / 32);
    for (size_t i = 0; i < l.written.size(); ++i)
      pool[m.written + i / 32] |= uint32_t(l.written[i]) << (i % 32);
    launchMetas.push_back(m);
  }

  std::vector<nnopt_host_call> callMetas;
  for (const ProgramHostCall &call : hostCalls) {
    nnopt_host_call m = {string(call.operation), string(call.nodes), 0, uint32_t(call.inputs.size()), 0,
                         uint32_t(call.outputs.size()), call.attributes, 0};
    m.inputs = operands.size();
    for (uint32_t b : call.inputs)
      operands.push_back({b});
    m.outputs = operands.size();
    for (uint32_t t : call.outputs)
      operands.push_back({t});
    callMetas.push_back(m);
  }
  std::vector<nnopt_instruction> code = instructions;
  for (nnopt_instruction &in : code)
    if (in.op == NNOPT_I_UNBOX)
      in.c = string(unboxNodes[in.c]);

  std::vector<nnopt_property> props;
  for (auto &[key, v] : properties)
    props.push_back({string(key), string(v)});

  std::vector<nnopt_symbol> symbolMetas;
  for (Dim s : symbols) {
    auto [low, high] = dimContext.bounds(s);
    symbolMetas.push_back({string(s.symbol()), dataDependent.count(s.opaque()) ? 1u : 0u, low, high.value_or(-1)});
  }

  std::vector<nnopt_state_meta> stateMetas;
  for (const ProgramState &s : states)
    stateMetas.push_back({s.input, s.output, s.axis, 0});

  BlobWriter w;
  nnopt_meta_header header = {};
  memcpy(header.magic, NNOPT_META_MAGIC, 8);
  header.format_version = NNOPT_FORMAT_VERSION;
  header.weights_size = weights->size();
  header.strings = w.table(strings);
  header.symbols = w.table(symbolMetas);
  header.values = w.table(values);
  header.tensors = w.table(tensorMetas);
  header.buffers = w.table(bufferMetas);
  header.operands = w.table(operands);
  header.launches = w.table(launchMetas);
  header.instructions = w.table(code);
  header.blocks = w.table(blocks);
  header.indices = w.table(pool);
  header.inputs = w.table(inputTensors);
  header.outputs = w.table(outputTensors);
  header.properties = w.table(props);
  header.host_calls = w.table(callMetas);
  header.states = w.table(stateMetas);
  memcpy(w.bytes.data(), &header, sizeof(header));
  return std::move(w.bytes);
}

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

void Program::print(llvm::raw_ostream &os) {
  std::vector<uint32_t> first, last, time;
  computeLiveness(first, last, time);
  auto bufferText = [&](uint32_t i) {
    const ProgramBuffer &b = buffers[i];
    std::string s = "%" + std::to_string(i);
    if (b.kind == NNOPT_B_VIEW)
      s += "(view of %" + std::to_string(b.index) + " + " + b.size.str() + ")";
    if (b.kind == NNOPT_B_INPUT)
      s = "input" + std::to_string(b.index);
    if (b.kind == NNOPT_B_OUTPUT)
      s = "output" + std::to_string(b.index);
    if (b.kind == NNOPT_B_WEIGHT)
      s = "weights@" + std::to_string(b.offset);
    return s;
  };
  auto tensor = [&](llvm::StringRef what, const ProgramTensor &t) {
    os << what << " " << t.name << ": [";
    llvm::interleaveComma(t.dims, os, [&](Dim d) { os << d.str(); });
    os << "] " << onnxTypeText(t.type) << " in " << bufferText(t.buffer) << "\n";
  };
  for (const ProgramTensor &t : inputs)
    tensor("input", t);
  for (const ProgramTensor &t : outputs)
    tensor("output", t);
  for (auto [i, s] : llvm::enumerate(states))
    os << "state " << i << ": output" << s.output << " appends to input" << s.input << " along axis " << s.axis << "\n";
  for (size_t i = 0; i < buffers.size(); ++i) {
    const ProgramBuffer &b = buffers[i];
    bool own = b.kind == NNOPT_B_ARENA || b.kind == NNOPT_B_SCRATCH || b.kind == NNOPT_B_STATE || b.kind == NNOPT_B_KEPT;
    const char *kind = b.kind == NNOPT_B_SCRATCH ? " scratch"
                       : b.kind == NNOPT_B_STATE ? " state"
                       : b.kind == NNOPT_B_KEPT  ? " kept"
                                                 : " arena";
    if (own && first[i] != NNOPT_NONE)
      os << "buffer %" << i << kind << " bytes " << b.size.str() << " live " << first[i] << ".." << last[i] << "\n";
  }
  for (size_t b = 0; b < blocks.size(); ++b) {
    os << "block " << b << ":\n";
    for (uint32_t i = blocks[b].first; i < blocks[b].first + blocks[b].count; ++i) {
      const nnopt_instruction &in = instructions[i];
      os << "  " << i << ": ";
      switch (in.op) {
      case NNOPT_I_LAUNCH: {
        const ProgramLaunch &l = launches[in.a];
        os << (l.threads ? "launch cuda " : "launch ") << (l.threads ? deviceKernelNames : kernelNames)[l.kernel] << "(";
        llvm::interleaveComma(llvm::seq<size_t>(0, l.buffers.size()), os,
                              [&](size_t j) { os << (l.written[j] ? "out " : "") << bufferText(l.buffers[j]); });
        for (Dim d : l.dims)
          os << ", " << d.str();
        os << ") tasks " << l.tasks.str();
        if (l.threads)
          os << " threads " << l.threads << " shared " << l.sharedBytes;
        os << " // " << l.nodes;
        break;
      }
      case NNOPT_I_IF: os << "if " << bufferText(in.a) << " block " << in.b << " else block " << in.c; break;
      case NNOPT_I_LOOP: os << "loop block " << indices[in.a + 3]; break;
      case NNOPT_I_COPY: os << "copy " << bufferText(in.a) << " <- " << bufferText(in.b); break;
      case NNOPT_I_HOST_CALL: {
        const ProgramHostCall &call = hostCalls[in.a];
        os << "call " << call.operation << "(";
        llvm::interleaveComma(call.inputs, os, [&](uint32_t b) { os << bufferText(b); });
        os << ") -> (";
        llvm::interleaveComma(call.outputs, os,
                              [&](uint32_t t) { os << (t == NNOPT_NONE ? "unused" : bufferText(tensors[t].buffer)); });
        os << ") // " << call.nodes;
        break;
      }
      case NNOPT_I_HOST_COPY: os << "share " << bufferText(in.a) << " <- " << bufferText(in.b); break;
      case NNOPT_I_BOX: os << "box " << bufferText(in.a) << " <- " << bufferText(tensors[in.b].buffer); break;
      case NNOPT_I_UNBOX: os << "unbox " << bufferText(tensors[in.a].buffer) << " <- " << bufferText(in.b); break;
      case NNOPT_I_READ_DIM:
        os << "read " << symbols[in.a].symbol().str() << " from dimension " << in.c << " of " << bufferText(in.b);
        break;
      case NNOPT_I_READ_SYMBOL: os << "read " << symbols[in.a].symbol().str() << " from " << bufferText(in.b); break;
      }
      os << "\n";
    }
  }
}
