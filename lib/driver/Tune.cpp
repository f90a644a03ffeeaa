//===- Tune.cpp - kernels chosen by running them ----------------------------===//

#include "lib/driver/Tune.h"
#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/compress/CompiledGraph.h"
#include "lib/driver/Isolate.h"
#include "passes/common/Rewrite.h"
#include "llvm/ADT/MapVector.h"
#include <numeric>
#include <random>

using namespace mlir;
using nlohmann::json;

namespace nnopt {

namespace {

/// Equal operations: they get the same kernel.
struct Work {
  SmallVector<Operation *> ops;
  double flops = 0;
};

/// A kernel to try: the attribute that asks for it.
struct Attempt {
  std::string emitter;
  int64_t outTile = 0; // of Winograd's algorithm
  cpu::Tile tile;      // mr = 0: the cost model's

  DictionaryAttr attribute(MLIRContext *ctx) const {
    Builder b(ctx);
    NamedAttrList list;
    list.append("emitter", b.getStringAttr(emitter));
    if (outTile)
      list.append("out_tile", b.getI64IntegerAttr(outTile));
    if (tile.mr) {
      list.append("mr", b.getI64IntegerAttr(tile.mr));
      list.append("nv", b.getI64IntegerAttr(tile.nv));
      list.append("lanes", b.getI64IntegerAttr(tile.lanes));
    }
    return list.getDictionary(ctx);
  }
  json toJson() const {
    return {{"emitter", emitter}, {"out_tile", outTile}, {"mr", tile.mr}, {"nv", tile.nv}, {"lanes", tile.lanes}};
  }
  static std::optional<Attempt> fromJson(const json &j) {
    Attempt a;
    if (!j.is_object() || !j.contains("emitter") || !j["emitter"].is_string())
      return std::nullopt;
    a.emitter = j["emitter"];
    a.outTile = j.value("out_tile", int64_t(0));
    a.tile.mr = j.value("mr", int64_t(0));
    a.tile.nv = j.value("nv", int64_t(0));
    a.tile.lanes = j.value("lanes", int64_t(0));
    return a;
  }
};

bool isStatic(Operation *op) {
  auto known = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape();
  };
  return llvm::all_of(op->getOperandTypes(), known) && llvm::all_of(op->getResultTypes(), known);
}

Isolated isolate(Operation *op) {
  Isolated alone({op}, [](Value v) { return shapeOf(v).vec(); });
  for (Value result : alone.last->getResults())
    alone.addResult(result);
  return alone;
}

/// How kernels are compiled alone.
compress::CompileSettings settingsOf(const cpu::Target &target, const cpu::LoweringOptions &lowering) {
  compress::CompileSettings settings;
  settings.target = target.name;
  settings.winograd = lowering.winograd;
  settings.sparse = lowering.sparse;
  settings.asItIs = true;
  return settings;
}

class Tuner {
public:
  Tuner(const cpu::Target &target, const cpu::LoweringOptions &lowering) : target(target), lowering(lowering) {}

  /// Lowers the operation alone as `attempt` asks; the emitter that was used, and the tiles that it had to choose from.
  std::string lower(Isolated &alone, const Attempt &attempt, std::vector<cpu::Tile> &tiles, double &flops) {
    alone.last->setAttr("nn.kernel", attempt.attribute(alone.last->getContext()));
    CodegenOptions options;
    options.lowering = lowering;
    options.lowering.tiles = &tiles;
    CompiledModel lowered;
    if (failed(lowerModel(*alone.module, target, options, lowered)))
      return "";
    std::string used;
    for (const ProgramLaunch &launch : lowered.program->launches) {
      flops += launch.flops.isConst() ? double(launch.flops.value()) : 0;
      used = launch.emitter;
    }
    return used;
  }

  /// All kernels for an operation; the first is the one without tuning.
  std::vector<Attempt> attempts(Operation *op, double &flops) {
    Isolated alone = isolate(op);
    std::vector<cpu::Tile> tiles;
    std::string usual = lower(alone, {}, tiles, flops);
    std::vector<Attempt> result = {{usual, 0, {0, 0, 0}}};
    for (const cpu::Emitter &emitter : cpu::emittersOf(op->getName().getStringRef())) {
      if (emitter.priority == 0)
        continue;
      for (int64_t outTile : {0, 2, 4}) {
        if ((outTile != 0) != emitter.name.contains("winograd"))
          continue;
        Attempt attempt{emitter.name.str(), outTile, {0, 0, 0}};
        tiles.clear();
        double ignored = 0;
        if (lower(alone, attempt, tiles, ignored) != emitter.name)
          continue; // it does not take the operation
        if (tiles.empty() && emitter.name != usual)
          result.push_back(attempt);
        for (const cpu::Tile &tile : tiles) {
          attempt.tile = tile;
          result.push_back(attempt);
        }
      }
    }
    return result;
  }

  /// Least milliseconds of a run of the operation alone by each kernel; infinity where it cannot be compiled. The kernels
  /// take turns, so that what else the machine does meets all of them.
  std::vector<double> measure(Operation *op, ArrayRef<Attempt> attempts) {
    std::vector<std::unique_ptr<compress::CompiledGraph>> graphs;
    for (const Attempt &attempt : attempts)
      graphs.push_back(compile(op, attempt));
    std::vector<double> least(attempts.size(), INFINITY);
    double first = INFINITY;
    for (auto &graph : graphs)
      if (graph) {
        graph->run(randomInputs(*graph));
        first = std::min(first, graph->measureAgain(2));
      }
    // About 20 ms for each kernel, in five rounds.
    int repeat = int(std::clamp(20 / 5 / std::max(first, 1e-4), 1.0, 200.0));
    for (int round = 0; round < 5; ++round)
      for (auto [graph, ms] : llvm::zip(graphs, least))
        if (graph)
          ms = std::min(ms, graph->measureAgain(repeat));
    return least;
  }

private:
  std::unique_ptr<compress::CompiledGraph> compile(Operation *op, const Attempt &attempt) {
    Isolated alone = isolate(op);
    alone.last->setAttr("nn.kernel", attempt.attribute(op->getContext()));
    try {
      return std::make_unique<compress::CompiledGraph>(*alone.module, settingsOf(target, lowering), /*threads=*/1);
    } catch (const ToolError &) {
      return nullptr;
    }
  }

  static std::vector<HostTensor> randomInputs(const compress::CompiledGraph &graph) {
    std::vector<HostTensor> inputs;
    std::minstd_rand random(1);
    for (size_t i = 0; i < nnopt_model_input_count(graph.model()); ++i) {
      const nnopt_tensor_info *info = nnopt_model_input(graph.model(), i);
      HostTensor &t = inputs.emplace_back(info->name, info->onnx_type,
                                          std::vector<int64_t>(info->dims, info->dims + info->rank));
      if (t.type == OnnxFloat)
        for (int64_t e = 0; e < t.count(); ++e)
          reinterpret_cast<float *>(t.data())[e] = float(random()) / float(random.max()) - 0.5f;
    }
    return inputs;
  }

  const cpu::Target &target;
  const cpu::LoweringOptions &lowering;
};

} // namespace

TuneResult tune(ModuleOp module, const cpu::Target &target, const cpu::LoweringOptions &lowering, const Cache &cache,
                double seconds, Progress &progress) {
  TuneResult result;
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  llvm::MapVector<StringRef, Work> works;
  llvm::StringMap<int> keys;
  module.walk([&](Operation *op) {
    if (!op->getParentOp() || !isa<func::FuncOp>(op->getParentOp()) || !isa<nn::LinearOp>(op))
      return;
    if (auto conv = dyn_cast<nn::ConvOp>(op); conv && cpu::mayBePaired(conv))
      return; // What is best for one alone would take the two apart.
    if (!isStatic(op)) {
      ++result.unknownSizes;
      return;
    }
    std::string text = settingsOf(target, lowering).key() + "\n";
    llvm::raw_string_ostream os(text);
    Isolated alone = isolate(op);
    alone.module->print(os, OpPrintingFlags().elideLargeElementsAttrs(16).elideLargeResourceString(0));
    works[keys.try_emplace(text).first->first()].ops.push_back(op);
  });
  Tuner tuner(target, lowering);
  std::vector<std::pair<StringRef, Work>> order;
  std::vector<std::vector<Attempt>> attempts;
  auto note = [&](const Work &work, const Attempt &best, bool changed) {
    result.changed += changed;
    for (Operation *op : work.ops)
      op->setAttr("nn.kernel", best.attribute(op->getContext()));
  };
  for (auto &[key, work] : works) {
    std::optional<json> known = cache.find("tune", key);
    if (std::optional<Attempt> best = known ? Attempt::fromJson(*known) : std::nullopt) {
      ++result.cached;
      note(work, *best, known->value("changed", false));
      continue;
    }
    work.flops = 0;
    order.push_back({key, work});
  }
  for (auto &[key, work] : order) {
    attempts.push_back(tuner.attempts(work.ops[0], work.flops));
    work.flops *= double(work.ops.size());
  }
  std::vector<size_t> byWork(order.size());
  std::iota(byWork.begin(), byWork.end(), 0);
  llvm::stable_sort(byWork, [&](size_t a, size_t b) { return order[a].second.flops > order[b].second.flops; });
  for (size_t i : byWork) {
    auto &[key, work] = order[i];
    if (attempts[i].size() < 2)
      continue;
    if (elapsed() > seconds) {
      ++result.left;
      continue;
    }
    std::vector<double> ms = tuner.measure(work.ops[0], attempts[i]);
    size_t best = llvm::min_element(ms) - ms.begin();
    // Less than 2 % is noise; what the cost model says stays then.
    if (ms[best] > 0.98 * ms[0])
      best = 0;
    progress.fraction(std::min(1.0, elapsed() / seconds));
    ++result.measured;
    json record = attempts[i][best].toJson();
    record["changed"] = best != 0;
    record["ms"] = ms[best];
    record["usual_ms"] = ms[0];
    cache.store("tune", key, record);
    note(work, attempts[i][best], best != 0);
    passedRemark(work.ops[0]->getLoc(), "tune", "measured")
        << remark::add("{0} of {1} kernels: {2} ms, the cost model's {3} ms", best, attempts[i].size(), ms[best], ms[0]);
  }
  return result;
}

} // namespace nnopt
