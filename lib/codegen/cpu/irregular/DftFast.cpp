//===- DftFast.cpp - fast Fourier transforms of smooth lengths ------------===//
//
// Stockham's form of the mixed-radix algorithm: passes of small transforms from one buffer to another that
// leave the results in order. See C. Van Loan, Computational Frameworks for the Fast Fourier Transform, 1992.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Dft.h"
#include <cmath>

using namespace mlir;
namespace nnopt::cpu {
namespace {

struct Complex {
  Float re, im;
  Complex operator+(Complex o) const { return {re + o.re, im + o.im}; }
  Complex operator-(Complex o) const { return {re - o.re, im - o.im}; }
  Complex operator*(Complex o) const { return {re * o.re - im * o.im, re * o.im + im * o.re}; }
};

/// The factors 4, 2, 3, 5, 7 of `length`; empty where others are left.
SmallVector<int64_t> radices(int64_t length) {
  SmallVector<int64_t> result;
  for (int64_t radix : {4, 2, 3, 5, 7})
    for (; length > 1 && length % radix == 0; length /= radix)
      result.push_back(radix);
  return length == 1 ? result : SmallVector<int64_t>();
}

/// The transform of a few values; `sign` is that of the exponent.
SmallVector<Complex> smallTransform(ArrayRef<Complex> v, double sign) {
  int64_t n = v.size();
  if (n == 2)
    return {v[0] + v[1], v[0] - v[1]};
  if (n == 4) {
    Complex a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = v[1] - v[3];
    // d times the imaginary unit with the sign.
    Complex turned = sign > 0 ? Complex{d.im.like(0) - d.im, d.re} : Complex{d.im, d.re.like(0) - d.re};
    return {a + c, b + turned, a - c, b - turned};
  }
  SmallVector<Complex> result;
  for (int64_t out = 0; out < n; ++out) {
    Complex sum = v[0];
    for (int64_t i = 1; i < n; ++i) {
      double angle = sign * 2 * M_PI * double(i * out % n) / double(n);
      sum = sum + v[i] * Complex{v[i].re.like(std::cos(angle)), v[i].re.like(std::sin(angle))};
    }
    result.push_back(sum);
  }
  return result;
}

/// `done` is the product of the radices of the passes before.
void pass(DftLines &l, int64_t length, int64_t radix, int64_t done, double sign, const Buffer from[2],
          const Buffer to[2]) {
  Kernel &k = l.k;
  auto load = [&](const Buffer parts[2], Ix at) {
    return Complex{{&k, k.load(parts[0], at)}, {&k, k.load(parts[1], at)}};
  };
  const Buffer table[2] = {l.cosine, l.sine};
  k.loop(k.c(0), k.c(length / (radix * done)), 1, [&](Ix group) {
    k.loop(k.c(0), k.c(done), 1, [&](Ix j) {
      SmallVector<Complex> v;
      for (int64_t q = 0; q < radix; ++q) {
        Complex value = load(from, group * done + j + q * (length / radix));
        v.push_back(q == 0 || done == 1 ? value : value * load(table, j * (q * (length / (done * radix)))));
      }
      for (auto [q, value] : llvm::enumerate(smallTransform(v, sign))) {
        Ix at = group * (done * radix) + j + int64_t(q) * done;
        k.store(to[0], at, value.re.v);
        k.store(to[1], at, value.im.v);
      }
    });
  });
}

std::optional<int64_t> lengthOf(nn::DFTOp op, Lowering &lowering) {
  nn::Dim length = DftLines::knownLength(op, lowering);
  return length && length.isConst() ? std::optional<int64_t>(length.value()) : std::nullopt;
}

bool match(Operation *operation, Lowering &lowering) {
  auto length = lengthOf(cast<nn::DFTOp>(operation), lowering);
  return length && *length >= 2 && !radices(*length).empty();
}

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::DFTOp>(operation);
  if (failed(DftLines::defineSizes(op, lowering)))
    return failure();
  int64_t length = *lengthOf(op, lowering);
  double sign = op.getInverse() ? 1 : -1;
  DftLines lines(op, lowering);
  Type f64 = lines.k.b.getF64Type();
  Buffer others[2];
  for (Buffer &b : others)
    b = lines.k.at(lines.k.scratch(lowering.c(length * 8)), f64);
  lines.emit([&](DftLines &l) {
    const Buffer own[2] = {l.re, l.im};
    const Buffer *from = own, *to = others;
    int64_t done = 1;
    for (int64_t radix : radices(length)) {
      pass(l, length, radix, done, sign, from, to);
      std::swap(from, to);
      done *= radix;
    }
    Kernel &k = l.k;
    k.loop(k.c(0), l.outputs, 1, [&](Ix i) { l.writeResult(i, {&k, k.load(from[0], i)}, {&k, k.load(from[1], i)}); });
  });
  return success();
}

RegisterEmitter fast({"nn.dft", "dft-mixed-radix", 10, match, emit});

} // namespace
} // namespace nnopt::cpu
