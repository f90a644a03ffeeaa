//===- Trees.cpp - import rules of tree ensembles -------------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// The tables of nn.tree_ensemble. A child is a node, or ~leaf.
struct Forest {
  struct Tree {
    int32_t feature, yes, no, bits;
  };
  std::vector<Tree> nodes;
  std::vector<double> thresholds;
  std::vector<int32_t> roots, leafBegin{0}, targets;
  std::vector<double> weights;

  int32_t addLeaf(ArrayRef<std::pair<int32_t, double>> values) {
    for (auto [target, weight] : values) {
      targets.push_back(target);
      weights.push_back(weight);
    }
    leafBegin.push_back(targets.size());
    return ~int32_t(leafBegin.size() - 2);
  }

  /// Whether following children always ends.
  bool endsEverywhere() const {
    std::vector<char> state(nodes.size(), 0); // 1: on the way down, 2: done
    for (size_t start = 0; start < nodes.size(); ++start) {
      std::vector<int32_t> path{int32_t(start)};
      while (!path.empty()) {
        int32_t at = path.back();
        if (at < 0 || state[at] == 2) {
          path.pop_back();
          continue;
        }
        if (state[at] == 1) {
          state[at] = 2;
          path.pop_back();
          continue;
        }
        state[at] = 1;
        for (int32_t next : {nodes[at].yes, nodes[at].no}) {
          if (next >= 0 && state[next] == 1)
            return false;
          path.push_back(next);
        }
      }
    }
    return true;
  }
};

/// The bits of nn.tree_ensemble's comparison; 0 for unknown names.
int32_t bitsOf(StringRef mode) {
  return llvm::StringSwitch<int32_t>(mode)
      .Cases({"BRANCH_LEQ", "0"}, 1 | 2)
      .Cases({"BRANCH_LT", "1"}, 1)
      .Cases({"BRANCH_GTE", "2"}, 4 | 2)
      .Cases({"BRANCH_GT", "3"}, 4)
      .Cases({"BRANCH_EQ", "4"}, 2)
      .Cases({"BRANCH_NEQ", "5"}, 1 | 4 | 8)
      .Default(0);
}

/// The numbers of a list attribute, or of the tensor attribute that is used for other types than float.
std::vector<double> numbersOf(Node &n, StringRef list, Type &type) {
  if (auto value = nn::ConstantData::get(Attribute(n.tensor((list + "_as_tensor").str())))) {
    std::vector<double> all;
    for (int64_t i = 0; i < value->size(); ++i)
      all.push_back(value->asDouble(i));
    type = value->type().getElementType();
    return all;
  }
  return n.floats(list).value_or(std::vector<double>());
}

template <typename T> Value table(Node &n, ArrayRef<T> values, Type type, ArrayRef<int64_t> shape) {
  return n.constant(nn::makeConstant(RankedTensorType::get(shape, type),
                                     ArrayRef<char>(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)),
                                     "trees"));
}
Value reals(Node &n, ArrayRef<double> values, Type type) {
  if (type.isF64())
    return table<double>(n, values, type, {int64_t(values.size())});
  std::vector<float> narrow(values.begin(), values.end());
  return table<float>(n, narrow, type, {int64_t(narrow.size())});
}

/// Scores [N, targets] in the type of the thresholds.
Value emitForest(Node &n, Forest &forest, int64_t targets, nn::TreeAggregate aggregate, Type type) {
  Value x = n.in(0);
  if (n.rank(x) == 1)
    x = n.unsqueeze(x, {0});
  n.needRank(x, 2, 2);
  if (!forest.endsEverywhere())
    n.invalid("a tree has a cycle");
  Dim features = n.dim(x, 1);
  for (const Forest::Tree &node : forest.nodes)
    if (node.feature < 0 || (features.isConst() && node.feature >= features.value()))
      n.invalid("a tree looks at feature " + Twine(node.feature) + ", x has " + features.str());
  for (int32_t t : forest.targets)
    if (t < 0 || t >= targets)
      n.invalid("a leaf has target or class " + Twine(t) + " of " + Twine(targets));
  Type i32 = n.b().getI32Type();
  int64_t count = forest.nodes.size();
  SmallVector<int32_t> packed;
  for (const Forest::Tree &t : forest.nodes)
    packed.append({t.feature, t.yes, t.no, t.bits});
  auto ints = [&](ArrayRef<int32_t> v) { return table<int32_t>(n, v, i32, {int64_t(v.size())}); };
  return n.make<nn::TreeEnsembleOp>(n.convert(x, type), table<int32_t>(n, packed, i32, {count, 4}),
                                    reals(n, forest.thresholds, type), ints(forest.roots), ints(forest.leafBegin),
                                    ints(forest.targets), reals(n, forest.weights, type), n.i64(targets),
                                    nn::TreeAggregateAttr::get(n.ctx(), aggregate));
}

//===----------------------------------------------------------------------===//
// TreeEnsembleClassifier, TreeEnsembleRegressor: nodes by tree and node number
//===----------------------------------------------------------------------===//

/// `prefix` is `class` or `target`.
Forest readForest(Node &n, StringRef prefix, Type &type) {
  auto need = [&](const Twine &name) { return n.ints(name.str()).value_or(Ints()); };
  Ints trees = need("nodes_treeids"), ids = need("nodes_nodeids"), features = need("nodes_featureids");
  Ints yes = need("nodes_truenodeids"), no = need("nodes_falsenodeids"), missing = need("nodes_missing_value_tracks_true");
  auto modes = n.strings("nodes_modes").value_or(std::vector<std::string>());
  std::vector<double> values = numbersOf(n, "nodes_values", type);
  n.ignore({"nodes_hitrates", "nodes_hitrates_as_tensor"});
  size_t count = trees.size();
  if (!count || ids.size() != count || features.size() != count || yes.size() != count || no.size() != count ||
      modes.size() != count || values.size() != count || (!missing.empty() && missing.size() != count))
    n.invalid("the lists of node attributes are empty or differ in length");
  Ints leafTrees = need(prefix + "_treeids"), leafNodes = need(prefix + "_nodeids"), targets = need(prefix + "_ids");
  std::vector<double> weights = numbersOf(n, (prefix + "_weights").str(), type);
  if (leafNodes.size() != leafTrees.size() || targets.size() != leafTrees.size() || weights.size() != leafTrees.size())
    n.invalid("the lists of leaf attributes differ in length");

  using Key = std::pair<int64_t, int64_t>;
  std::map<Key, std::vector<std::pair<int32_t, double>>> leaves;
  for (size_t i = 0; i < targets.size(); ++i)
    leaves[{leafTrees[i], leafNodes[i]}].push_back({int32_t(targets[i]), weights[i]});
  // Numbers first, as children may come before their parents.
  Forest forest;
  std::map<Key, int32_t> numbers;
  for (size_t i = 0; i < count; ++i) {
    Key key{trees[i], ids[i]};
    int32_t number = modes[i] == "LEAF" ? forest.addLeaf(leaves[key]) : int32_t(forest.nodes.size());
    if (!numbers.insert({key, number}).second)
      n.invalid("node " + Twine(ids[i]) + " of tree " + Twine(trees[i]) + " is there twice");
    if (number >= 0) {
      forest.nodes.push_back({});
      forest.thresholds.push_back(values[i]);
    }
  }
  std::set<Key> children;
  for (size_t i = 0; i < count; ++i) {
    int32_t number = numbers[{trees[i], ids[i]}];
    if (number < 0)
      continue;
    auto child = [&](int64_t id) {
      auto it = numbers.find({trees[i], id});
      if (it == numbers.end())
        n.invalid("tree " + Twine(trees[i]) + " has no node " + Twine(id));
      children.insert(it->first);
      return it->second;
    };
    int32_t bits = bitsOf(modes[i]);
    if (!bits || modes[i].size() < 2)
      n.unsupported("attribute 'nodes_modes'", "mode " + modes[i]);
    if (!missing.empty() && missing[i])
      bits |= 8;
    forest.nodes[number] = {int32_t(features[i]), child(yes[i]), child(no[i]), bits};
  }
  for (size_t i = 0; i < count; ++i)
    if (Key key{trees[i], ids[i]}; !children.count(key))
      forest.roots.push_back(numbers[key]);
  if (forest.roots.empty())
    n.invalid("the trees have no roots");
  return forest;
}

/// Floats stay what they are, everything else is compared in the type of the thresholds.
Type forestType(Node &n) { return n.elt(n.in(0)).isF64() ? Type(n.b().getF64Type()) : Type(n.b().getF32Type()); }

Value addBase(Node &n, Value scores, int64_t targets) {
  Type type;
  std::vector<double> base = numbersOf(n, "base_values", type);
  if (base.empty())
    return scores;
  if (int64_t(base.size()) != targets)
    n.invalid("base_values has " + Twine(base.size()) + " entries for " + Twine(targets) + " targets or classes");
  return n.make<nn::AddOp>(scores, reals(n, base, n.elt(scores)));
}

void importRegressor(Node &n) {
  Type type = n.b().getF32Type();
  Forest forest = readForest(n, "target", type);
  int64_t targets = n.i("n_targets", 1);
  auto aggregate = llvm::StringSwitch<std::optional<nn::TreeAggregate>>(n.s("aggregate_function", "SUM"))
                       .Case("SUM", nn::TreeAggregate::sum)
                       .Case("AVERAGE", nn::TreeAggregate::average)
                       .Case("MIN", nn::TreeAggregate::min)
                       .Case("MAX", nn::TreeAggregate::max)
                       .Default(std::nullopt);
  if (!aggregate || targets < 1)
    n.invalid("attribute aggregate_function or n_targets");
  Value scores = emitForest(n, forest, targets, *aggregate, forestType(n));
  scores = postTransform(n, addBase(n, scores, targets), n.s("post_transform", "NONE"));
  n.out(0, n.convert(scores, n.b().getF32Type()));
}

/// [-s, s] or [1 - s, s] of a column of scores.
Value bothClasses(Node &n, Value score, bool complement) {
  Value other = complement ? n.make<nn::SubOp>(n.number(1, n.elt(score)), score) : n.make<nn::NegOp>(score);
  return n.make<nn::ConcatOp>(Values{other, score}, n.i64(1));
}

void importClassifier(Node &n) {
  Type type = n.b().getF32Type(), f32 = type;
  Forest forest = readForest(n, "class", type);
  int64_t classes = countLabels(n, "classlabels_int64s");
  if (classes < 1)
    n.invalid("it has no class labels");
  std::string transform = n.s("post_transform", "NONE");
  std::set<int32_t> mentioned(forest.targets.begin(), forest.targets.end());
  bool positive = llvm::all_of(forest.weights, [](double w) { return w >= 0; });
  if (classes > 2 || mentioned.size() > 1) {
    Value scores = emitForest(n, forest, classes, nn::TreeAggregate::sum, forestType(n));
    scores = addBase(n, scores, classes);
    Value best = n.make<nn::ArgReduceOp>(scores, n.i64(1), n.b().getBoolAttr(false), n.flag(true), UnitAttr());
    n.out(0, labelsAt(n, best, "classlabels_int64s"));
    n.out(1, n.convert(postTransform(n, scores, transform), f32));
    return;
  }
  // Two classes, and weights for one of them: its score decides.
  for (int32_t &t : forest.targets)
    t = 0;
  Value score = emitForest(n, forest, 1, nn::TreeAggregate::sum, forestType(n));
  Type baseType;
  std::vector<double> base = numbersOf(n, "base_values", baseType);
  if (!base.empty())
    score = n.make<nn::AddOp>(score, reals(n, {base.back()}, n.elt(score)));
  Value isPositive = n.make<nn::GreaterOp>(score, n.number(positive ? 0.5 : 0, n.elt(score)));
  Value index = n.squeeze(n.convert(isPositive, n.b().getI64Type()), {1});
  if (classes == 1)
    n.out(0, index); // ONNX: labels are 0 and 1 where there is one class
  else
    n.out(0, labelsAt(n, index, "classlabels_int64s"));
  // What becomes of one score is not in the specification; this is what onnxruntime does.
  Value scores = transform == "PROBIT" ? score : bothClasses(n, score, positive && transform != "LOGISTIC");
  bool applies = transform == "PROBIT" || transform == "LOGISTIC";
  n.out(1, n.convert(applies ? postTransform(n, scores, transform) : scores, f32));
}

//===----------------------------------------------------------------------===//
// TreeEnsemble (version 5): children are positions in the lists
//===----------------------------------------------------------------------===//

void importTreeEnsemble(Node &n) {
  auto ints = [&](StringRef name) { return n.ints(name).value_or(Ints()); };
  Ints features = ints("nodes_featureids"), yes = ints("nodes_truenodeids"), no = ints("nodes_falsenodeids");
  Ints yesLeaf = ints("nodes_trueleafs"), noLeaf = ints("nodes_falseleafs"), roots = ints("tree_roots");
  Ints targets = ints("leaf_targetids"), missing = ints("nodes_missing_value_tracks_true");
  n.ignore({"nodes_hitrates"});
  auto list = [&](StringRef name) { return nn::ConstantData::get(Attribute(n.tensor(name))); };
  auto modes = list("nodes_modes"), splits = list("nodes_splits"), weights = list("leaf_weights");
  auto members = list("membership_values");
  size_t count = features.size();
  if (!modes || !splits || !weights || modes->size() != int64_t(count) || splits->size() != int64_t(count) ||
      yes.size() != count || no.size() != count || yesLeaf.size() != count || noLeaf.size() != count ||
      int64_t(targets.size()) != weights->size() || (!missing.empty() && missing.size() != count) || roots.empty())
    n.invalid("the lists of node or leaf attributes are missing or differ in length");
  Forest forest;
  for (size_t i = 0; i < targets.size(); ++i)
    forest.addLeaf({{int32_t(targets[i]), weights->asDouble(i)}});
  forest.nodes.resize(count);
  forest.thresholds.resize(count);
  // Where the values of each node's set start, in the order of the nodes.
  int64_t member = 0;
  for (size_t i = 0; i < count; ++i) {
    auto child = [&](int64_t at, bool leaf) {
      if (at < 0 || at >= int64_t(leaf ? targets.size() : count))
        n.invalid("node " + Twine(i) + " has the impossible child " + Twine(at));
      return leaf ? ~int32_t(at) : int32_t(at);
    };
    int32_t a = child(yes[i], yesLeaf[i]), b = child(no[i], noLeaf[i]);
    int64_t mode = modes->asInt(i);
    int32_t nan = !missing.empty() && missing[i] ? 8 : 0;
    forest.thresholds[i] = splits->asDouble(i);
    if (mode != 6) {
      int32_t bits = bitsOf(std::to_string(mode));
      if (!bits)
        n.invalid("node " + Twine(i) + " has the unknown mode " + Twine(mode));
      forest.nodes[i] = {int32_t(features[i]), a, b, bits | nan};
      continue;
    }
    // A set is a chain of comparisons: the first stands for the node, the others are new ones.
    std::vector<double> set;
    while (members && member < members->size() && !std::isnan(members->asDouble(member)))
      set.push_back(members->asDouble(member++));
    ++member;
    if (set.empty()) {
      forest.nodes[i] = {int32_t(features[i]), a, b, nan};
      continue;
    }
    int32_t next = b;
    for (size_t k = set.size(); k-- > 1;) {
      forest.nodes.push_back({int32_t(features[i]), a, next, 2 | nan});
      forest.thresholds.push_back(set[k]);
      next = forest.nodes.size() - 1;
    }
    forest.nodes[i] = {int32_t(features[i]), a, next, 2 | nan};
    forest.thresholds[i] = set[0];
  }
  for (int64_t root : roots) {
    if (root < 0 || root >= int64_t(count))
      n.invalid("a root is out of range");
    // A tree that is one leaf: both children are that leaf.
    forest.roots.push_back(root);
  }
  int64_t aggregate = n.i("aggregate_function", 1), transform = n.i("post_transform", 0);
  static constexpr nn::TreeAggregate kinds[] = {nn::TreeAggregate::average, nn::TreeAggregate::sum,
                                                nn::TreeAggregate::min, nn::TreeAggregate::max};
  static constexpr StringLiteral transforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  int64_t numTargets = n.i("n_targets", 1);
  if (aggregate < 0 || aggregate > 3 || transform < 0 || transform > 4 || numTargets < 1)
    n.invalid("attribute aggregate_function, post_transform or n_targets");
  Type type = n.elt(n.in(0));
  n.needFloat(n.in(0));
  Type wide = type.isF64() ? type : Type(n.b().getF32Type());
  Value scores = emitForest(n, forest, numTargets, kinds[aggregate], wide);
  n.out(0, n.convert(postTransform(n, scores, transforms[transform]), type));
}

} // namespace

void registerTrees(Registry &r) {
  r.add("ai.onnx.ml.TreeEnsembleRegressor", 1, 1, importRegressor);
  r.add("ai.onnx.ml.TreeEnsembleClassifier", 1, 1, importClassifier, 2);
  r.add("ai.onnx.ml.TreeEnsemble", 1, 1, importTreeEnsemble, 1, 5);
}

} // namespace nnopt::onnx
