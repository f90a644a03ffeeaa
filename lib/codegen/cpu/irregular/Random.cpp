//===- Random.cpp - random numbers ----------------------------------------===//
//
// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011): a
// bijection of a 128-bit counter under a 64-bit key. Four words are a function of their number, so tasks
// need no state and the result does not depend on the number of threads. docs/rationale/random.md.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

LogicalResult emitKey(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::RandomKeyOp>(operation);
  TempTensor counter = lowering.kept(IntegerType::get(op.getContext(), 64), 1);
  Kernel k(lowering, op, "random_key");
  Buffer count = k.write(counter), out = k.write(op.getResult());
  Ix number(&k, k.load(count, k.c(0)));
  k.store(count, k.c(0), number + 1);
  k.store(out, k.c(0), k.c(op.getStream()));
  k.store(out, k.c(1), number);
  lowering.launch(k, lowering.c(1));
  return success();
}

struct Philox {
  Kernel &k;
  Value key[2], run[2]; // i32

  Philox(Kernel &k, const Buffer &keys) : k(k) {
    for (int i = 0; i < 2; ++i) {
      Ix word(&k, k.load(keys, k.c(i)));
      (i == 0 ? key : run)[0] = low(word);
      (i == 0 ? key : run)[1] = high(word);
    }
  }

  Value low(Value v) { return arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), v); }
  Value high(Value v) { return low(arith::ShRUIOp::create(k.b, k.loc, v, k.c(32))); }
  Value word(uint32_t v) {
    return arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(k.b.getI32Type(), int32_t(v)));
  }
  Value exclusiveOr(Value a, Value b) { return arith::XOrIOp::create(k.b, k.loc, a, b); }
  Value product(Value a, uint32_t multiplier) {
    Value wide = arith::ExtUIOp::create(k.b, k.loc, k.b.getI64Type(), a);
    return arith::MulIOp::create(k.b, k.loc, wide, k.c(multiplier));
  }

  /// Words 4 * block .. 4 * block + 3.
  SmallVector<Value, 4> words(Ix block) {
    Value c0 = low(block), c1 = high(block), c2 = run[0], c3 = run[1], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      Value a = product(c0, 0xD2511F53u), b = product(c2, 0xCD9E8D57u);
      c0 = exclusiveOr(exclusiveOr(high(b), c1), k0);
      c1 = low(b);
      c2 = exclusiveOr(exclusiveOr(high(a), c3), k1);
      c3 = low(a);
      k0 = arith::AddIOp::create(k.b, k.loc, k0, word(0x9E3779B9u));
      k1 = arith::AddIOp::create(k.b, k.loc, k1, word(0xBB67AE85u));
    }
    return {c0, c1, c2, c3};
  }
};

/// Turns words into numbers of `type`.
struct Numbers {
  Kernel &k;
  Type type;

  Value add(Value a, double b) { return arith::AddFOp::create(k.b, k.loc, a, k.constant(type, b)); }
  Value mul(Value a, double b) { return arith::MulFOp::create(k.b, k.loc, a, k.constant(type, b)); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(k.b, k.loc, a, b); }
  /// An unsigned word as a float.
  Value number(Value word) { return arith::UIToFPOp::create(k.b, k.loc, type, word); }
  /// The upper `bits` bits of a word, exact as a float.
  Value upper(Value word, int bits) {
    return number(arith::ShRUIOp::create(k.b, k.loc, word, k.constant(word.getType(), 32 - bits)));
  }
  /// 53 bits of two words: an integer below 2^53.
  Value wide(Value a, Value b) {
    return arith::AddFOp::create(k.b, k.loc, mul(upper(a, 27), std::ldexp(1.0, 26)), upper(b, 26));
  }

  SmallVector<Value, 4> uniform(ArrayRef<Value> w) {
    if (type.isF64())
      return {mul(wide(w[0], w[1]), std::ldexp(1.0, -53)), mul(wide(w[2], w[3]), std::ldexp(1.0, -53))};
    SmallVector<Value, 4> result;
    for (Value word : w)
      result.push_back(mul(upper(word, 24), std::ldexp(1.0, -24)));
    return result;
  }

  /// Box and Muller: two numbers of two; the first is above 0, and as small as its type of integer allows, so
  /// that the tails are long (6.7 and 8.6 standard deviations).
  void normalPair(Value positive, Value angle, SmallVectorImpl<Value> &result) {
    Value radius = math::SqrtOp::create(k.b, k.loc, mul(math::LogOp::create(k.b, k.loc, positive), -2.0));
    angle = mul(angle, 6.283185307179586477);
    result.push_back(mul(radius, math::CosOp::create(k.b, k.loc, angle)));
    result.push_back(mul(radius, math::SinOp::create(k.b, k.loc, angle)));
  }
  SmallVector<Value, 4> normal(ArrayRef<Value> w) {
    SmallVector<Value, 4> result;
    if (type.isF64()) {
      Value positive = add(mul(wide(w[0], w[1]), std::ldexp(1.0, -53)), std::ldexp(1.0, -54));
      normalPair(positive, mul(wide(w[2], w[3]), std::ldexp(1.0, -53)), result);
      return result;
    }
    for (int i = 0; i < 4; i += 2)
      normalPair(add(mul(number(w[i]), std::ldexp(1.0, -32)), std::ldexp(1.0, -33)),
                 mul(upper(w[i + 1], 24), std::ldexp(1.0, -24)), result);
    return result;
  }
};

LogicalResult emitRandom(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::RandomOp>(operation);
  nn::Dim total = lowering.numElements(op.getResult());
  bool isNormal = op.getDistribution() == nn::Distribution::normal;
  Kernel k(lowering, op, isNormal ? "random_normal" : "random_uniform");
  Buffer keys = k.read(op.getKey()), out = k.write(op.getResult());
  Philox generator(k, keys);
  Numbers numbers{k, out.valueType};
  int64_t each = out.valueType.isF64() ? 2 : 4;
  Ix size = k.dim(total);
  forTasks(k, [&](Ix block) {
    SmallVector<Value, 4> words = generator.words(block);
    SmallVector<Value, 4> drawn = isNormal ? numbers.normal(words) : numbers.uniform(words);
    for (auto [i, v] : llvm::enumerate(drawn)) {
      Ix at = block * each + int64_t(i);
      k.ifThen(at < size, [&, v = v] { k.store(out, at, v); });
    }
  });
  k.grain = 256;
  lowering.launch(k, total.ceilDiv(each));
  return success();
}

RegisterEmitter key({"nn.random_key", "random-key", 0, nullptr, emitKey});
RegisterEmitter random({"nn.random", "random-philox", 0, nullptr, emitRandom});

} // namespace
} // namespace nnopt::cpu
