//===- ControlFlow.cpp - import rules of If, Loop, Scan -------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Imports a branch into a region of its own. False, with the reason in `error`, when its shapes
/// contradict each other.
bool importBranch(Node &n, Region &region, const pb::GraphProto &graph, Fatal &error) {
  OpBuilder::InsertionGuard guard(n.b());
  Block *block = n.b().createBlock(&region);
  try {
    Values outputs = n.importer.importSubgraph(n, graph, {});
    n.b().setInsertionPointToEnd(block);
    nn::YieldOp::create(n.b(), n.location(), outputs);
    return true;
  } catch (const Fatal &e) {
    if (e.structural)
      throw;
    error = e;
    return false;
  }
}

bool holds(const pb::GraphProto &graph, StringRef op) {
  return any_of(graph.node(), [&](const pb::NodeProto &node) { return node.op_type() == op; });
}

/// A value of one element with dimensions of 1 before its own.
Value withRank(Node &n, Value v, unsigned rank) {
  Ints axes;
  for (unsigned a = n.rank(v); a < rank; ++a)
    axes.push_back(axes.size());
  return axes.empty() ? v : n.unsqueeze(v, axes);
}

bool hasOneElement(Node &n, Value v) {
  return all_of(n.dims(v), [](Dim d) { return d.isConst(1); });
}

/// The only branch of an If with an unknown condition that the types allow, or null: both do. There
/// are two such cases, and exporters make both from Python code whose condition is a shape:
///  - one branch contradicts the shapes of what it reads;
///  - "if this dimension is 1, squeeze it": ranks are fixed when compiling, and a model only makes
///    sense with one of them. The branch that squeezes is taken, and squeeze wants a dimension
///    of 1.
/// A scalar in one branch and a tensor of one element in the other get the rank of the tensor: they mean the
/// same to what broadcasts.
const pb::GraphProto *onlyBranch(Node &n, nn::IfOp op, const pb::GraphProto &thenGraph,
                                 const pb::GraphProto &elseGraph) {
  Fatal thenError, elseError;
  bool thenGood = importBranch(n, op.getThenBranch(), thenGraph, thenError);
  bool elseGood = importBranch(n, op.getElseBranch(), elseGraph, elseError);
  if (!thenGood && !elseGood)
    throw thenError;
  if (!thenGood || !elseGood) {
    n.importer.warn("the " + Twine(thenGood ? "else" : "then") + " branch of node '" +
                    mlir::cast<NameLoc>(n.location()).getName().getValue() +
                    "' is impossible and left out: " + (thenGood ? elseError : thenError).message);
    return thenGood ? &thenGraph : &elseGraph;
  }
  OpBuilder::InsertionGuard guard(n.b());
  Operation *thenYield = op.getThenBranch().front().getTerminator(),
            *elseYield = op.getElseBranch().front().getTerminator();
  for (unsigned i = 0; i < thenYield->getNumOperands(); ++i) {
    Value a = thenYield->getOperand(i), b = elseYield->getOperand(i);
    bool host = !isa<RankedTensorType>(a.getType()) || !isa<RankedTensorType>(b.getType());
    if (host ? !nn::joinTypes(n.elt(a), n.elt(b)) : n.elt(a) != n.elt(b))
      n.invalid("its branches give different element types");
    if (n.rank(a) == n.rank(b))
      continue;
    if (hasOneElement(n, a) && hasOneElement(n, b)) {
      unsigned rank = std::max(n.rank(a), n.rank(b));
      for (Operation *yield : {thenYield, elseYield}) {
        n.b().setInsertionPoint(yield);
        yield->setOperand(i, withRank(n, yield->getOperand(i), rank));
      }
      n.importer.warn("node '" + Twine(mlir::cast<NameLoc>(n.location()).getName().getValue()) +
                      "': its branches give values of one element and different ranks; the result has rank " +
                      Twine(rank));
      continue;
    }
    if (holds(thenGraph, "Squeeze") == holds(elseGraph, "Squeeze"))
      n.unsupported(
          "branches",
          "give values of different ranks, and the condition is not known when compiling");
    bool takeThen = holds(thenGraph, "Squeeze");
    n.importer.warn("node '" + Twine(mlir::cast<NameLoc>(n.location()).getName().getValue()) +
                    "': its branches give values of different ranks; only the " +
                    (takeThen ? "then" : "else") + " branch, which squeezes, is compiled");
    return takeThen ? &thenGraph : &elseGraph;
  }
  return nullptr;
}

/// A branch whose condition is known is imported in place.
void importIf(Node &n) {
  Value condition = n.in(0);
  n.needBool(condition);
  const pb::GraphProto &thenGraph = n.graph("then_branch"), &elseGraph = n.graph("else_branch");
  unsigned count = n.numOutputs();
  if (thenGraph.output_size() != int(count) || elseGraph.output_size() != int(count))
    n.invalid("its branches and it have different numbers of outputs");
  if (auto known = n.content(condition); known && known->size() == 1) {
    n.outs(n.importer.importSubgraph(n, known->front() ? thenGraph : elseGraph, {}));
    return;
  }
  SmallVector<Type> types(count, n.placeholder());
  auto op = nn::IfOp::create(n.b(), n.location(), types, n.scalar(condition));
  if (const pb::GraphProto *only = onlyBranch(n, op, thenGraph, elseGraph)) {
    for (Region *region : {&op.getThenBranch(), &op.getElseBranch()})
      n.importer.clearBlock(region->front());
    op.erase();
    n.outs(n.importer.importSubgraph(n, *only, {}));
    return;
  }
  n.infer(op);
  n.outs(op->getResults());
}

/// Imports a loop body into the empty region of `op` with arguments of the given types; carried
/// values whose dimensions change from one iteration to the next get dimensions that are unknown,
/// and the body is imported again, because rules look at shapes. `build` makes the body and returns
/// what it yields, of which `carried(i)` continues argument `firstCarried + i`.
struct LoopBody {
  LoopBody(Node &n, Region &region) : n(n), region(region) {}
  Node &n;
  Region &region;
  SmallVector<nn::Dims> dims;
  SmallVector<Type> elements;

  void addArgument(Type element, ArrayRef<Dim> d) {
    elements.push_back(element);
    dims.emplace_back(d.begin(), d.end());
  }

  template <typename Build> void import(unsigned firstCarried, unsigned firstYielded, Build build) {
    OpBuilder::InsertionGuard guard(n.b());
    Block *block = n.b().createBlock(&region);
    for (auto [element, d] : zip(elements, dims)) {
      block->addArgument(typeOf(element, d), n.location());
    }
    while (true) {
      for (auto [i, arg] : enumerate(block->getArguments())) {
        arg.setType(typeOf(elements[i], dims[i]));
        n.shapes().erase(arg);
        n.shapes().set(arg, elements[i], dims[i]);
      }
      n.b().setInsertionPointToEnd(block);
      Values yielded = build(block);
      bool changed = false;
      for (unsigned i = firstCarried; i < dims.size(); ++i)
        changed |= widen(i, yielded[firstYielded + i - firstCarried]);
      if (!changed) {
        n.b().setInsertionPointToEnd(block);
        nn::YieldOp::create(n.b(), n.location(), yielded);
        return;
      }
      n.importer.clearBlock(*block);
    }
  }

  static Type typeOf(Type element, ArrayRef<Dim> d) {
    if (isa<nn::SequenceType, nn::OptionalType, nn::MapType>(element))
      return element;
    SmallVector<int64_t> shape;
    for (Dim x : d)
      shape.push_back(x.typeDim());
    return RankedTensorType::get(shape, element);
  }

  /// Makes dimensions of argument i that differ from the next iteration's value unknown.
  bool widen(unsigned i, Value next) {
    if (!isa<RankedTensorType>(next.getType()))
      return widenHost(i, n.elt(next));
    if (n.elt(next) != elements[i])
      n.invalid("a carried value changes its element type");
    if (n.rank(next) != dims[i].size())
      n.unsupported("body", "a carried value changes its rank");
    bool changed = false;
    for (auto [axis, d] : enumerate(n.dims(next))) {
      if (d == dims[i][axis] || isWide(i, axis))
        continue;
      dims[i][axis] = n.shapes().unknown("carried");
      wide.push_back({i, unsigned(axis)});
      changed = true;
    }
    return changed;
  }
  /// The type that holds in all iterations. Elements of different ranks would make joins go in circles.
  bool widenHost(unsigned i, Type next) {
    Type joined = nn::joinTypes(elements[i], next);
    if (!joined)
      n.invalid("a carried value changes its type");
    if (joined == elements[i] || ++rounds[i] > 3)
      return false;
    elements[i] = rounds[i] == 3 ? nn::unrankedElements(joined) : joined;
    return true;
  }
  bool isWide(unsigned i, unsigned axis) const { return is_contained(wide, std::pair(i, axis)); }
  SmallVector<std::pair<unsigned, unsigned>> wide;
  std::map<unsigned, int> rounds;
};

void importLoop(Node &n) {
  Value trip = n.optIn(0), condition = n.optIn(1);
  const pb::GraphProto &graph = n.graph("body");
  unsigned carried = n.proto.input_size() < 2 ? 0 : n.proto.input_size() - 2;
  Values initial;
  for (unsigned i = 0; i < carried; ++i) {
    bool wrap = graph.input_size() > int(i) + 2 && graph.input(i + 2).type().has_optional_type() &&
                !isa<nn::OptionalType>(n.in(i + 2).getType());
    initial.push_back(wrap ? optionalOf(n, n.in(i + 2)) : n.in(i + 2));
  }
  if (n.numOutputs() < carried || graph.output_size() != int(n.numOutputs()) + 1)
    n.invalid("its body and it have different numbers of outputs");
  if (trip) {
    n.needInt(trip);
    trip = n.scalar(trip);
  }
  if (condition) {
    n.needBool(condition);
    condition = n.scalar(condition);
  }
  SmallVector<Type> types(n.numOutputs(), n.placeholder());
  auto op = nn::LoopOp::create(n.b(), n.location(), types, trip, condition, initial);
  LoopBody body{n, op.getBody()};
  body.addArgument(n.b().getI64Type(), {});
  body.addArgument(n.b().getI1Type(), {});
  for (Value v : initial)
    body.addArgument(n.elt(v), n.dims(v));
  // A body may take an optional and give its value: the next iteration's optional has one.
  SmallVector<bool> unwrap(carried, false);
  body.import(2, 1, [&](Block *block) {
    Values outputs =
        n.importer.importSubgraph(n, graph, Values(block->args_begin(), block->args_end()));
    n.needBool(outputs[0]);
    outputs[0] = n.scalar(outputs[0]);
    for (unsigned i = 0; i < carried; ++i) {
      unwrap[i] = isa<nn::OptionalType>(initial[i].getType()) && !isa<nn::OptionalType>(outputs[i + 1].getType());
      if (unwrap[i])
        outputs[i + 1] = optionalOf(n, outputs[i + 1]);
    }
    for (Value v : ArrayRef<Value>(outputs).drop_front(carried + 1))
      if (nn::isHostValue(v))
        n.unsupported("body", "scan outputs must be tensors of numbers");
    return outputs;
  });
  n.infer(op);
  for (auto [i, v] : enumerate(op->getResults()))
    n.out(i, i < carried && unwrap[i] ? optionalGet(n, v, n.declaredType(i)) : v);
}

} // namespace

Values repeat(Node &n, int64_t most, ArrayRef<Value> initial, llvm::function_ref<Values(ArrayRef<Value>)> body) {
  SmallVector<Type> types(initial.size(), n.placeholder());
  auto op = nn::LoopOp::create(n.b(), n.location(), types, n.intConstant(most), Value(), initial);
  LoopBody region{n, op.getBody()};
  region.addArgument(n.b().getI64Type(), {});
  region.addArgument(n.b().getI1Type(), {});
  for (Value v : initial)
    region.addArgument(n.elt(v), n.dims(v));
  region.import(2, 1, [&](Block *block) {
    return body(Values(std::next(block->args_begin(), 2), block->args_end()));
  });
  n.infer(op);
  return llvm::to_vector_of<Value>(op->getResults());
}

namespace {

/// SequenceMap is a Loop over the positions that appends what its body gives to sequences.
void importSequenceMap(Node &n) {
  Value first = n.in(0);
  const pb::GraphProto &graph = n.graph("body");
  if (!isa<nn::SequenceType>(first.getType()))
    n.invalid("input 0 is no sequence");
  if (graph.input_size() != int(n.numInputs()) || graph.output_size() != int(n.numOutputs()))
    n.invalid("its body and it have different numbers of inputs or outputs");
  Values initial, all = n.allIn();
  for (const pb::ValueInfoProto &out : graph.output()) {
    Type element = valueType(n.ctx(), out.type());
    if (!isa_and_nonnull<TensorType>(element))
      n.unsupported("body", "the type of output '" + out.name() + "' must be declared");
    initial.push_back(n.make<nn::SequenceConstructOp>(
        ValueRange{}, TypeAttr::get(UnrankedTensorType::get(nn::elementTypeOf(element)))));
  }
  Value length = n.make<nn::SequenceLengthOp>(first);
  SmallVector<Type> types(n.numOutputs(), n.placeholder());
  auto op = nn::LoopOp::create(n.b(), n.location(), types, length, Value(), initial);
  LoopBody body{n, op.getBody()};
  body.addArgument(n.b().getI64Type(), {});
  body.addArgument(n.b().getI1Type(), {});
  for (Value v : initial)
    body.addArgument(n.elt(v), {});
  body.import(2, 1, [&](Block *block) {
    Values inputs, yielded = {block->getArgument(1)};
    for (auto [i, v] : enumerate(all)) {
      bool each = isa<nn::SequenceType>(v.getType());
      inputs.push_back(each ? sequenceAt(n, v, block->getArgument(0), valueType(n.ctx(), graph.input(i).type())) : v);
    }
    Values outputs = n.importer.importSubgraph(n, graph, inputs);
    for (auto [i, v] : enumerate(outputs))
      yielded.push_back(sequenceInsert(n, block->getArgument(2 + i), v, {}));
    return yielded;
  });
  n.infer(op);
  n.outs(op->getResults());
}

Ints listAttr(Node &n, StringRef name, size_t count) {
  Ints values = n.ints(name).value_or(Ints(count, 0));
  if (values.size() != count)
    n.invalid("attribute '" + name + "' has " + Twine(values.size()) + " entries, " + Twine(count) +
              " are needed");
  return values;
}

Value reversed(Node &n, Value v, int64_t axis) {
  return n.slice(v, axis, -1, std::numeric_limits<int64_t>::min() + 1, -1);
}

/// A Loop whose body first takes its slices of `sources` along `axes`. With `length`, an i64 scalar, states
/// stay and scan outputs are 0 from that iteration on. Results: states, then stacked outputs.
ResultRange scanLoop(Node &n, const pb::GraphProto &graph, ArrayRef<Value> initial, ArrayRef<Value> sources,
                     ArrayRef<int64_t> axes, unsigned results, Value length = {}) {
  Value trip = n.sizeOf(sources[0], axes[0]);
  SmallVector<Type> types(results, n.placeholder());
  auto op = nn::LoopOp::create(n.b(), n.location(), types, trip, Value(), initial);
  LoopBody body{n, op.getBody()};
  body.addArgument(n.b().getI64Type(), {});
  body.addArgument(n.b().getI1Type(), {});
  for (Value v : initial)
    body.addArgument(n.elt(v), n.dims(v));
  body.import(2, 1, [&](Block *block) {
    Values inputs(block->args_begin() + 2, block->args_end());
    for (auto [v, axis] : zip(sources, axes))
      inputs.push_back(n.make<nn::GatherOp>(v, block->getArgument(0), n.i64(axis)));
    Values outputs = n.importer.importSubgraph(n, graph, inputs);
    if (length) {
      Value runs = n.make<nn::LessOp>(block->getArgument(0), length);
      for (auto [i, v] : enumerate(outputs))
        v = n.make<nn::WhereOp>(runs, v, i < initial.size() ? inputs[i] : n.number(0, n.elt(v)));
    }
    outputs.insert(outputs.begin(), block->getArgument(1));
    return outputs;
  });
  n.infer(op);
  return op->getResults();
}

void importScan(Node &n) {
  const pb::GraphProto &graph = n.graph("body");
  int64_t scanned = n.i("num_scan_inputs"), total = n.numInputs();
  if (scanned < 1 || scanned > total)
    n.invalid("num_scan_inputs is out of range");
  Values all = n.allIn();
  unsigned states = total - scanned;
  if (n.numOutputs() < states || graph.output_size() != int(n.numOutputs()))
    n.invalid("its body and it have different numbers of outputs");
  unsigned results = n.numOutputs() - states;
  Ints inAxes = listAttr(n, "scan_input_axes", scanned),
       inReverse = listAttr(n, "scan_input_directions", scanned);
  Ints outAxes = listAttr(n, "scan_output_axes", results),
       outReverse = listAttr(n, "scan_output_directions", results);
  Values initial(all.begin(), all.begin() + states), sources(all.begin() + states, all.end());
  for (int64_t i = 0; i < scanned; ++i) {
    n.needRank(sources[i], 1);
    inAxes[i] = n.axis(inAxes[i], n.rank(sources[i]));
    if (inReverse[i])
      sources[i] = reversed(n, sources[i], inAxes[i]);
  }
  for (auto [i, v] : enumerate(scanLoop(n, graph, initial, sources, inAxes, n.numOutputs()))) {
    Value value = v;
    if (i >= states) {
      if (outReverse[i - states])
        value = reversed(n, value, 0);
      int64_t rank = n.rank(value), axis = n.axis(outAxes[i - states], rank);
      if (axis != 0) {
        Ints perm;
        for (int64_t d = 1; d < rank; ++d)
          perm.push_back(d);
        perm.insert(perm.begin() + axis, 0);
        value = n.transpose(value, perm);
      }
    }
    n.out(i, value);
  }
}

/// Before opset 9 everything has a batch in front, and sequences may end early: a loop over the batch around
/// the one over the sequence.
void importScan8(Node &n) {
  const pb::GraphProto &graph = n.graph("body");
  int64_t scanned = n.i("num_scan_inputs"), total = int64_t(n.numInputs()) - 1;
  if (scanned < 1 || scanned > total)
    n.invalid("num_scan_inputs is out of range");
  if (n.numOutputs() < total - scanned || graph.output_size() != int(n.numOutputs()))
    n.invalid("its body and it have different numbers of outputs");
  Value lengths = n.optIn(0);
  if (lengths) {
    n.needInt(lengths);
    n.needRank(lengths, 1, 1);
    lengths = n.convert(lengths, n.b().getI64Type());
  }
  Ints reverse = listAttr(n, "directions", scanned);
  Values all;
  for (int64_t i = 0; i < total; ++i) {
    bool isScanned = i >= total - scanned;
    all.push_back(n.in(i + 1));
    n.needRank(all[i], isScanned ? 2 : 1);
    if (!isScanned || !reverse[i - (total - scanned)])
      continue;
    if (lengths)
      n.unsupported("attribute 'directions'", "sequences of different lengths are only scanned forward");
    all[i] = reversed(n, all[i], 1);
  }
  SmallVector<Type> types(n.numOutputs(), n.placeholder());
  auto op = nn::LoopOp::create(n.b(), n.location(), types, n.sizeOf(all.back(), 0), Value(), ValueRange());
  LoopBody body{n, op.getBody()};
  body.addArgument(n.b().getI64Type(), {});
  body.addArgument(n.b().getI1Type(), {});
  body.import(2, 1, [&](Block *block) {
    auto own = [&](Value v) { return n.make<nn::GatherOp>(v, block->getArgument(0), n.i64(0)); };
    Values inputs = map_to_vector<8>(all, own);
    ArrayRef<Value> items(inputs);
    ResultRange results =
        scanLoop(n, graph, items.drop_back(scanned), items.take_back(scanned), Ints(scanned, 0),
                 n.numOutputs(), lengths ? own(lengths) : Value());
    Values outputs{block->getArgument(1)};
    outputs.append(results.begin(), results.end());
    return outputs;
  });
  n.infer(op);
  n.outs(op->getResults());
}

} // namespace

void registerControlFlow(Registry &r) {
  r.add("If", 1, 1, importIf, Registry::any);
  r.add("Loop", 1, Registry::any, importLoop, Registry::any);
  r.add("Scan", 2, Registry::any, importScan8, Registry::any, 8, 8);
  r.add("Scan", 1, Registry::any, importScan, Registry::any, 9);
  r.add("SequenceMap", 1, Registry::any, importSequenceMap, Registry::any, 17);
  r.accept(Operands::Any, {"If", "Loop", "SequenceMap"});
}

} // namespace nnopt::onnx
