//===- main.cpp - nnopt-compile ---------------------------------------------===//

#include "lib/compress/Engine.h"
#include "lib/driver/Cache.h"
#include "lib/driver/PassList.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

using namespace llvm;
using namespace nnopt;

static cl::OptionCategory category("nnopt-compile options");

static cl::opt<std::string>
    model(cl::Positional, cl::desc("MODEL.onnx (or .mlir, .mlirbc: a graph of nn operations)"),
          cl::cat(category));
static cl::opt<std::string>
    output("o", cl::desc("Output file (default: the model's name with .so, in the current folder)"),
           cl::value_desc("FILE"), cl::cat(category));
static cl::opt<std::string> target(
    "target",
    cl::desc("CPU to compile for: native (default), x86-64-v3, x86-64-v4, a CPU name of LLVM, "
             "or TRIPLE:CPU. Several, as x86-64-v4,x86-64-v3: one artifact with code for each, "
             "which chooses when it is opened"),
    cl::value_desc("CPU,..."), cl::init("native"), cl::cat(category));
static cl::list<std::string> dims(
    "dim",
    cl::desc(
        "Pin a symbolic dimension (batch=1), bound it (sequence=1..512), or make fast code for "
        "some sizes beside the code for all (sequence=128,256,*). A dimension "
        "without name is INPUT[AXIS]. May be repeated"),
    cl::value_desc("NAME=VALUE"), cl::cat(category));
static cl::opt<int> optLevel(
    "opt",
    cl::desc("0: every operator by itself in plain loops (the reference); 2 (default): all exact "
             "optimizations"),
    cl::value_desc("0|1|2"), cl::init(2), cl::cat(category));
static cl::opt<bool>
    check("check", cl::desc("Only check: lists everything that is unsupported, writes nothing"),
          cl::cat(category));
static cl::opt<std::string>
    verify("verify", cl::ValueOptional,
           cl::desc("Also compile at --opt=0, run both (on FILE.npz or random inputs) and compare"),
           cl::value_desc("FILE.npz"), cl::cat(category));
static cl::opt<std::string>
    bisect("bisect", cl::ValueOptional,
           cl::desc("Find the first pass that changes the outputs (on FILE.npz or random inputs); "
                    "writes no artifact"),
           cl::value_desc("FILE.npz"), cl::cat(category));
static cl::opt<EmitKind> emit(
    "emit", cl::desc("What to write (default: lib)"), cl::init(EmitKind::Lib), cl::cat(category),
    cl::values(
        clEnumValN(EmitKind::Lib, "lib", "shared object with weights: the artifact"),
        clEnumValN(EmitKind::Obj, "obj", "object, weights file and C header, for static linking"),
        clEnumValN(EmitKind::NN, "nn", "the optimized graph as MLIR (-o X.mlirbc: with weights)"),
        clEnumValN(EmitKind::ONNX, "onnx", "the optimized model as a standard ONNX file"),
        clEnumValN(EmitKind::Exec, "exec", "buffers and kernel launches"),
        clEnumValN(EmitKind::LLVM, "llvm", "LLVM IR"),
        clEnumValN(EmitKind::Asm, "asm", "assembly")));
static cl::opt<bool>
    externalData("external-data",
                 cl::desc("With --emit=onnx: weights in OUT.onnx.data (always so above 2 GB)"),
                 cl::cat(category));
static cl::opt<std::string>
    passes("passes",
           cl::desc("Run these passes instead of the default ones, as nnopt-default,my-pass; see "
                    "docs/reference/passes.md"),
           cl::value_desc("PASS,..."), cl::cat(category));
static cl::list<std::string>
    plugins("load-pass-plugin", cl::desc("Load passes, import rules and kernels from a plugin"),
            cl::value_desc("FILE.so"), cl::cat(category));
static cl::list<std::string>
    objects("link", cl::desc("Link an object with C kernels of custom operators into the artifact"),
            cl::value_desc("FILE.o"), cl::cat(category));
static cl::opt<std::string>
    gpu("gpu",
        cl::desc(
            "Add code for NVIDIA GPUs of these architectures, as sm_80,sm_90; `emulate` runs their "
            "kernels on the CPU, for tests, `emulate:N` those for a GPU with N multiprocessors, `emulate:sm_90a` "
            "those that only sm_90a has"),
        cl::value_desc("ARCH,..."), cl::cat(category));
static cl::opt<std::string> precision(
    "precision",
    cl::desc("f32 (default), or bf16: convolutions and matrix products multiply bf16 and add in "
             "f32; up to twice as fast where the CPU has instructions for it. tf32: with --gpu, those of f32 on "
             "the GPU round to 10 bits behind the point what they multiply. f16: with --gpu, tensors are f16 in memory, "
             "tensor cores multiply f16, and everything is computed in f32"),
    cl::value_desc("f32|bf16|tf32|f16"), cl::init("f32"), cl::cat(category));
static cl::opt<std::string> kvCache(
    "kv-cache",
    cl::desc("What a decoder's keys and values of earlier tokens are in memory: f32 (default), or int8: 8 bits with a scale for each "
             "row, which are an input and an output of their own, PAST.scale and PRESENT.scale"),
    cl::value_desc("f32|int8"), cl::init("f32"), cl::cat(category));
static cl::opt<bool>
    exactConv("exact-conv",
              cl::desc("No Winograd convolutions: smaller rounding errors, slower 3x3 layers"),
              cl::cat(category));
static cl::opt<std::string>
    skipPadding("skip-padding",
                cl::desc("Padded batches: do what is done token by token (products, normalizations) only for tokens where this input, "
                         "[batch, sequence], is not 0. Rows of other tokens become zeros in outputs that have them"),
                cl::value_desc("INPUT"), cl::cat(category));
static cl::opt<std::string>
    tuneTime("tune", cl::ValueOptional,
             cl::desc("Choose kernels (algorithms, register tiles) by running them on this machine, for "
                      "at most so many seconds (default 120); what was measured is kept for the next time"),
             cl::value_desc("SECONDS"), cl::cat(category));
static cl::opt<std::string> cacheDir("cache-dir",
                                     cl::desc("Where compiled kernels and measurements of --tune and --budget are kept; empty: "
                                              "nowhere. Default: $XDG_CACHE_HOME/nnopt or ~/.cache/nnopt"),
                                     cl::value_desc("DIR"), cl::cat(category));
static cl::opt<cpu::SparseUse>
    sparse("sparse", cl::desc("Skip weights that are zero:"), cl::init(cpu::SparseUse::Auto),
           cl::values(clEnumValN(cpu::SparseUse::Auto, "auto", "where that is estimated to be faster (default)"),
                      clEnumValN(cpu::SparseUse::Off, "off", "nowhere"),
                      clEnumValN(cpu::SparseUse::On, "on", "wherever a kernel can")),
           cl::cat(category));
static cl::opt<EncodeUse>
    encodeWeights("encode-weights",
                  cl::desc("Keep weights in fewer bytes, without loss; they are decoded when the artifact is opened, and processes "
                           "do not share their memory:"),
                  cl::init(EncodeUse::Auto),
                  cl::values(clEnumValN(EncodeUse::Auto, "auto", "with --budget=size=... (default)"),
                             clEnumValN(EncodeUse::Off, "off", "never"), clEnumValN(EncodeUse::On, "on", "always")),
                  cl::cat(category));
static cl::opt<std::string> calib("calib",
                                  cl::desc("Calibration data: the model's inputs by name, sample "
                                           "axis first. For --budget and single techniques; without it, --quantize=int8 takes noise"),
                                  cl::value_desc("FILE.npz"), cl::cat(category));
static cl::opt<std::string> evalData("eval",
                                     cl::desc("Evaluation data: inputs as in --calib, and labels"),
                                     cl::value_desc("FILE.npz"), cl::cat(category));
static cl::opt<std::string> metric(
    "metric",
    cl::desc(
        "Quality on the evaluation data: top1, top5, perplexity, characters, words, cosine, psnr, "
        "max (each with :OUTPUT), or cmd:COMMAND, which reads $OUTPUTS and $EVAL (.npz) and prints a number, higher is better. "
        "Default: top1 with class labels, else cosine against the float model"),
    cl::value_desc("METRIC"), cl::cat(category));
static cl::opt<std::string> budget(
    "budget",
    cl::desc(
        "Change the model within limits: drop=0.5% of the metric, latency=0.5x (or 5ms), "
        "size=0.25x (or 25MB), memory=0.5x; with drop the fastest, else the best. Not met: exit 1, and the best recipe"),
    cl::value_desc("LIMIT,..."), cl::cat(category));
static cl::opt<std::string>
    quantize("quantize",
             cl::desc("Compute every eligible convolution and matrix product on 8-bit integers (int8; int8,error=3%: without "
                      "the layers that change the outputs by more than 3 % together, default 10%); or keep the weights of "
                      "every eligible matrix product in 8 (w8) or 4 bits (w4, w4,group=64,rank=16), or as 16-bit floats (bf16, f16)"),
             cl::value_desc("int8|w8|w4|bf16|f16"), cl::cat(category));
static cl::opt<std::string>
    prune("prune",
          cl::desc("Set weights to zero in all layers where that is possible: sparse:70% of all, "
                   "sparse:70%,block=8x1 in blocks (block=f32, block=int8: of the target's vectors), sparse:2:4 in each "
                   "four. Or remove channels, heads and neurons: structured:25% of the multiply-adds, perhaps with "
                   "criterion=NAME or steps=N; "
                   "goes ahead of --budget or another technique"),
          cl::value_desc("SPEC"), cl::cat(category));
static cl::opt<std::string>
    moe("moe",
        cl::desc("Compute, of feed-forward networks with sparse activations, the share of neurons "
                 "that a router picks for each row, as a mixture of experts"),
        cl::value_desc("SHARE%"), cl::cat(category));
static cl::opt<std::string>
    lowRank("low-rank",
            cl::desc("Compute convolutions and matrix products in stages that hold this share of their "
                     "parameters, as 50%"),
            cl::value_desc("SHARE%"), cl::cat(category));
static cl::opt<std::string>
    sparseActivations("sparse-activations",
                      cl::desc("Behind GELU, SiLU and gates of such, make this share of the activations zero, those that count least, "
                               "as 50%: where one row is multiplied, no weights are read for them"),
                      cl::value_desc("SHARE%"), cl::cat(category));
static cl::opt<std::string>
    dropLayers("drop-layers",
               cl::desc("Leave out so many residual blocks, those whose outputs are most like their inputs, as 2; 2,linear: with a "
                        "matrix product in their place, for tokens"),
               cl::value_desc("COUNT"), cl::cat(category));
static cl::opt<std::string>
    parallelBlocks("parallel-blocks",
                   cl::desc("Compute so many pairs of residual blocks side by side, as 2: the second one reads what the first one reads"),
                   cl::value_desc("COUNT"), cl::cat(category));
static cl::opt<std::string>
    mergeTokens("merge-tokens",
                cl::desc("Behind each attention of a transformer, average so many tokens with those that they are most like, as 8; "
                         "with --budget, ahead of all other techniques"),
                cl::value_desc("COUNT"), cl::cat(category));
static cl::opt<std::string> recipe("recipe",
                                   cl::desc("Do to the model what a recipe says; needs no data"),
                                   cl::value_desc("IN.json"), cl::cat(category));
static cl::opt<std::string> recipeOut("recipe-out",
                                      cl::desc("Write what was done to the model, and why"),
                                      cl::value_desc("OUT.json"), cl::cat(category));
static cl::list<std::string> reports(
    "report",
    cl::desc("Write what was done to the model, and why: a page to look at (.html) or its data "
             "(.json). May be repeated"),
    cl::value_desc("OUT.html|OUT.json"), cl::cat(category));
static cl::opt<std::string>
    reportProfile("report-profile", cl::ValueOptional,
                  cl::desc("Run the artifact (on FILE.npz or random inputs) and report the time of "
                           "every layer"),
                  cl::value_desc("FILE.npz"), cl::cat(category));
static cl::list<std::string>
    reportDims("report-dim",
               cl::desc("Size of a symbolic dimension for the report's figures and random inputs "
                        "(default: the least)"),
               cl::value_desc("NAME=SIZE"), cl::cat(category));
static cl::opt<bool> timing("timing", cl::desc("Print the time of every stage and pass"),
                            cl::cat(category));
static cl::list<std::string> printAfter("print-ir-after",
                                        cl::desc("Print the graph after this pass (or: all)"),
                                        cl::value_desc("PASS"), cl::cat(category));
static cl::opt<bool> quiet("quiet", cl::desc("Print errors only"), cl::cat(category));

/// A flag that asks for one technique by itself.
struct TechniqueFlag {
  cl::opt<std::string> &option;
  const char *technique;
};

int main(int argc, char **argv) {
  if (printsVersion(argc, argv))
    return ExitDone;
  cl::HideUnrelatedOptions(category);
  std::string message;
  raw_string_ostream errors(message);
  if (!cl::ParseCommandLineOptions(
          argc, argv,
          "Compiles an ONNX model to native code: one shared object that holds code and "
          "weights.\n\n"
          "  nnopt-compile resnet50.onnx                      # writes resnet50.so for this "
          "machine\n"
          "  nnopt-compile bert.onnx --dim batch=1 --dim sequence=128 -o bert.so\n"
          "  nnopt-compile net.onnx --calib=c.npz --eval=e.npz --budget=drop=0.5%   # as fast as "
          "that allows\n"
          "  nnopt-compile model.onnx --check                 # what is unsupported, if anything\n"
          "  nnopt-compile model.onnx --emit=onnx -o out.onnx # the optimized model, for any "
          "runtime\n"
          "  nnopt-run model.so --inputs=in.npz --outputs=out.npz\n\n"
          "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid model, 4 unsupported operators "
          "(listed).\n",
          &errors)) {
    errs() << errors.str() << "See nnopt-compile --help.\n";
    return ExitUsage;
  }
  if (model.empty()) {
    errs() << "nnopt-compile: no model given; usage: nnopt-compile MODEL.onnx [-o OUT.so]. See "
              "nnopt-compile --help.\n";
    return ExitUsage;
  }
  if (optLevel < 0 || optLevel > 2) {
    errs() << "--opt=" << int(optLevel) << ": expected 0, 1 or 2\n";
    return ExitUsage;
  }
  if (precision != "f32" && precision != "bf16" && precision != "tf32" && precision != "f16") {
    errs() << "--precision=" << precision << ": expected f32, bf16, tf32 or f16\n";
    return ExitUsage;
  }
  if (kvCache != "f32" && kvCache != "int8") {
    errs() << "--kv-cache=" << kvCache << ": expected f32 or int8\n";
    return ExitUsage;
  }
  // One technique by itself, within a budget or without; or what a recipe says. Channels can go ahead of a technique.
  std::string technique, spec, structured, flag;
  int ways = recipe.empty() ? 0 : 1;
  for (TechniqueFlag f : {TechniqueFlag{quantize, "quantize"}, TechniqueFlag{prune, "prune"},
                          TechniqueFlag{moe, "dense-to-moe"}, TechniqueFlag{lowRank, "low-rank"},
                          TechniqueFlag{sparseActivations, "sparse-activations"}, TechniqueFlag{dropLayers, "drop-layer"},
                          TechniqueFlag{parallelBlocks, "parallel-blocks"}, TechniqueFlag{mergeTokens, "merge-tokens"}}) {
    if (!f.option.getNumOccurrences())
      continue;
    flag = "--" + f.option.ArgStr.str();
    std::string name = f.technique, text = f.option;
    // The ways to prune are techniques of their own.
    if (&f.option == &prune) {
      auto [kind, rest] = StringRef(f.option).split(':');
      if (kind != "sparse" && kind != "structured") {
        errs() << flag << "=" << f.option << ": expected sparse:SPEC or structured:SPEC\n";
        return ExitUsage;
      }
      name += "-" + kind.str();
      text = rest.str();
    }
    if (std::string wrong = compress::checkSpec(name, text); !wrong.empty()) {
      errs() << flag << "=" << f.option << ": " << wrong << "\n";
      return ExitUsage;
    }
    if (name == "prune-structured") {
      structured = text;
      continue;
    }
    ++ways;
    technique = name;
    spec = text;
  }
  if (ways + (recipe.empty() || (budget.empty() && structured.empty()) ? 0 : 1) > 1) {
    errs() << "--quantize, --prune=sparse, --moe, --low-rank, --sparse-activations, --drop-layers, --parallel-blocks, --merge-tokens and "
              "--recipe exclude each other, and so do --budget, --prune=structured and --recipe: give one of them\n";
    return ExitUsage;
  }
  bool searches = !budget.empty() || !technique.empty() || !structured.empty();
  // int8 needs ranges only, which noise gives roughly.
  bool needsData = !budget.empty() || !structured.empty() || technique != "quantize" || !StringRef(spec).starts_with("int8");
  if (searches && calib.empty() && needsData) {
    errs() << (budget.empty() ? flag : "--budget")
           << " needs calibration data: give it with --calib=FILE.npz\n";
    return ExitUsage;
  }
  if (!searches && !(calib.empty() && evalData.empty() && metric.empty() &&
                     (recipeOut.empty() || !recipe.empty()))) {
    errs()
        << "--calib, --eval, --metric and --recipe-out do nothing without --budget, --quantize, "
           "--prune, --moe, --low-rank, --sparse-activations, --drop-layers, --parallel-blocks or --merge-tokens\n";
    return ExitUsage;
  }
  registerAllPasses();
  std::string error;
  for (const std::string &plugin : plugins)
    if (!loadPlugin(plugin, error)) {
      errs() << error << "\n";
      return ExitUsage;
    }
  DriverOptions options;
  options.model = model;
  options.output = output;
  options.emit = emit;
  options.target = target;
  options.dims.assign(dims.begin(), dims.end());
  options.optLevel = optLevel;
  options.winograd = !exactConv;
  options.sparse = sparse;
  options.encode = encodeWeights;
  options.bf16 = precision == "bf16";
  options.tf32 = precision == "tf32";
  options.f16 = precision == "f16";
  options.byteCache = kvCache == "int8";
  options.paddingMask = skipPadding;
  if (tuneTime.getNumOccurrences()) {
    double seconds = 120;
    if (!tuneTime.empty() && (StringRef(tuneTime).getAsDouble(seconds) || !(seconds > 0))) {
      errs() << "--tune=" << tuneTime << ": expected a number of seconds\n";
      return ExitUsage;
    }
    options.tuneSeconds = seconds;
  }
  options.cacheDir = cacheDir.getNumOccurrences() ? std::string(cacheDir) : Cache::defaultDirectory();
  options.check = check;
  options.verify = verify.getNumOccurrences() > 0;
  options.verifyInputs = verify;
  options.reports.assign(reports.begin(), reports.end());
  options.reportProfile = reportProfile.getNumOccurrences() > 0;
  options.reportInputs = reportProfile;
  options.reportDims.assign(reportDims.begin(), reportDims.end());
  options.bisect = bisect.getNumOccurrences() > 0;
  if (options.bisect)
    options.verifyInputs = bisect;
  options.externalData = externalData;
  if (passes.getNumOccurrences())
    options.passes = passes;
  options.gpu = gpu;
  options.link.assign(objects.begin(), objects.end());
  options.compression.calib = calib;
  options.compression.eval = evalData;
  options.compression.metric = metric;
  options.compression.budget = budget;
  options.compression.technique = technique;
  options.compression.spec = spec;
  options.compression.structured = structured;
  options.compression.recipeIn = recipe;
  options.compression.recipeOut = recipeOut;
  options.timing = timing;
  options.printAfter.assign(printAfter.begin(), printAfter.end());
  options.quiet = quiet;
  return compileModel(options);
}
