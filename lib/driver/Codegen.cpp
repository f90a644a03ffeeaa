//===- Codegen.cpp - an optimized module to object code, constants by running it ===//

#include "lib/codegen/Evaluate.h"
#include "lib/codegen/cuda/Compile.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/Driver.h"
#include "mlir/IR/IRMapping.h"
#include "nnopt/runtime.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include <unistd.h>

using namespace mlir;

namespace nnopt {

/// The known bounds of symbolic dimensions.
static void setBounds(ModuleOp module, nn::DimContext &dims) {
  auto bounds = module->getAttrOfType<DictionaryAttr>("nn.dim_bounds");
  if (!bounds)
    return;
  for (NamedAttribute bound : bounds) {
    auto range = cast<ArrayAttr>(bound.getValue());
    int64_t low = cast<IntegerAttr>(range[0]).getInt(), high = cast<IntegerAttr>(range[1]).getInt();
    dims.setBounds(dims.symbol(bound.getName()), low, high < 0 ? std::nullopt : std::optional(high));
  }
}

/// Lowers `main` to `program`, whose dimensions are in `dims`.
static LogicalResult lower(func::FuncOp main, nn::DimContext &dims, Program &program, ModuleOp kernels,
                           const cpu::Target &target, const cpu::LoweringOptions &options) {
  setBounds(main->getParentOfType<ModuleOp>(), dims);
  nn::ShapeContext shapes(dims);
  if (failed(shapes.inferRegion(main.getBody())))
    return failure();
  return cpu::Lowering(kernels, program, shapes, target, options).run(main);
}

/// What GPUs run in place of the program: its kernels, and the CPU kernels for the rest.
static LogicalResult lowerForGpu(func::FuncOp main, nn::DimContext &dims, Program &program, ModuleOp kernels,
                                 cuda::Device &device, const cpu::Target &target, cpu::LoweringOptions options) {
  options.optLevel = 0; // kernels that are not the device's own are plain loops, which it can run
  options.device = &device;
  if (failed(lower(main, dims, program, kernels, target, options)))
    return failure();
  if (!program.hostCalls.empty())
    return main.emitError("strings, sequences and other host values cannot be used with --gpu (operation ")
           << program.hostCalls[0].operation << " of node " << program.hostCalls[0].nodes << "); leave out --gpu";
  return success();
}

/// Adds the program for GPUs to an artifact's objects.
static LogicalResult compileForGpu(const CodegenOptions &options, CompiledModel &result) {
  std::vector<cuda::Image> images;
  Program &program = *result.deviceProgram;
  const cpu::Target &target = result.target;
  ModuleOp kernels = *result.deviceHostKernels;
  if (failed(cuda::compileImages(result.device->module(), program, options.gpus, images)))
    return failure();
  cpu::CompileOptions compile = options.compile;
  compile.descriptorSymbol = options.compile.descriptorSymbol + "_cuda_host";
  compile.deviceSymbol = options.compile.descriptorSymbol + "_cuda";
  std::vector<char> meta = program.serialize();
  std::vector<SmallVector<char, 0>> objects;
  if (failed(cpu::compileKernels(kernels, program, meta, target, compile, objects)))
    return failure();
  std::string error;
  if (!cuda::emitDeviceProgram(program, images, target, compile.descriptorSymbol, compile.deviceSymbol,
                               objects.emplace_back(), error))
    return kernels.emitError(error);
  std::move(objects.begin(), objects.end(), std::back_inserter(result.objects));
  return success();
}

LogicalResult lowerModel(ModuleOp module, const cpu::Target &target, const CodegenOptions &options,
                         CompiledModel &result, Progress *progress) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return module.emitError("no function @main");
  if (progress)
    progress->stage("lowering");
  Location loc = UnknownLoc::get(module.getContext());
  result.dims = std::make_unique<nn::DimContext>();
  result.program = options.weights ? std::make_unique<Program>(*result.dims, options.weights)
                                   : std::make_unique<Program>(*result.dims);
  result.program->properties = options.properties;
  result.target = target;
  result.kernels = ModuleOp::create(loc);
  bool emulatesSm90a = options.emulateGpu == CodegenOptions::GpuEmulation::Sm90a;
  cuda::Machine machine = cuda::Machine::of(emulatesSm90a ? std::vector<uint32_t>{90} : options.gpus);
  if (options.emulatedMultiprocessors)
    machine.multiprocessors = options.emulatedMultiprocessors;
  result.device = std::make_shared<cuda::Device>(module.getContext(), machine);
  if (options.emulateGpu != CodegenOptions::GpuEmulation::None) {
    if (failed(lowerForGpu(main, *result.dims, *result.program, *result.kernels, *result.device, target, options.lowering)) ||
        failed(cuda::emulate(result.device->module(), *result.kernels, *result.program, emulatesSm90a)))
      return failure();
  } else if (failed(lower(main, *result.dims, *result.program, *result.kernels, target, options.lowering))) {
    return failure();
  }
  bool toObjects = options.compile.kind == cpu::CodeKind::Object;
  if (!options.gpus.empty() && toObjects) {
    result.deviceHostKernels = ModuleOp::create(loc);
    result.deviceDims = std::make_unique<nn::DimContext>();
    result.deviceProgram = std::make_unique<Program>(*result.deviceDims, result.program->weights);
    result.deviceProgram->properties = options.properties;
    cpu::LoweringOptions lowering = options.lowering;
    lowering.kernelPrefix = "cuda_host_";
    if (failed(lowerForGpu(main, *result.deviceDims, *result.deviceProgram, *result.deviceHostKernels, *result.device, target,
                           lowering)))
      return failure();
  }
  return success();
}

LogicalResult compileLowered(const CodegenOptions &options, CompiledModel &result, Progress *progress) {
  if (progress)
    progress->stage("code generation");
  std::vector<char> meta = result.program->serialize();
  cpu::CompileOptions compile = options.compile;
  if (result.deviceProgram)
    compile.deviceSymbol = options.compile.descriptorSymbol + "_cuda";
  if (progress)
    compile.progress = [&](double f) { progress->fraction(f); };
  if (failed(cpu::compileKernels(*result.kernels, *result.program, meta, result.target, compile, result.objects)))
    return failure();
  result.kernels = nullptr;
  if (!result.deviceProgram)
    return success();
  if (progress)
    progress->stage("GPU code generation");
  return compileForGpu(options, result);
}

LogicalResult generateCode(ModuleOp module, const cpu::Target &target, const CodegenOptions &options,
                           CompiledModel &result, Progress *progress) {
  return failure(failed(lowerModel(module, target, options, result, progress)) ||
                 failed(compileLowered(options, result, progress)));
}

//===----------------------------------------------------------------------===//
// Constant evaluation
//===----------------------------------------------------------------------===//

static DLDataType dlpackType(Type type) {
  uint8_t bits = type.getIntOrFloatBitWidth();
  if (type.isInteger(1))
    return {kDLBool, 8, 1};
  if (type.isBF16())
    return {kDLBfloat, 16, 1};
  if (isa<Float8E4M3FNType>(type))
    return {kDLFloat8_e4m3fn, 8, 1};
  if (isa<Float8E4M3FNUZType>(type))
    return {kDLFloat8_e4m3fnuz, 8, 1};
  if (isa<Float8E5M2Type>(type))
    return {kDLFloat8_e5m2, 8, 1};
  if (isa<Float8E5M2FNUZType>(type))
    return {kDLFloat8_e5m2fnuz, 8, 1};
  if (isa<Float8E8M0FNUType>(type))
    return {kDLFloat8_e8m0fnu, 8, 1};
  if (isa<Float4E2M1FNType>(type))
    return {kDLFloat4_e2m1fn, 4, 1};
  if (isa<FloatType>(type))
    return {kDLFloat, bits, 1};
  return {uint8_t(type.isUnsignedInteger() ? kDLUInt : kDLInt), bits, 1};
}

/// Copies the backward slices of `values` into `main` of a new module.
static OwningOpRef<ModuleOp> extractSlice(ArrayRef<Value> values) {
  MLIRContext *ctx = values.front().getContext();
  Location loc = UnknownLoc::get(ctx);
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
  SmallVector<Type> types;
  for (Value v : values)
    types.push_back(v.getType());
  auto main = func::FuncOp::create(b, loc, "main", b.getFunctionType({}, types));
  b.setInsertionPointToStart(main.addEntryBlock());
  IRMapping map;
  // Depth-first without recursion: an operation is cloned after its operands.
  SmallVector<std::pair<Operation *, bool>> work;
  llvm::DenseSet<Operation *> done;
  for (Value v : values)
    work.push_back({v.getDefiningOp(), false});
  while (!work.empty()) {
    auto [op, ready] = work.pop_back_val();
    if (done.count(op))
      continue;
    if (!ready) {
      work.push_back({op, true});
      for (Value operand : op->getOperands())
        work.push_back({operand.getDefiningOp(), false});
      continue;
    }
    b.clone(*op, map);
    done.insert(op);
  }
  SmallVector<Value> results;
  for (Value v : values)
    results.push_back(map.lookup(v));
  func::ReturnOp::create(b, loc, results);
  return module;
}

bool canBeWidened(Operation *op) {
  auto isFloat = [](Value v) {
    return isa<FloatType>(cast<RankedTensorType>(v.getType()).getElementType());
  };
  if (llvm::any_of(op->getOperands(), isFloat) && !llvm::all_of(op->getResults(), isFloat))
    return false;
  // Where a function jumps, the rounded element is what the model sees.
  if (isa<nn::FloorOp, nn::CeilOp, nn::RoundOp, nn::SignOp>(op))
    return false;
  return isa<nn::Elementwise, nn::LinearOp, nn::ConstantOp, nn::ReshapeOp, nn::FlattenOp,
             nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp, nn::ExpandOp, nn::ConcatOp,
             nn::SplitOp, nn::SliceOp, nn::PadOp, nn::TileOp, nn::GatherOp, nn::GatherElementsOp,
             nn::GatherNDOp, nn::ScatterElementsOp, nn::ScatterNDOp, nn::TriluOp, nn::SoftmaxOp,
             nn::LayerNormOp, nn::ReduceOp, nn::EinsumOp, nn::ShapeOp, nn::ConstantOfShapeOp>(op);
}

/// Makes `main` compute in f64 what it computes in f32. Types of results follow when shapes are
/// inferred.
static void widen(func::FuncOp main) {
  MLIRContext *ctx = main.getContext();
  Type f32 = Float32Type::get(ctx), f64 = Float64Type::get(ctx);
  OpBuilder b(ctx);
  auto cast = [&](Value v, Type to) -> Value {
    auto type = mlir::cast<RankedTensorType>(v.getType());
    return nn::CastOp::create(b, v.getLoc(), type.clone(to), v, to, /*saturate=*/true);
  };
  auto isF32 = [&](Value v) {
    return mlir::cast<RankedTensorType>(v.getType()).getElementType() == f32;
  };
  for (Operation &op : llvm::make_early_inc_range(main.getBody().front())) {
    if (auto constant = dyn_cast<nn::ConstantOp>(op); constant && isF32(constant)) {
      b.setInsertionPointAfter(constant);
      Value wide = cast(constant, f64);
      constant.getResult().replaceAllUsesExcept(wide, wide.getDefiningOp());
    } else if (auto fill = dyn_cast<nn::ConstantOfShapeOp>(op); fill && isF32(fill)) {
      b.setInsertionPointAfter(fill);
      Value wide = cast(fill, f64);
      fill.getResult().replaceAllUsesExcept(wide, wide.getDefiningOp());
    } else if (auto conversion = dyn_cast<nn::CastOp>(op);
               conversion && conversion.getTo() == f32) {
      conversion.setTo(f64);
    } else if (auto end = dyn_cast<func::ReturnOp>(op)) {
      b.setInsertionPoint(end);
      for (OpOperand &operand : end->getOpOperands())
        if (isF32(operand.get()))
          operand.set(cast(operand.get(), f32));
    }
  }
}

LogicalResult evaluate(ArrayRef<Value> values, SmallVectorImpl<ElementsAttr> &results,
                       bool inDouble) {
  if (values.empty())
    return success();
  OwningOpRef<ModuleOp> module = extractSlice(values);
  if (inDouble)
    widen(module->lookupSymbol<func::FuncOp>("main"));
  Operation *where = values.front().getDefiningOp();
  cpu::Target target;
  std::string error;
  if (!cpu::Target::get("native", target, error))
    return where->emitError(error);
  CodegenOptions options;
  options.lowering.optLevel = 0;
  options.compile.optLevel = 0;
  CompiledModel compiled;
  if (failed(generateCode(*module, target, options, compiled)))
    return failure();

  SmallString<128> path;
  int fd;
  if (std::error_code ec = llvm::sys::fs::createTemporaryFile("nnopt-constants", "so", fd, path))
    return where->emitError("cannot make a temporary file: ") << ec.message();
  ::close(fd);
  auto cleanup = llvm::make_scope_exit([&] { llvm::sys::fs::remove(path); });
  if (!writeArtifact(path, compiled.objects, *compiled.program, {target.required | compiled.program->cpuFeatures}, error))
    return where->emitError("constant folding: ") << error;

  nnopt_model *model = nullptr;
  nnopt_session *session = nullptr;
  nnopt_error failureReason = {};
  auto close = llvm::make_scope_exit([&] {
    if (session)
      nnopt_session_destroy(session);
    if (model)
      nnopt_model_close(model);
  });
  nnopt_options runtimeOptions;
  nnopt_options_init(&runtimeOptions);
  if (nnopt_model_open(path.c_str(), &runtimeOptions, &model, &failureReason) != 0 ||
      nnopt_session_create(model, &runtimeOptions, &session, &failureReason) != 0)
    return where->emitError("constant folding: ") << failureReason.message;

  std::vector<std::vector<char>> data;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<DLTensor> tensors(values.size());
  std::vector<DLTensor *> outputs;
  for (auto [i, v] : llvm::enumerate(values)) {
    auto type = cast<RankedTensorType>(v.getType());
    if (!type.hasStaticShape())
      return v.getDefiningOp()->emitError("constant folding: the result has an unknown dimension");
    shapes.emplace_back(type.getShape().begin(), type.getShape().end());
    data.emplace_back(type.getNumElements() * nn::elementBytes(type.getElementType()) + 64);
    DLTensor &t = tensors[i];
    t = {};
    t.data = data.back().data();
    t.device = {kDLCPU, 0};
    t.ndim = type.getRank();
    t.shape = shapes.back().data();
    t.dtype = dlpackType(type.getElementType());
    outputs.push_back(&t);
  }
  if (nnopt_session_run(session, nullptr, 0, outputs.data(), outputs.size(), &failureReason) != 0)
    return where->emitError("constant folding: ") << failureReason.message;
  for (auto [i, v] : llvm::enumerate(values)) {
    auto type = cast<RankedTensorType>(v.getType());
    results.push_back(
        nn::makeConstant(type, ArrayRef<char>(data[i].data(), data[i].size() - 64), "folded"));
  }
  return success();
}

} // namespace nnopt
