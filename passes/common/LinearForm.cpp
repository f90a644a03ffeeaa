//===- LinearForm.cpp - compositions and sums of convolutions -------------===//
#include "passes/common/LinearForm.h"

#include <cmath>
#include <numeric>

using namespace mlir;

namespace nnopt {

//===----------------------------------------------------------------------===//
// Geometry
//===----------------------------------------------------------------------===//

static int64_t productOf(ArrayRef<int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
}

int64_t LinearGeometry::taps() const { return productOf(kernel); }

LinearGeometry LinearGeometry::identity(int64_t channels, unsigned spatialRank) {
  SmallVector<int64_t> ones(spatialRank, 1), zeros(spatialRank, 0);
  return {channels, channels, channels, ones, ones, ones, zeros, zeros};
}

/// y[q] = sum W1[j1] x[q s1 + j1 d1 - p1] and z[r] = sum W2[j2] y[r s2 + j2 d2] give
/// z[r] = sum W2[j2] W1[j1] x[r s1 s2 + j2 s1 d2 + j1 d1 - p1]. The number of results agrees:
/// floor((floor((n - e1) / s1) + 1 - e2) / s2) + 1 = floor((n - e1 - s1 (e2 - 1)) / (s1 s2)) + 1
/// for windows of e1 and e2 elements, n with padding.
LinearGeometry composeGeometry(const LinearGeometry &first, const LinearGeometry &second) {
  LinearGeometry both = first;
  both.out = second.out;
  both.groups = std::gcd(first.groups, second.groups);
  for (unsigned i = 0; i < first.spatialRank(); ++i) {
    int64_t step1 = first.dilations[i], step2 = first.strides[i] * second.dilations[i];
    int64_t k1 = first.kernel[i], k2 = second.kernel[i];
    int64_t grid = std::gcd(k1 > 1 ? step1 : 0, k2 > 1 ? step2 : 0);
    both.dilations[i] = grid = std::max<int64_t>(grid, 1);
    both.kernel[i] = ((k1 - 1) * step1 + (k2 - 1) * step2) / grid + 1;
    both.strides[i] = first.strides[i] * second.strides[i];
  }
  return both;
}

/// Taps stand at o + j d with o = -padsBegin relative to r * stride. The result has as many
/// positions as before if what the window gains behind is padded.
LinearGeometry uniteGeometry(const LinearGeometry &a, const LinearGeometry &b) {
  LinearGeometry both = a;
  both.groups = std::gcd(a.groups, b.groups);
  for (unsigned i = 0; i < a.spatialRank(); ++i) {
    int64_t beginA = -a.padsBegin[i], beginB = -b.padsBegin[i];
    int64_t endA = beginA + (a.kernel[i] - 1) * a.dilations[i];
    int64_t endB = beginB + (b.kernel[i] - 1) * b.dilations[i];
    int64_t grid = std::gcd(
        std::gcd(a.kernel[i] > 1 ? a.dilations[i] : 0, b.kernel[i] > 1 ? b.dilations[i] : 0),
        beginA - beginB);
    grid = std::max<int64_t>(grid, 1);
    int64_t begin = std::min(beginA, beginB), end = std::max(endA, endB);
    both.dilations[i] = grid;
    both.kernel[i] = (end - begin) / grid + 1;
    both.padsBegin[i] = -begin;
    // floor((n + padsBegin + padsEnd - window) / stride) must stay: padsEnd - end does.
    both.padsEnd[i] = std::max(a.padsEnd[i] + end - endA, b.padsEnd[i] + end - endB);
  }
  return both;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

LinearForm LinearForm::identity(int64_t channels, unsigned spatialRank) {
  LinearForm form;
  static_cast<LinearGeometry &>(form) = LinearGeometry::identity(channels, spatialRank);
  form.weights.assign(channels, 1);
  form.bias.assign(channels, 0);
  return form;
}

LinearForm zeroForm(const LinearGeometry &geometry) {
  LinearForm form;
  static_cast<LinearGeometry &>(form) = geometry;
  form.weights.assign(geometry.out * (geometry.in / geometry.groups) * geometry.taps(), 0);
  form.bias.assign(geometry.out, 0);
  return form;
}

/// For each tap of `part` the tap of `whole`, where tap j of part stands at
/// begin + j * step (in elements of x) and those of whole at j * whole.dilations.
static std::vector<int64_t> tapIndices(const LinearGeometry &whole, ArrayRef<int64_t> kernel,
                                       ArrayRef<int64_t> begin, ArrayRef<int64_t> step) {
  std::vector<int64_t> indices(productOf(kernel));
  for (size_t tap = 0; tap < indices.size(); ++tap) {
    int64_t rest = tap, index = 0, stride = 1;
    for (int64_t i = (int64_t)kernel.size() - 1; i >= 0; --i) {
      index += (begin[i] + rest % kernel[i] * step[i]) / whole.dilations[i] * stride;
      stride *= whole.kernel[i];
      rest /= kernel[i];
    }
    indices[tap] = index;
  }
  return indices;
}

/// second(first(x)); padding of second is part of first.
static LinearForm composeForms(const LinearForm &first, const LinearForm &second) {
  LinearForm both = zeroForm(composeGeometry(first, second));
  SmallVector<int64_t> zeros(first.spatialRank(), 0), steps;
  for (unsigned i = 0; i < first.spatialRank(); ++i)
    steps.push_back(first.strides[i] * second.dilations[i]);
  std::vector<int64_t> taps1 = tapIndices(both, first.kernel, zeros, first.dilations);
  std::vector<int64_t> taps2 = tapIndices(both, second.kernel, zeros, steps);
  int64_t in1 = first.in / first.groups, in2 = second.in / second.groups;
  int64_t inBoth = both.in / both.groups, tapsBoth = both.taps();
  for (int64_t m = 0; m < both.out; ++m) {
    both.bias[m] = second.bias[m];
    int64_t firstMiddle = m / (second.out / second.groups) * in2;
    int64_t firstIn = m / (both.out / both.groups) * inBoth;
    for (int64_t middle = 0; middle < in2; ++middle) {
      int64_t c1 = firstMiddle + middle;
      int64_t offset = c1 / (first.out / first.groups) * in1 - firstIn;
      const double *w1 = &first.weights[c1 * in1 * taps1.size()];
      for (size_t t2 = 0; t2 < taps2.size(); ++t2) {
        double w2 = second.weights[(m * in2 + middle) * taps2.size() + t2];
        both.bias[m] += w2 * first.bias[c1];
        if (w2 == 0)
          continue;
        for (int64_t i = 0; i < in1; ++i) {
          double *row = &both.weights[(m * inBoth + offset + i) * tapsBoth + taps2[t2]];
          for (size_t t1 = 0; t1 < taps1.size(); ++t1)
            row[taps1[t1]] += w2 * w1[i * taps1.size() + t1];
        }
      }
    }
  }
  return both;
}

void addInto(LinearForm &sum, const LinearForm &form, double sign) {
  SmallVector<int64_t> begin;
  for (unsigned i = 0; i < sum.spatialRank(); ++i)
    begin.push_back(sum.padsBegin[i] - form.padsBegin[i]);
  std::vector<int64_t> taps = tapIndices(sum, form.kernel, begin, form.dilations);
  int64_t in = form.in / form.groups, inSum = sum.in / sum.groups, tapsSum = sum.taps();
  for (int64_t m = 0; m < form.out; ++m) {
    sum.bias[m] += sign * form.bias[m];
    int64_t offset = m / (form.out / form.groups) * in - m / (sum.out / sum.groups) * inSum;
    for (int64_t i = 0; i < in; ++i)
      for (size_t t = 0; t < taps.size(); ++t)
        sum.weights[(m * inSum + offset + i) * tapsSum + taps[t]] +=
            sign * form.weights[(m * in + i) * taps.size() + t];
  }
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

/// Padding behind a form moves before it along a dimension where its windows are one element: the
/// result there is the bias, if that is what is padded with.
static std::string padGeometry(LinearGeometry &form, ArrayRef<int64_t> begin,
                               ArrayRef<int64_t> end) {
  for (unsigned i = 0; i < begin.size(); ++i) {
    if (begin[i] == 0 && end[i] == 0)
      continue;
    if (form.kernel[i] != 1 || form.strides[i] != 1)
      return "padding between them cuts windows of the first";
    form.padsBegin[i] += begin[i];
    form.padsEnd[i] += end[i];
  }
  return "";
}

static bool isPadded(ArrayRef<int64_t> begin, ArrayRef<int64_t> end) {
  auto isSet = [](int64_t p) { return p != 0; };
  return llvm::any_of(begin, isSet) || llvm::any_of(end, isSet);
}

std::string applyGeometry(LinearGeometry &form, const LinearStep &step) {
  if (step.kind == LinearStep::Affine)
    return "";
  if (step.kind == LinearStep::Pad)
    return padGeometry(form, step.padsBegin, step.padsEnd);
  if (form.out != step.geometry.in || form.spatialRank() != step.geometry.spatialRank())
    return "their dimensions differ";
  std::string why = padGeometry(form, step.geometry.padsBegin, step.geometry.padsEnd);
  if (why.empty())
    form = composeGeometry(form, step.geometry);
  return why;
}

/// The numbers of a convolution, matrix product or average pooling.
static LinearForm formOf(const LinearStep &step) {
  LinearForm form = zeroForm(step.geometry);
  if (step.kind == LinearStep::AvgPool) {
    form.weights.assign(form.weights.size(), 1.0 / form.taps());
    return form;
  }
  auto linear = cast<nn::LinearOp>(step.last());
  form.weights = *numbersOf(linear.getWeight());
  if (isa<nn::MatMulOp>(step.last()) && linear.getWeightOutAxis() == 1) {
    std::vector<double> columns(form.weights.size());
    for (int64_t i = 0; i < form.in; ++i)
      for (int64_t o = 0; o < form.out; ++o)
        columns[o * form.in + i] = form.weights[i * form.out + o];
    form.weights = std::move(columns);
  }
  if (linear.getBias())
    form.bias = *numbersOf(linear.getBias());
  form.bias.resize(form.out, form.bias.front());
  return form;
}

std::string applyStep(LinearForm &form, const LinearStep &step) {
  if (step.kind == LinearStep::Affine) {
    auto scale = step.map.scales(form.out), shift = step.map.shifts(form.out);
    int64_t row = form.weights.size() / form.out;
    for (int64_t o = 0; o < form.out; ++o) {
      for (int64_t i = 0; i < row; ++i)
        form.weights[o * row + i] *= scale[o];
      form.bias[o] = scale[o] * form.bias[o] + shift[o];
    }
    return "";
  }
  bool isPad = step.kind == LinearStep::Pad;
  ArrayRef<int64_t> begin = isPad ? step.padsBegin : step.geometry.padsBegin;
  ArrayRef<int64_t> end = isPad ? step.padsEnd : step.geometry.padsEnd;
  if (std::string why = padGeometry(form, begin, end); !why.empty())
    return why;
  if (isPadded(begin, end)) {
    // What the model pads with was rounded to f32 as each of its terms was; the bias was not.
    double largest = 0;
    for (double b : form.bias)
      largest = std::max(largest, std::fabs(b));
    for (int64_t o = 0; o < form.out; ++o)
      if (std::fabs((isPad ? step.padValues[o] : 0) - form.bias[o]) > 1e-6 * largest)
        return "padding between them does not hold what the first gives for zeros";
  }
  if (!isPad)
    form = composeForms(form, formOf(step));
  return "";
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

Value emitForm(OpBuilder &b, Location loc, const LinearForm &form, Value x, Type resultType) {
  Type type = elementTypeOf(x);
  Value bias;
  if (llvm::any_of(form.bias, [](double v) { return v != 0; }))
    bias = makeNumbersOp(b, loc, type, {form.out}, form.bias, "merged_bias");
  if (form.spatialRank() == 0) {
    Value w = makeNumbersOp(b, loc, type, {form.out, form.in}, form.weights, "merged_weight");
    return nn::MatMulOp::create(b, loc, resultType, x, w, bias, Value(), Value(), ValueRange(),
                                UnitAttr(), b.getUnitAttr())
        .getResult();
  }
  SmallVector<int64_t> shape = {form.out, form.in / form.groups}, pads(form.padsBegin);
  shape.append(form.kernel);
  pads.append(form.padsEnd);
  Value w = makeNumbersOp(b, loc, type, shape, form.weights, "merged_weight");
  return nn::ConvOp::create(b, loc, resultType, x, w, bias, Value(), Value(), ValueRange(),
                            b.getDenseI64ArrayAttr(form.strides), b.getDenseI64ArrayAttr(pads),
                            b.getDenseI64ArrayAttr(form.dilations),
                            b.getI64IntegerAttr(form.groups), UnitAttr())
      .getResult();
}

} // namespace nnopt
