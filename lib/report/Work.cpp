//===- Work.cpp - arithmetic of an operation --------------------------------===//

#include "lib/report/Work.h"
#include "dialects/nn/NN.h"

using namespace mlir;
using nnopt::nn::Dim;

namespace nnopt::report {

static Dim einsum(nn::EinsumOp op, nn::ShapeContext &shapes) {
  // Each element of the result is a sum over the labels that it lacks. The dimensions of an ellipsis
  // are never summed over.
  StringRef left = op.getEquation().split("->").first, right = op.getEquation().split("->").second;
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  std::map<char, Dim> summed;
  for (auto [term, input] : llvm::zip(terms, op.getInputs())) {
    ArrayRef<Dim> dims = shapes.dims(input);
    auto add = [&](StringRef labels, size_t first) {
      for (auto [i, label] : llvm::enumerate(labels))
        if (!right.contains(label)) {
          Dim &size = summed[label];
          size = size ? size.broadcast(dims[first + i]) : dims[first + i];
        }
    };
    size_t dots = term.find("...");
    StringRef tail = dots == StringRef::npos ? StringRef() : term.drop_front(dots + 3);
    add(term.take_front(dots), 0);
    add(tail, dims.size() - tail.size());
  }
  Dim count = nn::product(shapes.dimContext(), shapes.dims(op.getResult()));
  for (auto &[label, size] : summed)
    count = count * size;
  return count;
}

Dim multiplyAccumulates(Operation *op, nn::ShapeContext &shapes) {
  auto elements = [&](Value v) { return nn::product(shapes.dimContext(), shapes.dims(v)); };
  auto recurrent = [&](auto cell) {
    // Every step multiplies the input by w and the state by r.
    ArrayRef<Dim> x = shapes.dims(cell.getX());
    return x[0] * x[1] * (elements(cell.getW()) + elements(cell.getR()));
  };
  return llvm::TypeSwitch<Operation *, Dim>(op)
      .Case([&](nn::ConvOp conv) {
        return elements(conv.getResult()) * nn::product(shapes.dimContext(), shapes.dims(conv.getW()).drop_front());
      })
      .Case([&](nn::ConvTransposeOp conv) {
        return elements(conv.getX()) * nn::product(shapes.dimContext(), shapes.dims(conv.getW()).drop_front());
      })
      .Case([&](nn::MatMulOp matmul) {
        ArrayRef<Dim> a = shapes.dims(matmul.getA());
        return elements(matmul.getResult()) * (matmul.getTransposeA() && a.size() > 1 ? a[a.size() - 2] : a.back());
      })
      .Case([&](nn::GroupedMatMulOp grouped) { return elements(grouped.getResult()) * shapes.dims(grouped.getW())[2]; })
      .Case([&](nn::MoEOp moe) {
        // As if every row had a score for every expert.
        ArrayRef<Dim> w1 = shapes.dims(moe.getW1());
        Dim first = w1[2] * (moe.getW3() ? 2 : 1), second = shapes.dims(moe.getW2())[1];
        return elements(moe.getScore()) * w1[1] * (first + second);
      })
      .Case([&](nn::EinsumOp op) { return einsum(op, shapes); })
      .Case([&](nn::AttentionOp attention) {
        ArrayRef<Dim> q = shapes.dims(attention.getQ()), k = shapes.dims(attention.getK()),
                      v = shapes.dims(attention.getV());
        return q[0] * q[1] * q[2] * k[2] * (q[3] + v[3]);
      })
      .Case<nn::LSTMOp, nn::GRUOp, nn::RNNOp>([&](auto cell) { return recurrent(cell); })
      .Default([](Operation *) { return Dim(); });
}

} // namespace nnopt::report
