//===- Random.h - random matrices of tests ----------------------*- C++ -*-===//
#ifndef NNOPT_TEST_COMPRESS_RANDOM_H
#define NNOPT_TEST_COMPRESS_RANDOM_H

#include "lib/compress/Matrix.h"
#include <random>

namespace nnopt::compress {

/// Elements of N(0, 1).
inline Matrix gaussian(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, columns);
  for (float &v : m.reshaped())
    v = normal(random);
  return m;
}

} // namespace nnopt::compress

#endif
