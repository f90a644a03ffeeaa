//===- Verify.cpp - comparing an artifact with --opt=0 ----------------------===//

#include "lib/driver/Verify.h"
#include "nnopt/runtime.h"
#include "tools/common/hostvalue.h"
#include "tools/common/npz.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include <cmath>
#include <random>

using namespace llvm;

namespace nnopt {

namespace {

struct Tensor {
  std::vector<int64_t> shape;
  DLDataType dtype;
  std::vector<char> bytes;
  HostValue value; // of what is no tensor of numbers, which has no bytes
  int64_t count() const {
    int64_t n = 1;
    for (int64_t d : shape)
      n *= d;
    return n;
  }
  DLTensor view() {
    DLTensor t = {};
    t.data = bytes.data();
    t.device = {kDLCPU, 0};
    t.ndim = int32_t(shape.size());
    t.shape = shape.data();
    t.dtype = dtype;
    return t;
  }
};

/// An artifact opened for running.
class Runner {
public:
  ~Runner() {
    nnopt_session_destroy(session);
    nnopt_model_close(model);
  }
  bool open(StringRef path) {
    return nnopt_model_open(path.str().c_str(), nullptr, &model, &error) == 0 &&
           nnopt_session_create(model, nullptr, &session, &error) == 0;
  }
  bool run(std::vector<Tensor> &inputs, std::vector<Tensor> &outputs);

  nnopt_model *model = nullptr;
  nnopt_session *session = nullptr;
  nnopt_error error = {};
};

} // namespace

TemporaryArtifact::TemporaryArtifact(StringRef stem) {
  int fd;
  if (std::error_code ec = sys::fs::createTemporaryFile(stem, "so", fd, file)) {
    errs() << "verify: cannot make a temporary file: " << ec.message() << "\n";
    file.clear();
    return;
  }
  sys::Process::SafelyCloseFileDescriptor(fd);
}
TemporaryArtifact::~TemporaryArtifact() {
  if (ok())
    sys::fs::remove(file);
}

DriverOptions quietOptions(const DriverOptions &options, StringRef output) {
  DriverOptions result = options;
  result.output = output.str();
  result.emit = EmitKind::Lib;
  result.verify = result.bisect = result.timing = false;
  result.printAfter.clear();
  result.reports.clear();
  result.reportProfile = false;
  result.compression.recipeOut.clear();
  result.quiet = true;
  return result;
}

static Tensor fromDLTensor(const DLTensor &t) {
  Tensor result;
  result.shape.assign(t.shape, t.shape + t.ndim);
  result.dtype = t.dtype;
  int64_t size = result.count() * std::max(1, t.dtype.bits / 8);
  const char *data = static_cast<const char *>(t.data) + t.byte_offset;
  result.bytes.assign(data, data + size);
  return result;
}

bool Runner::run(std::vector<Tensor> &inputs, std::vector<Tensor> &outputs) {
  std::vector<DLTensor> views;
  for (Tensor &t : inputs)
    views.push_back(t.view());
  std::vector<DLTensor *> in;
  for (size_t i = 0; i < views.size(); ++i) {
    in.push_back(inputs[i].value ? nullptr : &views[i]);
    if (inputs[i].value && nnopt_session_set_input(session, i, inputs[i].value.get(), &error) != 0)
      return false;
  }
  // Outputs are taken from the session, so that shapes that depend on data work too.
  std::vector<DLTensor *> none(nnopt_model_output_count(model), nullptr);
  if (nnopt_session_run(session, in.data(), in.size(), none.data(), none.size(), &error) != 0)
    return false;
  for (size_t i = 0; i < none.size(); ++i) {
    if (nnopt_model_output(model, i)->kind != NNOPT_KIND_TENSOR) {
      nnopt_value *value = nullptr;
      if (nnopt_session_take_value(session, i, &value, &error) != 0)
        return false;
      outputs.push_back({{}, {}, {}, HostValue(value)});
      continue;
    }
    DLManagedTensorVersioned *t = nullptr;
    if (nnopt_session_take_output(session, i, &t, &error) != 0)
      return false;
    outputs.push_back(fromDLTensor(t->dl_tensor));
    t->deleter(t);
  }
  return true;
}

/// Element i as a double (f32, f64, integers and bool; other types compare by bits as integers).
static double element(const Tensor &t, int64_t i) {
  const char *p = t.bytes.data() + i * std::max(1, t.dtype.bits / 8);
  auto read = [&](auto v) {
    memcpy(&v, p, sizeof(v));
    return double(v);
  };
  if (t.dtype.code == kDLFloat && t.dtype.bits == 32)
    return read(float());
  if (t.dtype.code == kDLFloat && t.dtype.bits == 64)
    return read(double());
  bool isSigned = t.dtype.code == kDLInt;
  switch (t.dtype.bits) {
  case 8: return isSigned ? read(int8_t()) : read(uint8_t());
  case 16: return isSigned ? read(int16_t()) : read(uint16_t());
  case 32: return isSigned ? read(int32_t()) : read(uint32_t());
  default: return isSigned ? read(int64_t()) : read(uint64_t());
  }
}

/// Seeded inputs: normal floats, integers 0 and 1, unknown dimensions 1.
static Tensor randomInput(const nnopt_tensor_info &info, const nnopt_model *model, std::mt19937 &rng) {
  Tensor t;
  t.dtype = info.dtype;
  for (int i = 0; i < info.rank; ++i) {
    int64_t size = info.dims[i];
    if (size < 0) {
      size = 1;
      for (size_t s = 0; info.dim_names[i] && s < nnopt_model_symbol_count(model); ++s)
        if (StringRef(nnopt_model_symbol(model, s)->name) == info.dim_names[i])
          size = std::max<int64_t>(1, nnopt_model_symbol(model, s)->low);
    }
    t.shape.push_back(size);
  }
  int64_t bytes = std::max(1, info.dtype.bits / 8), n = t.count();
  t.bytes.resize(n * bytes);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < n; ++i) {
    char *p = t.bytes.data() + i * bytes;
    if (info.dtype.code == kDLFloat && bytes == 4) {
      float v = normal(rng);
      memcpy(p, &v, 4);
    } else if (info.dtype.code == kDLFloat && bytes == 8) {
      double v = normal(rng);
      memcpy(p, &v, 8);
    } else if (info.dtype.code != kDLFloat && info.dtype.code != kDLBfloat) {
      p[0] = char(rng() & 1);
    }
  }
  return t;
}

/// Root mean square of the error, relative to that of the values, that a model with quantizations may have: a value
/// between two integers may be rounded either way, and what follows is computed from it.
static constexpr double maxQuantizedError = 0.02;

/// Prints one line about an output to `log`; whether it is within tolerance.
static bool compare(StringRef name, const Tensor &got, const Tensor &expected, bool quantizes, raw_ostream &log) {
  if (got.shape != expected.shape) {
    log << "verify: output '" << name << "': shapes differ\n";
    return false;
  }
  double scale = 0, worst = 0, squares = 0, errorSquares = 0;
  int64_t bad = 0, n = expected.count();
  for (int64_t i = 0; i < n; ++i)
    if (double e = std::fabs(element(expected, i)); std::isfinite(e))
      scale = std::max(scale, e);
  for (int64_t i = 0; i < n; ++i) {
    double a = element(got, i), b = element(expected, i);
    squares += b * b;
    if (a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    double error = std::fabs(a - b);
    errorSquares += error * error;
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    if (!(error <= 1e-3 * std::fabs(b) + 1e-5 * scale))
      ++bad;
  }
  if (bad && quantizes) {
    double relative = std::sqrt(errorSquares / squares);
    bool fits = relative <= maxQuantizedError;
    log << formatv("verify: output '{0}': root mean square error {1:f2} % ({2} of {3} elements differ); {4} for a quantized "
                   "model, whose roundings may fall either way\n",
                   name, 100 * relative, bad, n, fits ? "within 2 %, which is the tolerance" : "more than the 2 % allowed");
    return fits;
  }
  log << formatv("verify: output '{0}': max error {1:e2} of scale {2:e2}{3}\n", name, worst, scale,
                 bad ? formatv(", {0} of {1} elements differ", bad, n).str() : std::string(": equal within tolerance"));
  return bad == 0;
}

static Tensor fromValue(const HostValue &v) {
  const char *data = static_cast<const char *>(nnopt_value_data(v.get()));
  const TypeInfo &info = *typeInfo(v.type());
  return {v.shape(), info.dl, std::vector<char>(data, data + v.count() * info.width), {}};
}

/// The same for values that are no tensors of numbers, element by element.
static bool compareValues(const std::string &name, const HostValue &got, const HostValue &expected,
                          bool quantizes, raw_ostream &log) {
  bool same = got.kind() == expected.kind() && got.type() == expected.type() && got.count() == expected.count() &&
              got.shape() == expected.shape();
  if (same && got.kind() == NNOPT_KIND_TENSOR)
    return compare(name, fromValue(got), fromValue(expected), quantizes, log);
  for (size_t i = 0; same && i < got.count(); ++i)
    same = got.kind() == NNOPT_KIND_STRINGS ? got.string(i) == expected.string(i)
                                            : compareValues(name + "/" + std::to_string(i), got.element(i), expected.element(i), quantizes, log);
  log << "verify: output '" << name << "': " << describe(got) << (same ? ": equal" : ", expected " + describe(expected))
         << "\n";
  return same;
}

struct Oracle::Impl {
  Runner reference;
  std::vector<Tensor> inputs, expected;
};

Oracle::Oracle() : impl(std::make_unique<Impl>()) {}
Oracle::~Oracle() = default;

int Oracle::prepare(const DriverOptions &options) {
  TemporaryArtifact artifact("nnopt-reference");
  if (!artifact.ok())
    return ExitFailure;
  DriverOptions plain = quietOptions(options, artifact.path());
  plain.optLevel = 0;
  plain.passes.reset();
  if (int code = compileModel(plain)) {
    errs() << "verify: the model cannot be compiled at --opt=0\n";
    return code;
  }
  Runner &oracle = impl->reference;
  if (!oracle.open(artifact.path())) {
    errs() << "verify: " << oracle.error.message << "\n";
    return ExitFailure;
  }
  std::mt19937 rng(1);
  npz::Arrays arrays;
  std::string error;
  if (!options.verifyInputs.empty() && !npz::read(options.verifyInputs, arrays, error)) {
    errs() << error << "\n";
    return ExitInvalid;
  }
  for (size_t i = 0; i < nnopt_model_input_count(oracle.model); ++i) {
    const nnopt_tensor_info *info = nnopt_model_input(oracle.model, i);
    if (info->kind != NNOPT_KIND_TENSOR) {
      if (options.verifyInputs.empty() && info->kind != NNOPT_KIND_OPTIONAL) {
        errs() << "verify: input '" << info->name << "' is " << info->type
               << ", for which there are no random values: give the inputs with --verify=in.npz\n";
        return ExitUsage;
      }
      try {
        impl->inputs.push_back({{}, {}, {}, takeInput(*info, arrays, options.verifyInputs)});
      } catch (const ToolError &e) {
        errs() << e.what() << "\n";
        return e.status();
      }
      continue;
    }
    if (options.verifyInputs.empty()) {
      impl->inputs.push_back(randomInput(*info, oracle.model, rng));
      continue;
    }
    auto it = arrays.find(info->name);
    if (it == arrays.end() || it->second.width * 8 != size_t(std::max<int>(8, info->dtype.bits))) {
      errs() << options.verifyInputs << ": "
             << (it == arrays.end() ? "no array for input '" : "wrong element width of input '") << info->name << "'\n";
      return ExitInvalid;
    }
    impl->inputs.push_back({it->second.shape, info->dtype, it->second.data, {}});
  }
  if (!oracle.run(impl->inputs, impl->expected)) {
    errs() << "verify: " << oracle.error.message << "\n";
    return ExitInvalid;
  }
  return ExitDone;
}

int Oracle::compare(StringRef artifact, raw_ostream &log) {
  Runner optimized;
  std::vector<Tensor> got;
  std::string path = artifact.str();
  if (!StringRef(path).contains('/'))
    path = "./" + path;
  if (!optimized.open(path)) {
    log << "verify: " << optimized.error.message << "\n";
    return ExitFailure;
  }
  if (!optimized.run(impl->inputs, got)) {
    log << "verify: " << optimized.error.message << "\n";
    return ExitInvalid;
  }
  bool ok = true, quantizes = nnopt_model_property(impl->reference.model, "quantizes") || nnopt_model_property(optimized.model, "precision");
  for (size_t i = 0; i < got.size(); ++i)
    ok &= got[i].value && impl->expected[i].value
              ? compareValues(nnopt_model_output(impl->reference.model, i)->name, got[i].value, impl->expected[i].value, quantizes, log)
              : nnopt::compare(nnopt_model_output(impl->reference.model, i)->name, got[i], impl->expected[i], quantizes, log);
  return ok ? ExitDone : ExitFailure;
}

int verifyArtifact(const DriverOptions &options, StringRef artifact) {
  Oracle oracle;
  if (int code = oracle.prepare(options))
    return code;
  return oracle.compare(artifact, errs());
}

int verifyExport(const DriverOptions &options) {
  TemporaryArtifact artifact("nnopt-export");
  if (!artifact.ok())
    return ExitFailure;
  DriverOptions again = quietOptions(options, artifact.path());
  again.model = options.output;
  again.optLevel = 0;
  again.passes.reset();
  again.byteCache = false; // the exported model has what they say
  again.dims.clear();
  if (int code = compileModel(again)) {
    errs() << "verify: the exported model cannot be compiled\n";
    return code;
  }
  return verifyArtifact(options, artifact.path());
}

} // namespace nnopt
