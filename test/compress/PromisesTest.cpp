// What compiled models keep of promises.

#include "lib/compress/Promises.h"
#include "gtest/gtest.h"
#include <array>

using namespace nnopt::compress;

namespace {

const std::vector<std::string> names = {"drop-layer", "low-rank", "quantize"};

TEST(Promises, NothingIsKnownWithoutMeasurements) {
  for (const auto &[name, share] : keptPromises({}, names))
    EXPECT_EQ(share, 1) << name;
}

TEST(Promises, OneMeasurementIsAboutAllTechniques) {
  auto kept = keptPromises({{{{"quantize", -0.4}}, -0.2}}, names);
  EXPECT_NEAR(kept.at("quantize"), 0.5, 1e-9);
  EXPECT_NEAR(kept.at("low-rank"), 0.5, 1e-9);
}

TEST(Promises, MeasurementsTellTechniquesApart) {
  // quantize keeps 0.4, low-rank 0.9, drop-layer 1.1.
  std::vector<Whole> wholes;
  for (auto [drop, rank, quantize] : {std::array{0.0, 0.3, 0.5}, {0.2, 0.0, 0.6}, {0.3, 0.4, 0.0}, {0.1, 0.1, 0.7}, {0.0, 0.6, 0.1}})
    wholes.push_back({{{"drop-layer", -drop}, {"low-rank", -rank}, {"quantize", -quantize}}, -(1.1 * drop + 0.9 * rank + 0.4 * quantize)});
  auto kept = keptPromises(wholes, names);
  EXPECT_NEAR(kept.at("quantize"), 0.4, 0.1);
  EXPECT_NEAR(kept.at("low-rank"), 0.9, 0.1);
  EXPECT_NEAR(kept.at("drop-layer"), 1.1, 0.25);
}

TEST(Promises, SharesAreBounded) {
  // Slower than without: the technique promises next to nothing from then on, but never to be slower.
  EXPECT_EQ(keptPromises({{{{"quantize", -0.4}}, 0.2}}, names).at("quantize"), 0.05);
  EXPECT_EQ(keptPromises({{{{"quantize", -0.1}}, -0.9}}, names).at("quantize"), 2);
  // Options that promise nothing tell nothing.
  EXPECT_EQ(keptPromises({{{}, -0.1}}, names).at("quantize"), 1);
}

} // namespace
