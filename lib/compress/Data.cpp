//===- Data.cpp - calibration and evaluation data ---------------------------===//

#include "lib/compress/Data.h"
#include "dialects/nn/NN.h"
#include "lib/codegen/Program.h"
#include "tools/common/hostvalue.h"
#include <cmath>
#include <cstring>
#include <random>

namespace nnopt::compress {

static ToolError invalid(const std::string &message) { return ToolError(3, message); }

static std::string nameOf(mlir::StringAttr name) { return name ? name.str() : ""; }

Dataset::Dataset(const std::string &path, mlir::func::FuncOp main) : file(path) {
  npz::Arrays found;
  std::string error;
  if (!npz::read(path, found, error))
    throw invalid(error);
  std::string names;
  auto inputName = [&](unsigned i) {
    return nameOf(main.getArgAttrOfType<mlir::StringAttr>(i, "nn.name"));
  };
  for (unsigned i = 0; i < main.getNumArguments(); ++i)
    names += (i ? ", '" : "'") + inputName(i) + "'";
  bool wholes = false;
  for (unsigned i = 0; i < main.getNumArguments(); ++i) {
    std::string name = inputName(i), at = path + ": array '" + name + "'";
    auto type = mlir::dyn_cast<mlir::RankedTensorType>(main.getArgument(i).getType());
    int onnxType = int(onnxDataType(main.getArgument(i).getType()));
    if (!type || onnxType == OnnxString)
      throw ToolError(4, "input '" + name + "' is " + onnxTypeText(main.getArgument(i).getType()) +
                             ": compression works on tensors of numbers");
    auto it = found.find(name);
    if (it == found.end())
      throw invalid(path + ": no array '" + name + "'; the model's inputs are " + names);
    npz::Array &array = it->second;
    if (!typeFits(array, *typeInfo(onnxType)))
      throw invalid(at + " holds " + array.typeName() + ", the model's input is " +
                    typeInfo(onnxType)->name);
    int64_t rank = int64_t(array.shape.size()), inputRank = type.getRank();
    bool whole = rank == inputRank + 1;
    if (!whole && (rank != inputRank || rank == 0))
      throw invalid(
          at + " has shape " + shapeText(array.shape) + ": expected the " +
          std::to_string(inputRank) +
          " dimensions of the input, samples along the first, or one dimension of samples more");
    for (int64_t d = whole ? 0 : 1; d < inputRank; ++d)
      if (!type.isDynamicDim(d) && type.getDimSize(d) != array.shape[d + (whole ? 1 : 0)])
        throw invalid(at + " has shape " + shapeText(array.shape) + ", but dimension " +
                      std::to_string(d) + " of the model's input is " +
                      std::to_string(type.getDimSize(d)));
    wholes |= whole;
    if (!whole && !type.isDynamicDim(0) && array.shape[0] != 1) {
      if (fixed && batch != type.getDimSize(0))
        throw invalid(path + ": the model's inputs have different batch sizes: give whole inputs, "
                             "with one dimension more");
      fixed = true;
      batch = type.getDimSize(0);
    }
    bool repeated = array.shape[0] == 1;
    if (!repeated && sampleCount >= 0 && sampleCount != array.shape[0])
      throw invalid(at + " has " + std::to_string(array.shape[0]) + " samples, another input " +
                    std::to_string(sampleCount));
    if (!repeated)
      sampleCount = array.shape[0];
    arrays.push_back({name, onnxType, std::move(array), whole, repeated});
    found.erase(it);
  }
  if (sampleCount < 0)
    sampleCount = 1;
  if (wholes && fixed && batch != 1)
    throw invalid(path +
                  ": some arrays hold whole inputs, others samples along the first dimension");
  if (wholes)
    batch = 1;
  if (!fixed)
    batch = std::min(batch, std::max<int64_t>(sampleCount, 1));
  if (sampleCount < batch || sampleCount == 0)
    throw invalid(path + ": " + std::to_string(sampleCount) +
                  " samples, but the model's batch size is " + std::to_string(batch));
  if (auto it = found.find("labels"); it != found.end()) {
    if (it->second.shape.empty() || it->second.shape[0] != sampleCount)
      throw invalid(path + ": array 'labels' has shape " + shapeText(it->second.shape) +
                    ", expected one label for each of " + std::to_string(sampleCount) + " samples");
    labelArray = std::move(it->second);
  }
}

/// Box and Muller 1958; the generator is used directly because distributions differ between libraries.
static float normal(std::mt19937_64 &rng) {
  auto unit = [&] { return (double(rng() >> 11) + 0.5) * 0x1p-53; };
  double radius = std::sqrt(-2 * std::log(unit()));
  return float(radius * std::cos(6.283185307179586 * unit()));
}

Dataset Dataset::noise(mlir::func::FuncOp main, int64_t count) {
  Dataset data;
  std::mt19937_64 rng(0);
  for (unsigned i = 0; i < main.getNumArguments(); ++i) {
    std::string name = nameOf(main.getArgAttrOfType<mlir::StringAttr>(i, "nn.name"));
    auto type = mlir::dyn_cast<mlir::RankedTensorType>(main.getArgument(i).getType());
    auto refuse = [&](const std::string &why) {
      return ToolError(2, "without --calib, noise takes the place of data, but input '" + name + "' " + why +
                              ": give calibration data with --calib=FILE.npz");
    };
    if (!type || !type.getElementType().isF32())
      throw refuse("is " + onnxTypeText(main.getArgument(i).getType()) + ", not of 32-bit floats");
    std::vector<int64_t> shape = type.getShape().vec();
    if (shape.empty() || llvm::any_of(llvm::drop_begin(shape), mlir::ShapedType::isDynamic))
      throw refuse("has a size that is not known");
    if (!mlir::ShapedType::isDynamic(shape[0])) {
      if (data.fixed && data.batch != shape[0])
        throw refuse("has another batch size than the inputs before it");
      data.fixed = true;
      data.batch = shape[0];
    }
    npz::Array array{'f', 4, shape, {}};
    data.arrays.push_back({name, OnnxFloat, std::move(array), false, false});
  }
  if (data.arrays.empty())
    throw ToolError(2, "without --calib, noise takes the place of data, but the model has no inputs");
  data.sampleCount = (count + data.batch - 1) / data.batch * data.batch;
  for (Input &input : data.arrays) {
    input.array.shape[0] = data.sampleCount;
    input.array.data.resize(size_t(input.array.count()) * sizeof(float));
    for (size_t at = 0; at < input.array.data.size(); at += sizeof(float)) {
      float v = normal(rng);
      std::memcpy(&input.array.data[at], &v, sizeof(v));
    }
  }
  return data;
}

std::vector<HostTensor> Dataset::inputs(int64_t first, int64_t count) const {
  std::vector<HostTensor> result;
  for (const Input &input : arrays) {
    std::vector<int64_t> shape = input.array.shape;
    int64_t total = shape[0];
    if (input.whole)
      shape.erase(shape.begin());
    else
      shape[0] = input.repeated ? 1 : count;
    HostTensor tensor(input.name, input.type, shape);
    size_t sample = total ? input.array.data.size() / size_t(total) : 0;
    std::memcpy(tensor.data(),
                input.array.data.data() + (input.repeated ? 0 : size_t(first) * sample),
                tensor.bytes());
    result.push_back(std::move(tensor));
  }
  return result;
}

} // namespace nnopt::compress
