//===- LowRankTechnique.cpp - layers in stages of fewer parameters ----------===//

#include "lib/compress/Technique.h"
#include "passes/factorize-low-rank/FactorizeLowRank.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace nnopt::lowrank;
using Eigen::MatrixXd;
using nlohmann::json;

namespace nnopt::compress {

namespace {

/// Of the mean of the diagonal of the moments: what calibration data do not tell is decided by the
/// weights themselves.
constexpr double kDamping = 1e-3;

/// Of all parameters of layers: what a layer has to hold. Less is not worth its error: the first
/// layer of a network often has few, and all that follows reads them.
constexpr double kLeastShare = 0.005;

/// The relative error of outputs that stages may bring unless "error=" or a budget says otherwise.
constexpr double kMostError = 0.1;

StringRef nameOf(Structure s) {
  return s == Structure::Matrix ? "matrix" : s == Structure::Spatial ? "spatial" : "tucker";
}

std::optional<Structure> structureOf(StringRef name) {
  for (Structure s : {Structure::Matrix, Structure::Spatial, Structure::Tucker})
    if (name == nameOf(s))
      return s;
  return std::nullopt;
}

/// The highest rank up to `rank` that kernels like: multiples of the 16 floats of a vector, and of
/// 8 where these would be far apart. At least 8.
int64_t roundedDown(double rank) {
  return rank >= 32 ? int64_t(rank / 16) * 16 : std::max<int64_t>(int64_t(rank / 8) * 8, 8);
}

struct Shape {
  Structure structure;
  std::vector<int64_t> ranks;
};

/// The ways to keep up to `target` parameters of a layer. Small ranks are rounded up; those that
/// end above `most` do not count.
std::vector<Shape> shapesFor(const LinearLayer &layer, double target, double most) {
  ColumnShape s = columnShapeOf(layer);
  int64_t out = layer.outChannels(), in = s.in;
  std::vector<Shape> shapes;
  auto add = [&](Structure structure, std::vector<int64_t> ranks) {
    if (double(parametersOf(structure, ranks, out, s)) <= most)
      shapes.push_back({structure, std::move(ranks)});
  };
  auto rankOf = [&](int64_t parametersOfOne) {
    return roundedDown(target / double(parametersOfOne));
  };
  add(Structure::Matrix, {rankOf(layer.columns() + out)});
  if (s.kernel() == 1)
    return shapes;
  if (s.height > 1 && s.width > 1)
    add(Structure::Spatial, {rankOf(in * s.height + out * s.width)});
  if (int64_t rank = rankOf(in + out * s.kernel()); rank < in)
    add(Structure::Tucker, {rank, out});
  // Both sides: c of the in and 3/2 c of the out channels, which the error was found to need more
  // of.
  double a = 1.5 * double(out * layer.columns()), b = double(in * in) + 1.5 * double(out * out);
  double c = (std::sqrt(b * b + 4 * a * std::max(target, 0.0)) - b) / (2 * a);
  if (int64_t r = roundedDown(c * double(in)), q = roundedDown(1.5 * c * double(out));
      r < in && q < out)
    add(Structure::Tucker, {r, q});
  return shapes;
}

double parametersOf(const LinearLayer &layer) {
  return double(layer.outChannels() * layer.columns());
}

/// Most that an option for a share may keep of a layer.
double mostOf(const LinearLayer &layer, double share) {
  return std::min(1.25 * share, 0.9) * parametersOf(layer);
}

/// Moments around the mean: the bias makes up for the rest.
MatrixXd centered(const Matrix &moments, const Vector &a, const Vector &b) {
  return moments.cast<double>() - a.cast<double>() * b.cast<double>().transpose();
}

Factors factorize(const MatrixXd &w, const MatrixXd &h, const ColumnShape &shape,
                  Structure structure, const std::vector<int64_t> &ranks) {
  switch (structure) {
  case Structure::Matrix:
    return RankBasis(w, h).factors(ranks[0]);
  case Structure::Spatial:
    return factorizeSpatial(w, h, shape, ranks[0]);
  case Structure::Tucker:
    return factorizeTucker(w, h, shape, ranks[0], ranks[1]);
  }
  return {};
}

/// A layer with what its factors depend on.
struct LayerProblem {
  LinearLayer layer;
  LayerWeights original;
  ColumnShape shape;
  MatrixXd w, h;
  std::optional<RankBasis> basis; // made when it is needed

  LayerProblem(const LinearLayer &layer, const Gram &gram)
      : layer(layer), original(layer.weights()), shape(columnShapeOf(layer)),
        w(original.weights.cast<double>()),
        h(damped(centered(gram.h, gram.mean, gram.mean), kDamping)) {}

  double errorOf(const Factors &f) const { return relativeError(w, h, f.product(shape)); }

  /// Of the ways to keep up to `target` parameters the one that changes the outputs least.
  std::optional<Factors> best(double target, double most) {
    std::optional<Factors> best;
    double least = INFINITY;
    for (const Shape &s : shapesFor(layer, target, most)) {
      if (s.structure == Structure::Matrix && !basis)
        basis.emplace(w, h);
      Factors f = s.structure == Structure::Matrix ? basis->factors(s.ranks[0])
                                                   : factorize(w, h, shape, s.structure, s.ranks);
      if (double error = errorOf(f); error < least) {
        least = error;
        best = std::move(f);
      }
    }
    return best;
  }
};

/// Products that read the same rows with one first stage, of up to `target` parameters for all: the
/// weights below each other, each divided by the size of its outputs, so that none of them counts
/// for more. Empty where that does not pay.
std::vector<Factors> withSharedFirst(ArrayRef<LayerProblem> problems, double target) {
  int64_t rows = 0, columns = problems[0].w.cols();
  for (const LayerProblem &p : problems)
    rows += p.w.rows();
  int64_t rank = roundedDown(target / double(rows + columns));
  if (double(rank * (rows + columns)) > std::max(target, 0.0))
    return {};
  MatrixXd stacked(rows, columns);
  std::vector<double> sizes;
  int64_t at = 0;
  for (const LayerProblem &p : problems) {
    double energy = (p.w * p.h).cwiseProduct(p.w).sum();
    sizes.push_back(energy > 0 ? std::sqrt(energy) : 1);
    stacked.middleRows(at, p.w.rows()) = p.w / sizes.back();
    at += p.w.rows();
  }
  Factors joint = RankBasis(stacked, problems[0].h).factors(rank);
  std::vector<Factors> result;
  at = 0;
  for (auto [p, size] : llvm::zip(problems, sizes)) {
    Matrix second = joint.stages[1].middleRows(at, p.w.rows()) * float(size);
    result.push_back({Structure::Matrix, {rank}, {joint.stages[0], second}});
    at += p.w.rows();
  }
  return result;
}

class LowRankTechnique : public Technique {
public:
  StringRef name() const override { return "low-rank"; }

  std::optional<double> defaultError() const override { return kMostError; }

  std::string readSpec(StringRef spec) override {
    std::optional<double> share = percentOf(spec);
    if (!share || !(*share > 0 && *share < 1))
      return "expected the share of parameters that stay, as 50%, perhaps with what may change in the outputs, as 50%,error=5%";
    shares = {*share};
    keepsTotal = true;
    return "";
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    double all = 0;
    for (nn::LinearOp op : func.getBody().front().getOps<nn::LinearOp>())
      if (std::optional<LinearLayer> layer = LinearLayer::get(op))
        all += parametersOf(*layer);
    for (nn::LinearOp op : func.getBody().front().getOps<nn::LinearOp>()) {
      std::string name = names.of(op), why;
      std::optional<LinearLayer> layer = LinearLayer::get(op, &why);
      if (layer && parametersOf(*layer) < kLeastShare * all)
        why = "it has less than 0.5 % of the parameters";
      else if (layer && llvm::none_of(shares, [&](double share) {
                 return !shapesFor(*layer, share * parametersOf(*layer), mostOf(*layer, share))
                             .empty();
               }))
        why = "no rank that is a multiple of 8 leaves fewer parameters";
      else if (layer && !layer->weights().weights.allFinite())
        why = "a weight is infinite or NaN";
      if (!why.empty()) {
        refused.push_back({name, why});
        continue;
      }
      Site site{op, name, {op.getActivation()}, Value()};
      site.wantsGram = true;
      result.push_back(site);
    }
    return result;
  }

  /// Decides all options at once: by the flag, what rounding leaves of one layer's parameters goes
  /// to the next, and products that read one value may share the first stage.
  void plan(ArrayRef<Site> sites, const Observations &observations) override {
    planned.clear();
    std::vector<double> left(shares.size(), 0);
    for (const Site &site : sites) {
      if (planned.count(site.op))
        continue;
      std::vector<LayerProblem> group;
      for (const Site &other : sites)
        if (!planned.count(other.op) && isSolvable(other, observations) && isTogether(site, other))
          group.emplace_back(*LinearLayer::get(other.op), *observations.gram(other.op));
      if (group.empty())
        planned[site.op];
      for (const LayerProblem &p : group)
        planned[p.layer.op()];
      for (auto [share, rest] : llvm::zip(shares, left))
        planGroup(group, share, rest, observations);
    }
  }

  std::vector<Option> options(const Site &site, const Observations &) const override {
    auto it = planned.find(site.op);
    return it == planned.end() ? std::vector<Option>() : it->second;
  }

  std::string check(Operation *op, const Option &option) const override {
    std::string why;
    std::optional<LinearLayer> layer = LinearLayer::get(op, &why);
    if (!layer)
      return why;
    std::optional<Factors> factors = factorsOf(option);
    if (!factors)
      return "low-rank needs a 'structure' (matrix, spatial or tucker), its 'ranks' and a matrix "
             "for each stage";
    std::optional<Matrix> bias = matrixOf(option.tensors, "bias");
    if (!bias || bias->cols() != 1 || bias->rows() != layer->outChannels() ||
        !fits(*factors, *layer))
      return "the factors do not fit its weights";
    return "";
  }

  std::string costKey(const Option &option) const override {
    return (name() + " " + option.parameters.dump()).str();
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    return inStages(rewriter, *LinearLayer::get(op), *factorsOf(option),
                    matrixOf(option.tensors, "bias")->col(0));
  }

  std::optional<LayerWeights> weights(Operation *op, const Option &option) const override {
    return LayerWeights{factorsOf(option)->product(columnShapeOf(*LinearLayer::get(op))),
                        matrixOf(option.tensors, "bias")->col(0)};
  }

  /// Reduced-rank regression: the weights T that give what the float model gives, from the inputs
  /// that there are now, in least squares; then T in stages, under the moments of these inputs
  /// (Izenman 1975; exact for the structure `matrix`).
  bool refit(Operation *op, Option &option, const Gram &gram) const override {
    LinearLayer layer = *LinearLayer::get(op);
    if (!gram.compares() || !gram.h.allFinite() || !gram.cross.allFinite())
      return false;
    LayerWeights original = layer.weights();
    Factors factors = *factorsOf(option);
    MatrixXd w = original.weights.cast<double>(), h = centered(gram.h, gram.mean, gram.mean);
    MatrixXd regularized = damped(h, kDamping);
    MatrixXd target = w * (centered(gram.cross, gram.denseMean, gram.mean) + (regularized - h));
    target = regularized.llt().solve(target.transpose()).transpose().eval();
    ColumnShape shape = columnShapeOf(layer);
    bool shared = option.parameters.contains("shared_first");
    Factors solved = shared
                         ? factorizeBehind(target, regularized, factors.stages[0])
                         : factorize(target, regularized, shape, factors.structure, factors.ranks);
    Vector bias =
        original.bias + original.weights * gram.denseMean - solved.product(shape) * gram.mean;
    if (!bias.allFinite())
      return false;
    option = optionOf(solved, bias, shared);
    return true;
  }

private:
  static bool isSolvable(const Site &site, const Observations &observations) {
    const Gram *gram = observations.gram(site.op);
    return gram && gram->rows && gram->h.allFinite();
  }

  bool isTogether(const Site &site, const Site &other) const {
    if (site.op == other.op || !keepsTotal)
      return site.op == other.op;
    LinearLayer a = *LinearLayer::get(site.op), b = *LinearLayer::get(other.op);
    return a.sameColumns(b) && columnShapeOf(a).kernel() == 1;
  }

  /// Options that keep `share` of the parameters of layers that read the same rows, and `rest`,
  /// which is updated.
  void planGroup(std::vector<LayerProblem> &group, double share, double &rest,
                 const Observations &observations) {
    std::vector<std::optional<Factors>> chosen;
    double wanted = rest, error = 0;
    for (LayerProblem &p : group) {
      double target = share * parametersOf(p.layer) + (keepsTotal ? rest : 0);
      wanted += share * parametersOf(p.layer);
      chosen.push_back(p.best(
          target, std::max(mostOf(p.layer, share), std::min(target, 0.9 * parametersOf(p.layer)))));
      error += chosen.back() ? p.errorOf(*chosen.back()) : 0;
      if (chosen.back())
        rest = target - double(chosen.back()->parameters());
    }
    bool shared = false;
    if (group.size() > 1 && llvm::all_of(chosen, [](const auto &f) { return f.has_value(); })) {
      std::vector<Factors> joint = withSharedFirst(group, wanted);
      double jointError = 0;
      for (auto [p, f] : llvm::zip(group, joint))
        jointError += p.errorOf(f);
      if (!joint.empty() && jointError < error) {
        shared = true;
        rest = wanted - double(joint[0].stages[0].size());
        for (auto [f, j] : llvm::zip(chosen, joint)) {
          rest -= double(j.stages[1].size());
          f = std::move(j);
        }
      }
    }
    for (auto [p, f] : llvm::zip(group, chosen)) {
      if (!f)
        continue;
      const Gram &gram = *observations.gram(p.layer.op());
      Option option = optionOf(
          *f, p.original.bias + (p.original.weights - f->product(p.shape)) * gram.mean, shared);
      std::vector<Option> &options = planned[p.layer.op()];
      if (llvm::none_of(options, [&](const Option &o) { return o.name == option.name; }))
        options.push_back(std::move(option));
    }
  }

  static Option optionOf(const Factors &factors, const Vector &bias, bool shared) {
    std::string structure = nameOf(factors.structure).str();
    Option option;
    option.name =
        structure + "-" +
        llvm::join(llvm::map_range(factors.ranks, [](int64_t r) { return std::to_string(r); }),
                   "x");
    option.parameters = {{"structure", structure}, {"ranks", factors.ranks}};
    if (shared)
      option.parameters["shared_first"] = true;
    for (auto [i, stage] : llvm::enumerate(factors.stages))
      option.tensors["stage" + std::to_string(i)] = arrayOf(stage);
    option.tensors["bias"] = arrayOf(bias);
    return option;
  }

  static std::optional<Factors> factorsOf(const Option &option) {
    const json &p = option.parameters;
    if (!p.is_object() || !p.contains("structure") || !p["structure"].is_string() ||
        !p.contains("ranks") || !p["ranks"].is_array())
      return std::nullopt;
    std::optional<Structure> structure = structureOf(p["structure"].get<std::string>());
    if (!structure)
      return std::nullopt;
    Factors factors{*structure, {}, {}};
    for (const json &rank : p["ranks"]) {
      if (!rank.is_number_integer() || rank.get<int64_t>() < 1)
        return std::nullopt;
      factors.ranks.push_back(rank);
    }
    if (factors.ranks.size() != (*structure == Structure::Tucker ? 2u : 1u))
      return std::nullopt;
    for (int i = 0; option.tensors.count("stage" + std::to_string(i)); ++i) {
      std::optional<Matrix> stage = matrixOf(option.tensors, "stage" + std::to_string(i));
      if (!stage)
        return std::nullopt;
      factors.stages.push_back(*stage);
    }
    return factors;
  }

  /// Whether the stages have the sizes that the ranks say.
  static bool fits(const Factors &f, const LinearLayer &layer) {
    ColumnShape s = columnShapeOf(layer);
    std::vector<std::pair<int64_t, int64_t>> sizes;
    int64_t out = layer.outChannels(), r = f.ranks[0];
    switch (f.structure) {
    case Structure::Matrix:
      sizes = {{r, s.in * s.kernel()}, {out, r}};
      break;
    case Structure::Spatial:
      if (s.width == 1)
        return false;
      sizes = {{r, s.in * s.height}, {out, r * s.width}};
      break;
    case Structure::Tucker:
      if (r > s.in || f.ranks[1] > out)
        return false;
      if (r < s.in)
        sizes.push_back({r, s.in});
      sizes.push_back({f.ranks[1], r * s.kernel()});
      if (f.ranks[1] < out)
        sizes.push_back({out, f.ranks[1]});
      break;
    }
    return f.stages.size() == sizes.size() &&
           llvm::all_of(llvm::zip(f.stages, sizes), [](auto pair) {
             auto &[stage, size] = pair;
             return stage.rows() == size.first && stage.cols() == size.second;
           });
  }

  std::vector<double> shares = {0.75, 0.5, 0.25};
  bool keepsTotal = false; // the flag: a share of all parameters, not of each layer's
  llvm::DenseMap<Operation *, std::vector<Option>> planned;
};

} // namespace

std::unique_ptr<Technique> createLowRankTechnique() { return std::make_unique<LowRankTechnique>(); }

} // namespace nnopt::compress
