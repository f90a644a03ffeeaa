//===- Gram.h - second moments of what a layer reads ------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_GRAM_H
#define NNOPT_LIB_COMPRESS_GRAM_H

#include "lib/compress/CompiledGraph.h"
#include "lib/compress/LinearLayer.h"

namespace nnopt::compress {

/// Moments of the rows x that a layer multiplies, and of the rows d that it multiplies in the float
/// model. Where nothing has changed yet (calibration) the two are the same and only h and mean are
/// there.
struct Gram {
  Matrix h;               // E[x x'], [columns, columns]
  Matrix cross;           // E[d x']
  Matrix dense;           // E[d d']
  Vector mean, denseMean; // E[x], E[d]
  /// Where a sum adds r to the layer's result and this r has changed by -m since the float model:
  /// the layer can make up for it by giving W d + m. Empty where there is no such sum.
  Matrix missing, missingDense; // E[m x'], E[m d'], [out channels, columns]
  Vector missingMean;           // E[m]
  double missingPower = 0;      // E|m|^2
  /// Of a convolution with groups: the moments of each group. All else is empty then.
  std::vector<Gram> groups;
  int64_t rows = 0;

  bool compares() const { return cross.size() > 0; }
  /// E|W d + b - (V x + c)|^2 / E|W d + b|^2: the share of a layer's output that is lost with
  /// weights V, c in place of W, b, summed over out channels.
  double relativeError(const LayerWeights &original, const LayerWeights &changed) const;
};

/// X' Y of rows by the compiler's own kernels.
class RowProduct {
public:
  RowProduct(mlir::MLIRContext *ctx, const CompileSettings &settings);
  Matrix operator()(const Matrix &x, const Matrix &y);

private:
  std::unique_ptr<CompiledGraph> graph;
};

/// Sums up a Gram over batches.
class GramSum {
public:
  /// Rows that are looked at of `expected` that come: enough for stable moments of `columns`
  /// values.
  static int64_t stepFor(int64_t columns, int64_t expected);

  void add(RowProduct &product, const Matrix &x);
  void add(RowProduct &product, const Matrix &x, const Matrix &dense);
  /// Adds to the moments of what is missing, of rows that are added too.
  void addMissing(RowProduct &product, const Matrix &missing, const Matrix &x, const Matrix &dense);
  /// The moments; the sums are gone then.
  Gram take();

private:
  Gram sum;
};

} // namespace nnopt::compress

#endif
