//===- ConvBuilder.h - the inner loops of a direct convolution --*- C++ -*-===//
//
// A tile is MR result positions, taken in row-major order over batch and space, by NR output channels. Nothing is padded
// or copied: where a tap of a position falls outside the input, its row pointer points to zeros. With few channels that
// choice costs as much as the products; there the input of one kernel row is one contiguous run, and only tiles at a border
// copy theirs, with zeros around, into memory of the thread.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_CONVBUILDER_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_CONVBUILDER_H

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"

namespace nnopt::cpu {

/// Few channels and neighbouring taps: a kernel row is one run of the input.
bool readsRuns(const ConvShape &shape);

/// Emits the products of tiles of a convolution.
struct ConvBuilder {
  Kernel &k;
  const ConvShape &shape;
  mlir::Type element; // of the input
  Tile tile;
  Buffer x;
  NarrowProduct *narrow = nullptr; // for bytes and bf16
  mlir::Value zeros;   // inPerGroup zeros (bytes: zero points)
  mlir::Value scratch; // one border tile: [mr][kernel rows][run]
  bool runs;
  /// Parts of the contraction: taps of the first dimension, or of the channels where there is one tap.
  int64_t parts = 1;
  /// Elements between neighbours of each spatial dimension of the input, and between images.
  llvm::SmallVector<Ix> inStrides;
  Ix imageSize;

  ConvBuilder(Kernel &k, const ConvShape &shape, mlir::Type element, Tile tile, Buffer x)
      : k(k), shape(shape), element(element), tile(tile), x(x), runs(readsRuns(shape)) {
    nn::Dim stride = k.lowering.c(shape.inChannels());
    inStrides.resize(shape.dims.size());
    for (size_t d = shape.dims.size(); d-- > 0;) {
      inStrides[d] = k.dim(stride);
      stride = stride * shape.dims[d].in;
    }
    imageSize = k.dim(stride);
  }
  /// Memory for what lies outside of the input; call before any loop.
  void prepareBorders();

  /// Elements of a panel's column for `run` elements of the input.
  int64_t steps(int64_t run) const { return narrow ? narrow->steps(element, run) : run; }
  mlir::Type panelElement() const { return narrow ? narrow->panels.valueType : element; }

  /// Where one result position reads: its image and its first input position in each dimension.
  struct Position {
    Ix image;
    llvm::SmallVector<Ix, 3> first;
    Ix resultRow;
  };
  llvm::SmallVector<Position> positions(const TileAt &t, Ix outer);
  /// `count` positions of one row of a two-dimensional result, from `column` on.
  llvm::SmallVector<Position> positionsInRow(Ix image, Ix row, Ix column, int64_t count);
  /// First channel of the input that a product reads.
  Ix firstChannel(const PanelAt &at) const { return shape.phases > 1 ? k.c(0) : at.outer * shape.inPerGroup; }

  /// Adds the products of a tile; `positions` may be empty where the shape is plain.
  llvm::SmallVector<mlir::Value> products(const PanelAt &at, const TileAt &t, llvm::ArrayRef<Position> positions,
                                          Accumulate inner, mlir::ValueRange acc);

private:
  llvm::SmallVector<mlir::Value> plain(const PanelAt &at, const TileAt &t, Accumulate inner, mlir::ValueRange acc);
  llvm::SmallVector<mlir::Value> byTaps(const PanelAt &at, llvm::ArrayRef<Position> positions, Accumulate inner,
                                        mlir::ValueRange acc);
  llvm::SmallVector<mlir::Value> byRuns(const PanelAt &at, llvm::ArrayRef<Position> positions, Accumulate inner,
                                        mlir::ValueRange acc);
  mlir::Value copyBorder(llvm::ArrayRef<Position> positions, int64_t run, int64_t rowsPerPosition);
};

} // namespace nnopt::cpu

#endif
