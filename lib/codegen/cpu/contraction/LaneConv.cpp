//===- LaneConv.cpp - the inner loops of a depthwise convolution -------------===//

#include "lib/codegen/cpu/contraction/LaneConv.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

LaneConv::TapRow LaneConv::tapRow(ArrayRef<Ix> taps, bool checked) {
  Ix offset = imageOffset;
  Value valid;
  Ix stride = k.dim(last().in) * pixelPitch();
  for (size_t d = taps.size(); d-- > 0;) {
    const ConvDim &dim = shape.dims[d];
    Ix at = leadingFirst[d] + taps[d] * dim.tapStep;
    offset = offset + (ringRows ? at % ringRows : at) * stride;
    stride = stride * k.dim(dim.in);
    if (checked && dim.checked) {
      Value inside = at.inRange(k.dim(dim.in));
      valid = valid ? k.land(valid, inside) : inside;
    }
  }
  return {k.ptrAdd(x.ptr, offset + inColumn, x.valueType), valid};
}

Value LaneConv::weight(Ix leadingTap, int64_t tap, int64_t channel) {
  if (std::optional<int64_t> known = leadingTap.constant(); known && !held.empty())
    return held[(*known * last().taps + tap) * shape.inPerGroup + channel];
  Ix at = (leadingTap * last().taps + tap) * shape.inPerGroup + channel;
  return k.loadAt(weights, at * lanes, vectorType(), lanes * element.getIntOrFloatBitWidth() / 8);
}

/// The inputs at one position: all channels of the block's groups.
SmallVector<Value> LaneConv::inputs(Value pointer, Ix offset) {
  SmallVector<Value> loaded;
  for (int64_t v = 0; v < inputVectors(); ++v) {
    Ix at = offset + v * lanes;
    Value in = inMasks[v] ? k.loadMasked(k.at(pointer, x.valueType), at, lanes, inMasks[v])
                          : k.loadAt(pointer, at, k.vec(lanes, x.valueType));
    if (zero)
      in = arith::SubFOp::create(k.b, k.loc, k.toFloat(in, x.isUnsigned), zero);
    loaded.push_back(in);
  }
  return loaded;
}

/// Input channel `c` of every output lane's own group.
Value LaneConv::variant(ArrayRef<Value> inputs, int64_t c) {
  if (shape.inPerGroup == 1 && shape.outPerGroup == 1)
    return inputs[0];
  SmallVector<int64_t> pattern;
  for (int64_t l = 0; l < lanes; ++l)
    pattern.push_back(l / shape.outPerGroup * shape.inPerGroup + c);
  return vector::ShuffleOp::create(k.b, k.loc, inputs.front(), inputs.back(), pattern);
}

/// Adds one row of taps to `count` neighbouring outputs. first: input position of the first tap of
/// the first output.
SmallVector<Value> LaneConv::tapRowProducts(const TapRow &row, Ix leadingTap, Ix first, int64_t count,
                                            function_ref<bool(int64_t, int64_t)> inside, ValueRange in,
                                            bool checkColumns) {
  auto products = [&] {
    SmallVector<Value> acc(in);
    // Inputs by distance from the first; each is loaded once for all outputs that use it.
    std::map<int64_t, SmallVector<std::pair<int64_t, int64_t>>> uses;
    for (int64_t t = 0; t < count; ++t)
      for (int64_t j = 0; j < last().taps; ++j)
        if (inside(t, j))
          uses[t * last().inStep + j * last().tapStep].push_back({t, j});
    if (!checkColumns) {
      // Channel by channel: a weight serves all outputs, which are independent sums.
      std::map<int64_t, SmallVector<Value>> loaded;
      for (auto &[distance, users] : uses)
        loaded[distance] = inputs(row.pointer, (first + distance) * pixelPitch());
      for (int64_t c = 0; c < shape.inPerGroup; ++c) {
        std::map<int64_t, Value> variants;
        for (auto &[distance, vectors] : loaded)
          variants[distance] = variant(vectors, c);
        for (int64_t j = 0; j < last().taps; ++j)
          for (int64_t t = 0; t < count; ++t)
            if (inside(t, j))
              acc[t] = multiplyAdd(k, variants[t * last().inStep + j * last().tapStep], weight(leadingTap, j, c), acc[t]);
      }
      return acc;
    }
    for (auto &[distance, users] : uses) {
      auto add = [&, &users = users, distance = distance](SmallVector<Value> values) {
        SmallVector<Value> vectors = inputs(row.pointer, (first + distance) * pixelPitch());
        for (int64_t c = 0; c < shape.inPerGroup; ++c)
          for (auto [t, j] : users)
            values[t] = multiplyAdd(k, variant(vectors, c), weight(leadingTap, j, c), values[t]);
        return values;
      };
      SmallVector<Type> types(acc.size(), vectorType());
      acc = k.ifElse((first + distance).inRange(k.dim(last().in)), types, [&] { return add(acc); }, [&] { return acc; });
    }
    return acc;
  };
  if (!row.valid)
    return products();
  SmallVector<Type> types(in.size(), vectorType());
  return k.ifElse(row.valid, types, products, [&] { return SmallVector<Value>(in); });
}

void LaneConv::step(Ix output, int64_t count, bool checkRows, function_ref<bool(int64_t, int64_t)> inside,
                    bool checkColumns) {
  bool toIntegers = bias[0].getType() != vectorType();
  SmallVector<Value> acc(count, toIntegers ? k.constant(vectorType(), 0) : bias[0]);
  Ix first = output * last().inStep + last().first;
  size_t leading = shape.dims.size() - 1;
  if (unrolled()) {
    for (int64_t a = 0; a < leadingTaps(); ++a) {
      SmallVector<Ix> taps(leading);
      int64_t rest = a;
      for (size_t d = leading; d-- > 0;) {
        taps[d] = k.c(rest % shape.dims[d].taps);
        rest /= shape.dims[d].taps;
      }
      acc = tapRowProducts(tapRow(taps, checkRows), k.c(a), first, count, inside, acc, checkColumns);
    }
  } else {
    acc = k.loop(k.c(0), k.c(leadingTaps()), 1, acc, [&](Ix a, ValueRange values) {
      SmallVector<Ix> taps(leading);
      Ix rest = a;
      for (size_t d = leading; d-- > 0;) {
        taps[d] = d ? rest % shape.dims[d].taps : rest;
        rest = rest / shape.dims[d].taps;
      }
      return tapRowProducts(tapRow(taps, checkRows), a, first, count, inside, values, checkColumns);
    });
  }
  if (toIntegers) {
    for (Value &sum : acc) {
      sum = arith::FPToSIOp::create(k.b, k.loc, bias[0].getType(), sum);
      sum = arith::AddIOp::create(k.b, k.loc, sum, bias[0]);
    }
  }
  Ix firstRow = resultRow + output;
  finish.store(count, [&](Ix i) { return firstRow + i; }, column, 1, lanes, {outMask}, acc);
}

/// A row whose width is known: steps that touch a border get code of their own without the taps
/// that fall outside.
void LaneConv::knownRow(bool checkRows, int64_t in, int64_t count) {
  auto insideAt = [&](int64_t output, int64_t tap) {
    int64_t at = output * last().inStep + last().first + tap * last().tapStep;
    return at >= 0 && at < in;
  };
  auto isInterior = [&](int64_t output) {
    for (int64_t j = 0; j < last().taps; ++j)
      if (!insideAt(output, j))
        return false;
    return true;
  };
  auto special = [&](int64_t from, int64_t n) {
    step(k.c(from), n, checkRows, [&](int64_t t, int64_t j) { return insideAt(from + t, j); }, false);
  };
  auto interiorStep = [&](int64_t from) {
    for (int64_t t = 0; t < width; ++t)
      if (from + t >= count || !isInterior(from + t))
        return false;
    return true;
  };
  int64_t at = 0;
  while (at < count) {
    if (!interiorStep(at)) {
      int64_t n = std::min(width, count - at);
      special(at, n);
      at += n;
      continue;
    }
    int64_t to = at;
    while (interiorStep(to))
      to += width;
    k.loop(k.c(at), k.c(to), width, [&](Ix output) {
      step(output, width, checkRows, [](int64_t, int64_t) { return true; }, false);
    });
    at = to;
  }
}

void LaneConv::unknownRow(bool checkRows) {
  auto all = [](int64_t, int64_t) { return true; };
  Ix count = k.dim(last().count), in = k.dim(last().in);
  // Outputs [low, high) have all their taps inside.
  int64_t before = last().first < 0 ? llvm::divideCeil(-last().first, last().inStep) : 0;
  Ix low = k.c(before).min(count);
  Ix reach = in - (last().first + (last().taps - 1) * last().tapStep);
  Ix high = ((reach + (last().inStep - 1)).max(k.c(0)) / last().inStep).min(count).max(low);
  Ix steps = low + (high - low) / width * width;
  k.loop(k.c(0), low, 1, [&](Ix o) { step(o, 1, checkRows, all, true); });
  k.loop(low, steps, width, [&](Ix o) { step(o, width, checkRows, all, false); });
  k.loop(steps, high, 1, [&](Ix o) { step(o, 1, checkRows, all, false); });
  k.loop(high, count, 1, [&](Ix o) { step(o, 1, checkRows, all, true); });
}

void LaneConv::row() {
  Value interior;
  for (auto [first, dim] : llvm::zip(leadingFirst, shape.dims)) {
    if (!dim.checked)
      continue;
    Value inside = k.land(k.c(0) <= first, (first + (dim.taps - 1) * dim.tapStep) < k.dim(dim.in));
    interior = interior ? k.land(interior, inside) : inside;
  }
  if (!interior)
    row(false);
  else
    k.ifThen(interior, [&] { row(false); }, [&] { row(true); });
}

void LaneConv::holdWeights() {
  held.clear();
  if (shape.inPerGroup != 1 || shape.taps() > std::min<int64_t>(maxUnrolledTaps, k.target().vectorRegisters))
    return;
  SmallVector<Value> loaded;
  for (int64_t t = 0; t < shape.taps(); ++t)
    loaded.push_back(weight(k.c(t / last().taps), t % last().taps, 0));
  held = loaded;
}

void LaneConv::row(bool checkRows) {
  std::optional<int64_t> in = constantDim(last().in), count = constantDim(last().count);
  if (in && count)
    knownRow(checkRows, *in, *count);
  else
    unknownRow(checkRows);
}

int64_t chooseWidth(const Target &target, const ConvShape &shape, std::optional<int64_t> count) {
  int64_t registers = target.vectorRegisters - 3;
  int64_t held = shape.inPerGroup == 1 && shape.taps() + 4 <= registers ? shape.taps() : 0;
  int64_t most = std::clamp<int64_t>(registers - held, 2, 8);
  if (!count)
    return std::min<int64_t>(most, 6);
  if (*count <= most)
    return std::max<int64_t>(1, *count);
  int64_t best = most;
  double bestCost = 1e30;
  for (int64_t w = std::max<int64_t>(2, most / 2); w <= most; ++w) {
    // Steps have a fixed part: loads that outputs share.
    double cost = double(llvm::divideCeil(*count, w)) * (w + 1.5);
    if (cost < bestCost) {
      best = w;
      bestCost = cost;
    }
  }
  return best;
}

} // namespace nnopt::cpu
