//===- PrunableGroups.cpp - what structured pruning can remove --------------===//

#include "lib/compress/prune/PrunableGroups.h"
#include "lib/codegen/Program.h"
#include "lib/report/Work.h"
#include "passes/common/Parts.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nnopt::compress {

/// For people: "nn.softmax of '/attn/Softmax'".
static std::string nameOf(Operation *op) {
  if (!op)
    return "an input of the model";
  if (op->hasTrait<OpTrait::IsTerminator>())
    return "an output of the model";
  return op->getName().getStringRef().str() + " '" + llvm::join(nodeNames(op->getLoc()), "+") + "'";
}

/// Constants that make a unit: rows of weights along out channels, elements of biases.
static std::vector<float> producersOf(const AxisGroups &groups, const AxisGroups::Unit &unit) {
  std::vector<float> values;
  for (const AxisGroups::Member &m : unit) {
    const AxisGroups::Place &p = groups.places()[m.place];
    auto linear = dyn_cast_or_null<nn::LinearOp>(p.user);
    if (!linear || !p.value)
      continue;
    bool makes = p.operand == linear.getWeightMutable().getOperandNumber()
                     ? p.dim == linear.getWeightOutAxis()
                     : p.value == linear.getBias();
    auto data = makes ? nn::ConstantData::get(p.value) : std::nullopt;
    if (!data || !data->type().getElementType().isF32())
      continue;
    std::vector<float> slice =
        nn::ConstantData::get(Attribute(pickConstant(*data, p.dim, m.indices)))->asFloats();
    values.insert(values.end(), slice.begin(), slice.end());
  }
  return values;
}

/// Kernels compute 16 or 8 out channels at once.
static int64_t stepOf(const AxisGroups &groups, const AxisGroups::Group &group) {
  int64_t width = 1, channels = group.units.size();
  for (const AxisGroups::Member &m : group.units.front())
    if (const AxisGroups::Place &p = groups.places()[m.place];
        p.user && p.value && isa<nn::LinearOp>(p.user)) {
      width = std::max<int64_t>(width, m.indices.size());
      channels = std::max(channels, p.size);
    }
  int64_t liked = channels >= 32 ? 16 : channels >= 16 ? 8 : 4;
  for (int64_t step = 1; step < liked; ++step)
    if (step * width % liked == 0)
      return step;
  return liked;
}

/// The scales of batch normalizations, for each group that they are about.
static std::map<unsigned, Vector> scalesOf(const AxisGroups &groups,
                                           ArrayRef<std::pair<Operation *, const ChannelMoments *>> normalized) {
  std::map<unsigned, Vector> scales;
  for (auto [op, moments] : normalized) {
    auto place = groups.placeOf(op, nn::AxisTies::result(0, 1));
    for (size_t c = 0; place && c < moments->deviation.size(); ++c)
      if (auto unit = groups.unitOf(*place, c)) {
        Vector &all = scales.try_emplace(unit->first, Vector::Zero(groups.groups()[unit->first].units.size())).first->second;
        all[unit->second] += float(moments->deviation[c]);
      }
  }
  return scales;
}

std::vector<PrunableGroup> findPrunable(const AxisGroups &groups, ArrayRef<LinearLayer> layers,
                                        ArrayRef<std::pair<Operation *, const ChannelMoments *>> normalized,
                                        std::vector<Refusal> &refused) {
  std::map<unsigned, Vector> scales = scalesOf(groups, normalized);
  std::vector<PrunableGroup> result;
  std::map<Operation *, size_t> layerNumbers;
  for (auto [i, layer] : llvm::enumerate(layers))
    layerNumbers[layer.op()] = i;
  // Who sums over an axis, or measures it.
  std::map<unsigned, std::vector<std::pair<Operation *, bool>>> users;
  for (Operation *op : groups.operations()) {
    for (auto [a, b] : groups.tiesOf(op)->contractions)
      if (auto place = groups.placeOf(op, a))
        users[*place].push_back({op, false});
    for (nn::Axis a : groups.tiesOf(op)->measured)
      if (auto place = groups.placeOf(op, a))
        users[*place].push_back({op, true});
  }
  for (auto [g, group] : llvm::enumerate(groups.groups())) {
    PrunableGroup found{unsigned(g),           group.name, int64_t(group.units.size()),
                        stepOf(groups, group), {},         {}, scales[g]};
    std::string why;
    for (const AxisGroups::Member &m : group.units.front()) {
      auto it = users.find(m.place);
      for (auto [op, measures] :
           it == users.end() ? std::vector<std::pair<Operation *, bool>>() : it->second) {
        std::string reason = "its weights are not constant";
        auto layer = layerNumbers.find(op);
        if (layer == layerNumbers.end())
          LinearLayer::get(op, &reason);
        if (measures) {
          why = nameOf(op) + " measures over all of its channels";
        } else if (layer == layerNumbers.end()) {
          why = nameOf(op) + " sums over it, and cannot be solved anew: " + reason;
        } else {
          const LinearLayer &l = layers[layer->second];
          PrunableGroup::Reader reader{layer->second, {}};
          for (const AxisGroups::Unit &unit : group.units) {
            reader.columns.emplace_back();
            for (const AxisGroups::Member &mine : unit)
              if (mine.place == m.place)
                for (int64_t channel : mine.indices)
                  for (int64_t k = 0; k < l.kernel(); ++k)
                    reader.columns.back().push_back(channel * l.kernel() + k);
          }
          found.readers.push_back(std::move(reader));
        }
      }
    }
    if (why.empty() && found.readers.empty())
      why = "no layer sums over it";
    if (why.empty() && found.units <= found.step)
      why = std::to_string(found.units) + " units are too few to remove " +
            std::to_string(found.step) + " at once";
    if (!why.empty()) {
      refused.push_back({group.name, why});
      continue;
    }
    for (auto [u, unit] : llvm::enumerate(group.units)) {
      std::vector<float> row = producersOf(groups, unit);
      if (u == 0)
        found.producers.resize(group.units.size(), row.size());
      found.producers.row(u) = Eigen::Map<const Eigen::RowVectorXf>(row.data(), row.size());
    }
    result.push_back(std::move(found));
  }
  // Layers whose channels are no unit at all, with what holds them.
  for (const LinearLayer &layer : layers) {
    auto out = groups.placeOf(layer.op(), nn::AxisTies::result(0, layer.op().getOutChannelAxis()));
    if (!out || groups.places()[*out].size < 2)
      continue;
    if (auto by = groups.fixedBy(*out, 0))
      refused.push_back({llvm::join(nodeNames(layer.op()->getLoc()), "+"),
                         nameOf(*by) + " needs all of its channels"});
  }
  for (const AxisGroups::Barrier &barrier : groups.barriers())
    refused.push_back(
        {llvm::join(nodeNames(barrier.op->getLoc()), "+"),
         barrier.op->getName().getStringRef().str() + " is a barrier: " + barrier.reason});
  return result;
}

PrunedWork::PrunedWork(func::FuncOp func, const AxisGroups &groups, FuncShapes &shapes,
                       llvm::function_ref<std::optional<int64_t>(nn::Dim)> sizeOf) {
  for (Operation &op : func.getBody().front()) {
    nn::Dim count = report::multiplyAccumulates(&op, shapes.ctx);
    if (!count)
      continue;
    Work work{double(count.context().evaluate(count, sizeOf).value_or(0)), {}};
    const nn::AxisTies *ties = groups.tiesOf(&op);
    for (int64_t d = 0; ties && d < rankOf(op.getResult(0)); ++d)
      if (auto place = groups.placeOf(&op, nn::AxisTies::result(0, d)))
        work.places.push_back(*place);
    for (size_t i = 0; ties && i < ties->contractions.size(); ++i)
      if (auto place = groups.placeOf(&op, ties->contractions[i].first))
        work.places.push_back(*place);
    works.push_back(std::move(work));
  }
  for (const AxisGroups::Place &p : groups.places())
    sizes.push_back(p.size);
  indices.resize(sizes.size());
  for (auto [g, group] : llvm::enumerate(groups.groups()))
    for (const AxisGroups::Member &m : group.units.front())
      indices[m.place].push_back({unsigned(g), int64_t(m.indices.size())});
}

double PrunedWork::after(ArrayRef<int64_t> removed) const {
  double sum = 0;
  for (const Work &work : works) {
    double count = work.multiplyAdds;
    for (unsigned place : work.places) {
      int64_t gone = 0;
      for (auto [group, each] : indices[place])
        gone += removed[group] * each;
      count *= double(sizes[place] - gone) / double(sizes[place]);
    }
    sum += count;
  }
  return sum;
}

} // namespace nnopt::compress
