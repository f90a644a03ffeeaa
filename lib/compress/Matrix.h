//===- Matrix.h - matrices of compression -----------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_MATRIX_H
#define NNOPT_LIB_COMPRESS_MATRIX_H

#include <eigen3/Eigen/Dense>

namespace nnopt::compress {

/// Row-major, as tensors are.
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXf;

} // namespace nnopt::compress

#endif
