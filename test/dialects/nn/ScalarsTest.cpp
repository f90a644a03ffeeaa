//===- ScalarsTest.cpp - scalar code of elementwise operations ------------===//
//
// The scalar code is built on constants and folded away by MLIR: what remains is the value.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace nnopt::nn;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

struct ScalarsTest : testing::Test {
  MLIRContext ctx;
  ScalarsTest() {
    ctx.loadDialect<NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                    vector::VectorDialect>();
  }

  /// A function whose only nn operation is `op`; its arguments are %0, %1, ... of `types`.
  OwningOpRef<ModuleOp> parse(StringRef op, ArrayRef<std::string> types) {
    std::string text = "func.func @f(";
    for (auto [i, t] : llvm::enumerate(types))
      text += (i ? ", %a" : "%a") + std::to_string(i) + ": tensor<" + t + ">";
    text += ") {\n %r = nn." + op.str() + "\n return\n}\n";
    return parseSourceString<ModuleOp>(text, &ctx);
  }

  static Elementwise onlyOp(ModuleOp module) {
    Elementwise found;
    module.walk([&](Elementwise op) { found = op; });
    return found;
  }

  Attribute constantOf(Type type, double v) {
    if (auto f = dyn_cast<FloatType>(type)) {
      APFloat value(v);
      bool lossy;
      value.convert(f.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
      return FloatAttr::get(type, value);
    }
    unsigned width = type.getIntOrFloatBitWidth();
    auto bits = v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
    return IntegerAttr::get(type, APInt(64, bits).zextOrTrunc(width));
  }

  static Type signless(Type t) {
    return isa<IntegerType>(t) ? IntegerType::get(t.getContext(), t.getIntOrFloatBitWidth()) : t;
  }

  /// Value of `op` for the given operand values.
  double eval(StringRef op, std::vector<std::string> types, std::vector<double> values) {
    auto module = parse(op, types);
    EXPECT_TRUE(module) << op.str();
    if (!module)
      return kNaN;
    Elementwise nn = onlyOp(*module);
    OpBuilder b(nn);
    SmallVector<Value> args;
    for (auto [operand, v] : llvm::zip(nn->getOperands(), values)) {
      Type type = signless(getElementTypeOrSelf(operand.getType()));
      args.push_back(
          arith::ConstantOp::create(b, nn.getLoc(), cast<TypedAttr>(constantOf(type, v))));
    }
    Value result = nn.buildScalar(b, nn.getLoc(), args);
    Type resultType = getElementTypeOrSelf(nn->getResult(0).getType());
    EXPECT_EQ(result.getType(), signless(resultType)) << op.str();
    // Keeps the result alive while everything folds.
    OperationState state(nn.getLoc(), "nn.yield");
    state.addOperands(result);
    Operation *keep = b.create(state);
    foldBefore(keep);
    Attribute attr;
    if (!matchPattern(keep->getOperand(0), m_Constant(&attr))) {
      ADD_FAILURE() << op.str() << " does not fold";
      return kNaN;
    }
    if (auto f =
            dyn_cast<FloatAttr>(attr)) // APFloat makes the NaN of f8E8M0FNU an infinite double.
      return f.getValue().isNaN() ? kNaN : f.getValueAsDouble();
    APInt bits = cast<IntegerAttr>(attr).getValue();
    bool isUnsigned = resultType.isUnsignedInteger() || resultType.isInteger(1);
    return isUnsigned ? double(bits.getZExtValue()) : double(bits.getSExtValue());
  }

  /// Folds the operations before `end` in order.
  void foldBefore(Operation *end) {
    for (Operation &op : llvm::make_early_inc_range(*end->getBlock())) {
      if (&op == end)
        return;
      SmallVector<OpFoldResult> results;
      // MLIR folds no truncation that loses bits.
      FloatAttr wide;
      if (auto trunc = dyn_cast<arith::TruncFOp>(op);
          trunc && matchPattern(trunc.getIn(), m_Constant(&wide))) {
        OpBuilder b(&op);
        auto attr = cast<TypedAttr>(constantOf(trunc.getType(), wide.getValueAsDouble()));
        trunc.replaceAllUsesWith(arith::ConstantOp::create(b, op.getLoc(), attr).getResult());
        continue;
      }
      if (isa<arith::ConstantOp>(op) || op.getDialect()->getNamespace() == "nn" ||
          failed(op.fold(results)) || results.size() != 1)
        continue;
      OpBuilder b(&op);
      Value replacement = dyn_cast<Value>(results[0]);
      if (!replacement) {
        auto attr = cast<TypedAttr>(cast<Attribute>(results[0]));
        replacement = arith::ConstantOp::create(b, op.getLoc(), attr);
      }
      op.getResult(0).replaceAllUsesWith(replacement);
    }
  }

  double unary(StringRef name, double x, StringRef type = "f32", StringRef attrs = "") {
    std::string t = type.str();
    return eval((name + " %a0 " + attrs + " : (tensor<" + t + ">) -> tensor<" + t + ">").str(), {t},
                {x});
  }
  double binary(StringRef name, double x, double y, StringRef type = "f32", StringRef result = "",
                StringRef attrs = "") {
    std::string t = type.str(), r = result.empty() ? t : result.str();
    return eval((name + " %a0, %a1 " + attrs + " : (tensor<" + t + ">, tensor<" + t +
                 ">) -> tensor<" + r + ">")
                    .str(),
                {t, t}, {x, y});
  }
  double castTo(double x, std::string from, std::string to, StringRef attrs = "") {
    return eval(
        ("cast %a0 {to = " + to + attrs + "} : (tensor<" + from + ">) -> tensor<" + to + ">").str(),
        {from}, {x});
  }
};

TEST_F(ScalarsTest, MinimaAndMaximaKeepNaN) {
  EXPECT_EQ(unary("relu", -2), 0);
  EXPECT_EQ(unary("relu", 3), 3);
  EXPECT_TRUE(std::isnan(unary("relu", kNaN)));
  EXPECT_EQ(unary("relu", -5, "i8"), 0);
  EXPECT_EQ(unary("relu", 200, "ui8"), 200);
  EXPECT_EQ(binary("min", 1, 2), 1);
  EXPECT_EQ(binary("max", 1, 2), 2);
  for (StringRef name : {"min", "max"}) {
    EXPECT_TRUE(std::isnan(binary(name, kNaN, 1)));
    EXPECT_TRUE(std::isnan(binary(name, 1, kNaN)));
  }
  EXPECT_EQ(binary("max", 200, 100, "ui8"), 200);
  EXPECT_EQ(binary("max", -56, 100, "i8"), 100);
  auto clip = [&](double x, double lo, double hi) {
    return eval("clip %a0, %a1, %a2 : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<f32>",
                {"f32", "f32", "f32"}, {x, lo, hi});
  };
  EXPECT_EQ(clip(5, 0, 6), 5);
  EXPECT_EQ(clip(7, 0, 6), 6);
  EXPECT_EQ(clip(-7, 0, 6), 0);
  EXPECT_EQ(clip(5, 6, 4), 4);
  EXPECT_TRUE(std::isnan(clip(kNaN, 0, 6)));
}

TEST_F(ScalarsTest, Activations) {
  auto near = [](double got, double want) { EXPECT_NEAR(got, want, 2e-6 * (1 + std::abs(want))); };
  for (double x : {-3.0, -0.5, 0.0, 0.25, 4.0}) {
    double sigmoid = 1 / (1 + std::exp(-x)), softplus = std::log1p(std::exp(x));
    near(unary("sigmoid", x), sigmoid);
    near(unary("silu", x), x * sigmoid);
    near(unary("softplus", x), softplus);
    near(unary("mish", x), x * std::tanh(softplus));
    near(unary("gelu", x), 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))));
    near(unary("gelu", x, "f32", "{tanh}"),
         0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))));
    near(unary("hard_swish", x), x * std::max(0.0, std::min(1.0, x / 6 + 0.5)));
    near(unary("softsign", x), x / (1 + std::abs(x)));
    near(unary("elu", x, "f32", "{alpha = 0.5 : f64}"), x >= 0 ? x : 0.5 * std::expm1(x));
    near(unary("celu", x, "f32", "{alpha = 2.0 : f64}"),
         std::max(0.0, x) + std::min(0.0, 2 * std::expm1(x / 2)));
    near(unary("selu", x, "f32", "{alpha = 1.5 : f64, gamma = 2.0 : f64}"),
         x > 0 ? 2 * x : 3 * std::expm1(x));
    near(unary("leaky_relu", x, "f32", "{alpha = 0.1 : f64}"), x >= 0 ? x : 0.1 * x);
    near(unary("thresholded_relu", x, "f32", "{alpha = 0.5 : f64}"), x > 0.5 ? x : 0);
    near(unary("hard_sigmoid", x, "f32", "{alpha = 0.2 : f64, beta = 0.5 : f64}"),
         std::max(0.0, std::min(1.0, 0.2 * x + 0.5)));
    near(unary("shrink", x, "f32", "{lambd = 0.5 : f64, bias = 0.25 : f64}"), x < -0.5  ? x + 0.25
                                                                              : x > 0.5 ? x - 0.25
                                                                                        : 0);
  }
  EXPECT_EQ(unary("softplus", 1000), 1000);
  EXPECT_EQ(unary("sigmoid", -1000), 0);
  EXPECT_TRUE(
      std::isnan(unary("hard_sigmoid", kNaN, "f32", "{alpha = 0.2 : f64, beta = 0.5 : f64}")));
}

TEST_F(ScalarsTest, SmallFunctions) {
  EXPECT_EQ(unary("abs", -3), 3);
  EXPECT_EQ(unary("abs", -3, "i32"), 3);
  EXPECT_EQ(unary("abs", 200, "ui8"), 200);
  EXPECT_EQ(unary("neg", 3, "i64"), -3);
  EXPECT_EQ(unary("sign", -3), -1);
  EXPECT_EQ(unary("sign", 0), 0);
  EXPECT_TRUE(std::isnan(unary("sign", kNaN)));
  EXPECT_EQ(unary("sign", -7, "i32"), -1);
  EXPECT_EQ(unary("sign", 7, "ui8"), 1);
  EXPECT_EQ(unary("round", 2.5), 2);
  EXPECT_EQ(unary("round", -3.5), -4);
  EXPECT_EQ(unary("reciprocal", 4), 0.25);
  EXPECT_EQ(unary("bitwise_not", 5, "ui8"), 250);
  EXPECT_EQ(unary("logical_not", 1, "i1"), 0);
  EXPECT_EQ(eval("is_nan %a0 : (tensor<f32>) -> tensor<i1>", {"f32"}, {kNaN}), 1);
  auto isInf = [&](double x, std::string negative, std::string positive) {
    return eval("is_inf %a0 {detect_negative = " + negative + ", detect_positive = " + positive +
                    "} : (tensor<f32>) -> tensor<i1>",
                {"f32"}, {x});
  };
  EXPECT_EQ(isInf(-kInf, "true", "true"), 1);
  EXPECT_EQ(isInf(-kInf, "false", "true"), 0);
  EXPECT_EQ(isInf(kInf, "false", "true"), 1);
  EXPECT_EQ(isInf(kInf, "false", "false"), 0);
  EXPECT_EQ(isInf(1, "true", "true"), 0);
}

TEST_F(ScalarsTest, Division) {
  EXPECT_EQ(binary("div", 7, 2), 3.5);
  EXPECT_EQ(binary("div", -7, 2, "i32"), -3);
  EXPECT_EQ(binary("div", 200, 3, "ui8"), 66);
  // No traps.
  EXPECT_EQ(binary("div", 7, 0, "i32"), 0);
  EXPECT_EQ(binary("div", 7, 0, "ui8"), 0);
  EXPECT_EQ(binary("div", -128, -1, "i8"), -128);
  EXPECT_EQ(binary("mod", -7, 3, "i32"), 2);
  EXPECT_EQ(binary("mod", 7, -3, "i32"), -2);
  EXPECT_EQ(binary("mod", -7, 3, "i32", "", "{fmod}"), -1);
  EXPECT_EQ(binary("mod", -128, -1, "i8"), 0);
  EXPECT_EQ(binary("mod", 200, 7, "ui8"), 4);
  EXPECT_EQ(binary("mod", -7.5, 2), 0.5);
  EXPECT_EQ(binary("mod", -7.5, 2, "f32", "", "{fmod}"), -1.5);
}

TEST_F(ScalarsTest, Powers) {
  EXPECT_EQ(binary("pow", 3, 2), 9);
  EXPECT_EQ(binary("pow", -2, 3), -8);
  EXPECT_EQ(binary("pow", 9, 0.5), 3);
  EXPECT_EQ(binary("pow", 4, -0.5), 0.5);
  EXPECT_EQ(binary("pow", 4, -1), 0.25);
  EXPECT_EQ(binary("pow", 5, 0), 1);
  EXPECT_NEAR(binary("pow", 2, 1.5), std::pow(2, 1.5), 1e-6);
  EXPECT_EQ(binary("pow", 3, 13, "i32"), 1594323);
  EXPECT_EQ(binary("pow", -1, 101, "i32"), -1);
  EXPECT_EQ(binary("pow", -1, -3, "i32"), -1);
  EXPECT_EQ(binary("pow", 2, -3, "i32"), 0);
  EXPECT_EQ(binary("pow", 0, 128, "i32"), 0);
  EXPECT_EQ(
      eval("pow %a0, %a1 : (tensor<f32>, tensor<i64>) -> tensor<f32>", {"f32", "i64"}, {1.5, 5}),
      std::pow(1.5, 5));
  EXPECT_EQ(
      eval("pow %a0, %a1 : (tensor<i32>, tensor<f32>) -> tensor<i32>", {"i32", "f32"}, {4, 2.5}),
      32);
}

TEST_F(ScalarsTest, ComparisonAndBits) {
  EXPECT_EQ(binary("less", 200, 100, "ui8", "i1"), 0);
  EXPECT_EQ(binary("less", -56, 100, "i8", "i1"), 1);
  EXPECT_EQ(binary("equal", kNaN, kNaN, "f32", "i1"), 0);
  EXPECT_EQ(binary("greater_or_equal", 2, 2, "f64", "i1"), 1);
  EXPECT_EQ(binary("greater", 2, 2, "f16", "i1"), 0);
  EXPECT_EQ(binary("less_or_equal", 1, 2, "bf16", "i1"), 1);
  EXPECT_EQ(binary("logical_xor", 1, 0, "i1"), 1);
  EXPECT_EQ(binary("bitwise_and", 12, 10, "i32"), 8);
  EXPECT_EQ(binary("bit_shift", 3, 2, "ui8"), 12);
  EXPECT_EQ(binary("bit_shift", 200, 3, "ui8", "", "{right}"), 25);
  EXPECT_EQ(binary("bit_shift", 200, 9, "ui8", "", "{right}"), 0);
  EXPECT_EQ(binary("prelu", -2, 0.25), -0.5);
  EXPECT_EQ(eval("where %a0, %a1, %a2 : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>",
                 {"i1", "f32", "f32"}, {0, 1, 2}),
            2);
}

TEST_F(ScalarsTest, NarrowFloatsRoundOnce) {
  EXPECT_EQ(binary("add", 1, 1.5, "f16"), 2.5);
  EXPECT_EQ(binary("mul", 3, 0.5, "bf16"), 1.5);
  EXPECT_EQ(binary("add", 1, 1, "f8E4M3FN"), 2);
  EXPECT_EQ(unary("neg", 448, "f8E4M3FN"), -448);
  // Between one extension and one truncation everything is f32.
  auto module = parse("gelu %a0 : (tensor<f16>) -> tensor<f16>", {"f16"});
  Elementwise nn = onlyOp(*module);
  OpBuilder b(nn);
  Value x =
      arith::ConstantOp::create(b, nn.getLoc(), cast<TypedAttr>(constantOf(b.getF16Type(), 1)));
  nn.buildScalar(b, nn.getLoc(), x);
  unsigned extensions = 0, truncations = 0;
  module->walk([&](Operation *op) {
    extensions += isa<arith::ExtFOp>(op);
    truncations += isa<arith::TruncFOp>(op);
    if (isa<arith::AddFOp, arith::MulFOp, math::ErfOp>(op)) {
      EXPECT_TRUE(op->getResult(0).getType().isF32());
    }
  });
  EXPECT_EQ(extensions, 1u);
  EXPECT_EQ(truncations, 1u);
}

TEST_F(ScalarsTest, Casts) {
  EXPECT_EQ(castTo(-3.7, "f32", "i32"), -3);
  EXPECT_EQ(castTo(3.7, "f32", "ui8"), 3);
  EXPECT_EQ(castTo(300, "f32", "ui8"), 44);
  EXPECT_EQ(castTo(-1, "f32", "ui8"), 255);
  EXPECT_EQ(castTo(3e9, "f32", "ui32"), 3e9);
  EXPECT_EQ(castTo(1e19, "f64", "ui64"), 1e19);
  EXPECT_EQ(castTo(kNaN, "f32", "i32"), -2147483648.0);
  EXPECT_EQ(castTo(-kInf, "f32", "i64"), -std::ldexp(1.0, 63));
  EXPECT_EQ(castTo(2147483647, "f64", "i32"), 2147483647);
  EXPECT_EQ(castTo(0.5, "f32", "i1"), 1);
  EXPECT_EQ(castTo(kNaN, "f32", "i1"), 1);
  EXPECT_EQ(castTo(256, "i32", "i1"), 1);
  EXPECT_EQ(castTo(1, "i1", "f32"), 1);
  EXPECT_EQ(castTo(1, "i1", "i64"), 1);
  EXPECT_EQ(castTo(200, "ui8", "i32"), 200);
  EXPECT_EQ(castTo(-56, "i8", "i32"), -56);
  EXPECT_EQ(castTo(200, "ui8", "f16"), 200);
  EXPECT_EQ(castTo(-56, "i8", "f64"), -56);
  EXPECT_EQ(castTo(65537, "i32", "i8"), 1);
  EXPECT_EQ(castTo(2.5, "f64", "f16"), 2.5);
}

/// Every 8-bit code decodes to what LLVM says, and encoding rounds like LLVM.
TEST_F(ScalarsTest, Float8) {
  struct Kind {
    const char *name;
    const llvm::fltSemantics &semantics;
    double max;
  };
  for (auto &[name, semantics, max] : {Kind{"f8E4M3FN", APFloat::Float8E4M3FN(), 448},
                                       Kind{"f8E4M3FNUZ", APFloat::Float8E4M3FNUZ(), 240},
                                       Kind{"f8E5M2", APFloat::Float8E5M2(), 57344},
                                       Kind{"f8E5M2FNUZ", APFloat::Float8E5M2FNUZ(), 57344}}) {
    for (unsigned code = 0; code < 256; code += 3) {
      double want = APFloat(semantics, APInt(8, code)).convertToDouble();
      double got = castTo(want, name, "f32");
      EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want))) << name << " " << code;
      EXPECT_TRUE(std::isnan(want) || castTo(want, "f32", name) == want || std::isinf(want))
          << name << " " << code;
    }
    for (double x :
         {0.3, -0.7, 1.0625, 17.0, 19.0, -200.0, 0.0011, -0.0009, 3e-5, 7.63e-6, 1e-9, 239.0}) {
      APFloat rounded((float)x);
      bool lossy;
      rounded.convert(semantics, APFloat::rmNearestTiesToEven, &lossy);
      EXPECT_EQ(castTo(x, "f32", name), rounded.convertToDouble()) << name << " " << x;
    }
    EXPECT_EQ(castTo(1e6, "f32", name), max) << name;
    EXPECT_EQ(castTo(-kInf, "f32", name), -max) << name;
    EXPECT_TRUE(std::isnan(castTo(kNaN, "f32", name))) << name;
    double beyond = castTo(1e6, "f32", name, ", saturate = false");
    EXPECT_TRUE(StringRef(name) == "f8E5M2" ? std::isinf(beyond) : std::isnan(beyond)) << name;
  }
}

/// f4E2M1FN has no NaN and no infinity: -0 and the largest number stand for them.
TEST_F(ScalarsTest, Float4) {
  const llvm::fltSemantics &semantics = APFloat::Float4E2M1FN();
  for (unsigned code = 0; code < 16; ++code) {
    double want = APFloat(semantics, APInt(4, code)).convertToDouble();
    EXPECT_EQ(castTo(want, "f4E2M1FN", "f32"), want) << code;
    EXPECT_EQ(castTo(want, "f32", "f4E2M1FN"), want) << code;
  }
  // Halves go to the even code.
  for (auto [x, want] : {std::pair{0.24, 0.0},
                         {0.25, 0.0},
                         {0.26, 0.5},
                         {0.75, 1.0},
                         {1.25, 1.0},
                         {1.75, 2.0},
                         {2.5, 2.0},
                         {3.5, 4.0},
                         {5.0, 4.0},
                         {7.0, 6.0},
                         {kInf, 6.0},
                         {-1e9, -6.0}})
    EXPECT_EQ(castTo(x, "f32", "f4E2M1FN"), want) << x;
  EXPECT_EQ(castTo(1e9, "f32", "f4E2M1FN", ", saturate = false"), 6);
  double nan = castTo(kNaN, "f32", "f4E2M1FN");
  EXPECT_TRUE(nan == 0 && std::signbit(nan));
  EXPECT_EQ(castTo(-3, "i4", "f4E2M1FN"), -3);
}

/// f8E8M0FNU: powers of two, by the three roundings of ONNX Cast.
TEST_F(ScalarsTest, Exponent8) {
  auto cast = [&](double x, StringRef mode, bool saturate = true) {
    std::string attrs = ", round_mode = #nn.round_mode<" + mode.str() + ">";
    return castTo(x, "f32", "f8E8M0FNU", attrs + (saturate ? "" : ", saturate = false"));
  };
  for (double x : {1.0, 0.125, 4096.0, std::ldexp(1.0, -126), std::ldexp(1.0, 127)})
    for (StringRef mode : {"up", "down", "nearest"})
      EXPECT_EQ(cast(x, mode), x) << mode.str();
  EXPECT_EQ(cast(5, "up"), 8);
  EXPECT_EQ(cast(7, "down"), 4);
  EXPECT_EQ(cast(5.9, "nearest"), 4);
  EXPECT_EQ(cast(6, "nearest"), 8);
  EXPECT_EQ(cast(-3, "down"), 2);
  EXPECT_EQ(cast(0, "up"), std::ldexp(1.0, -127));
  EXPECT_EQ(cast(3e38, "up"), std::ldexp(1.0, 127));
  EXPECT_TRUE(std::isnan(cast(3e38, "up", false)));
  EXPECT_TRUE(std::isnan(cast(kInf, "down")));
  EXPECT_EQ(castTo(std::ldexp(1.0, -127), "f8E8M0FNU", "f32"), std::ldexp(1.0, -127));
  EXPECT_TRUE(std::isnan(castTo(kNaN, "f8E8M0FNU", "f32")));
}

/// Integers of 2 and 4 bits keep the low bits, as wider ones do.
TEST_F(ScalarsTest, NarrowIntegers) {
  EXPECT_EQ(castTo(7.9, "f32", "i4"), 7);
  EXPECT_EQ(castTo(-8, "f32", "i4"), -8);
  EXPECT_EQ(castTo(9, "f32", "i4"), -7);
  EXPECT_EQ(castTo(17, "f32", "ui4"), 1);
  EXPECT_EQ(castTo(-1, "i4", "i8"), -1);
  EXPECT_EQ(castTo(15, "ui4", "f16"), 15);
  EXPECT_EQ(castTo(3, "i32", "i2"), -1);
  EXPECT_EQ(castTo(-2, "i2", "f32"), -2);
  EXPECT_EQ(castTo(2, "ui2", "i1"), 1);
}

TEST_F(ScalarsTest, Quantize) {
  auto quantize = [&](double x, double scale, double zero, StringRef to, StringRef attrs = "") {
    std::string t = to.str();
    return eval("quantize %a0, %a1, %a2 {to = " + t + attrs.str() +
                    "} : (tensor<f32>, tensor<f32>, tensor<" + t + ">) -> tensor<" + t + ">",
                {"f32", "f32", t}, {x, scale, zero});
  };
  EXPECT_EQ(quantize(1.25, 0.5, 10, "ui8"), 12); // 2.5 to even
  EXPECT_EQ(quantize(1.75, 0.5, 10, "ui8"), 14);
  EXPECT_EQ(quantize(-99, 0.5, 10, "ui8"), 0);
  EXPECT_EQ(quantize(1e30, 0.5, 0, "i8"), 127);
  EXPECT_EQ(quantize(-kInf, 0.5, 0, "i8"), -128);
  EXPECT_EQ(quantize(kNaN, 0.5, 0, "i8"), -128);
  EXPECT_EQ(quantize(40000, 1, 1000, "ui16"), 41000);
  EXPECT_EQ(quantize(5, 1, -1, "i4"), 4);
  EXPECT_EQ(quantize(50, 1, -1, "i4"), 7);
  EXPECT_EQ(quantize(-50, 1, 0, "i2"), -2);
  // From 2048 on f16 has even numbers only.
  EXPECT_EQ(quantize(2049.4, 1, 0, "i16"), 2049);
  EXPECT_EQ(quantize(2049.4, 1, 0, "i16", ", precision = f16"), 2050);
  auto dequantize = [&](double x, double scale, double zero, StringRef from) {
    std::string t = from.str();
    return eval("dequantize %a0, %a1, %a2 {to = f32} : (tensor<" + t + ">, tensor<f32>, tensor<" +
                    t + ">) -> tensor<f32>",
                {t, "f32", t}, {x, scale, zero});
  };
  EXPECT_EQ(dequantize(0, 0.5, 255, "ui8"), -127.5);
  EXPECT_EQ(dequantize(-8, 0.5, 7, "i4"), -7.5);
  EXPECT_EQ(dequantize(2147483647, 1, -1, "i32"), 2147483648.0);
}

/// All operations take vectors: the IR verifies and has vector results.
TEST_F(ScalarsTest, Vectors) {
  struct Case {
    StringRef op;
    std::vector<std::string> types;
  };
  for (const Case &c : std::vector<Case>{
           {"gelu %a0 : (tensor<f16>) -> tensor<f16>", {"f16"}},
           {"relu %a0 : (tensor<f32>) -> tensor<f32>", {"f32"}},
           {"mod %a0, %a1 : (tensor<i32>, tensor<i32>) -> tensor<i32>", {"i32", "i32"}},
           {"pow %a0, %a1 : (tensor<i32>, tensor<i32>) -> tensor<i32>", {"i32", "i32"}},
           {"cast %a0 {to = f8E4M3FN} : (tensor<f32>) -> tensor<f8E4M3FN>", {"f32"}},
           {"cast %a0 {to = f32} : (tensor<f8E5M2FNUZ>) -> tensor<f32>", {"f8E5M2FNUZ"}},
           {"cast %a0 {to = ui64} : (tensor<f32>) -> tensor<ui64>", {"f32"}},
           {"cast %a0 {to = f8E8M0FNU} : (tensor<i4>) -> tensor<f8E8M0FNU>", {"i4"}},
           {"quantize %a0, %a1 {to = i4} : (tensor<f32>, tensor<f16>) -> tensor<i4>",
            {"f32", "f16"}},
           {"dequantize %a0, %a1 {to = f16} : (tensor<f4E2M1FN>, tensor<f8E8M0FNU>) -> tensor<f16>",
            {"f4E2M1FN", "f8E8M0FNU"}},
           {"is_inf %a0 {detect_negative = false, detect_positive = false} : (tensor<f32>) -> "
            "tensor<i1>",
            {"f32"}},
           {"bit_shift %a0, %a1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>", {"ui8", "ui8"}},
           {"where %a0, %a1, %a2 : (tensor<i1>, tensor<f32>, tensor<f32>) -> tensor<f32>",
            {"i1", "f32", "f32"}}}) {
    auto module = parse(c.op, c.types);
    ASSERT_TRUE(module);
    Elementwise nn = onlyOp(*module);
    OpBuilder b(nn);
    SmallVector<Value> args;
    for (Value operand : nn->getOperands()) {
      auto type = VectorType::get({2, 8}, signless(getElementTypeOrSelf(operand.getType())));
      args.push_back(vector::BroadcastOp::create(
          b, nn.getLoc(), type,
          arith::ConstantOp::create(b, nn.getLoc(),
                                    cast<TypedAttr>(constantOf(type.getElementType(), 1)))));
    }
    Value result = nn.buildScalar(b, nn.getLoc(), args);
    EXPECT_EQ(result.getType(),
              VectorType::get({2, 8}, signless(getElementTypeOrSelf(nn->getResult(0).getType()))));
    EXPECT_TRUE(succeeded(verify(*module))) << c.op.str();
  }
}

} // namespace
