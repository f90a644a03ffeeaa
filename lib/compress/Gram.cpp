//===- Gram.cpp - second moments of what a layer reads ----------------------===//

#include "lib/compress/Gram.h"
#include "mlir/Parser/Parser.h"
#include <cstring>

using namespace mlir;

namespace nnopt::compress {

double Gram::relativeError(const LayerWeights &original, const LayerWeights &changed) const {
  const Matrix &w = original.weights, &v = changed.weights;
  const Matrix &dd = compares() ? dense : h;
  const Vector &dm = compares() ? denseMean : mean;
  // E (w d + b)^2 = w dd w' + 2 b w dm + b^2, and the like, in double where terms cancel.
  auto quadratic = [](const Matrix &a, const Matrix &m, const Matrix &b) {
    return ((a * m).cwiseProduct(b)).cast<double>().rowwise().sum().eval();
  };
  Eigen::VectorXd b = original.bias.cast<double>(), c = changed.bias.cast<double>();
  Eigen::VectorXd wd = (w * dm).cast<double>(), vx = (v * mean).cast<double>();
  double energy =
      (quadratic(w, dd, w).array() + 2 * b.array() * wd.array() + b.array().square()).sum();
  double error;
  if (!compares()) {
    Matrix difference = w - v;
    Eigen::VectorXd e = b - c, ed = (difference * mean).cast<double>();
    error = (quadratic(difference, h, difference).array() + 2 * e.array() * ed.array() +
             e.array().square())
                .sum();
  } else {
    error = (quadratic(w, dense, w) - 2 * quadratic(w, cross, v) + quadratic(v, h, v)).sum() +
            2 * (b - c).dot(wd - vx) + (b - c).squaredNorm();
  }
  return energy > 0 ? std::max(error, 0.0) / energy : std::max(error, 0.0);
}

RowProduct::RowProduct(MLIRContext *ctx, const CompileSettings &settings) {
  const char *text = R"(
func.func @main(%x: tensor<?x?xf32> {nn.name = "x", nn.dims = ["rows", "m"]}, %y: tensor<?x?xf32> {nn.name = "y", nn.dims = ["rows", "n"]})
    -> (tensor<?x?xf32> {nn.name = "z"}) {
  %z = nn.matmul %x, %y {transpose_a} : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %z : tensor<?x?xf32>
})";
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, ctx);
  CompileSettings fast = settings;
  fast.quickly = false;
  graph = std::make_unique<CompiledGraph>(*module, fast, /*threads=*/0);
}

static HostTensor tensorOf(const char *name, const Matrix &m) {
  HostTensor t(name, OnnxFloat, {m.rows(), m.cols()});
  std::memcpy(t.data(), m.data(), t.bytes());
  return t;
}

Matrix RowProduct::operator()(const Matrix &x, const Matrix &y) {
  std::vector<HostTensor> inputs;
  inputs.push_back(tensorOf("x", x));
  inputs.push_back(tensorOf("y", y));
  const HostTensor &z = graph->run(std::move(inputs))[0];
  return Eigen::Map<const Matrix>(reinterpret_cast<const float *>(z.data()), x.cols(), y.cols());
}

int64_t GramSum::stepFor(int64_t columns, int64_t expected) {
  return std::max<int64_t>(1, expected / (16384 + 32 * columns));
}

void GramSum::add(RowProduct &product, const Matrix &x) {
  if (sum.rows == 0) {
    sum.h = Matrix::Zero(x.cols(), x.cols());
    sum.mean = Vector::Zero(x.cols());
  }
  sum.h += product(x, x);
  sum.mean += x.colwise().sum().transpose();
  sum.rows += x.rows();
}

void GramSum::add(RowProduct &product, const Matrix &x, const Matrix &dense) {
  if (sum.rows == 0) {
    sum.cross = sum.dense = Matrix::Zero(x.cols(), x.cols());
    sum.denseMean = Vector::Zero(x.cols());
  }
  add(product, x);
  sum.cross += product(dense, x);
  sum.dense += product(dense, dense);
  sum.denseMean += dense.colwise().sum().transpose();
}

void GramSum::addMissing(RowProduct &product, const Matrix &missing, const Matrix &x,
                         const Matrix &dense) {
  if (sum.missing.size() == 0) {
    sum.missing = sum.missingDense = Matrix::Zero(missing.cols(), x.cols());
    sum.missingMean = Vector::Zero(missing.cols());
  }
  sum.missing += product(missing, x);
  sum.missingDense += product(missing, dense);
  sum.missingMean += missing.colwise().sum().transpose();
  sum.missingPower += missing.cast<double>().squaredNorm();
}

Gram GramSum::take() {
  float share = sum.rows ? 1.0f / float(sum.rows) : 0;
  for (Matrix *m : {&sum.h, &sum.cross, &sum.dense, &sum.missing, &sum.missingDense})
    *m *= share;
  sum.mean *= share;
  sum.denseMean *= share;
  sum.missingMean *= share;
  sum.missingPower *= double(share);
  return std::exchange(sum, Gram());
}

} // namespace nnopt::compress
