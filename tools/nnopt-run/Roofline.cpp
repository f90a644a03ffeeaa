//===- Roofline.cpp - what this machine could do at most --------------------===//

#include "tools/nnopt-run/Roofline.h"
#include "tools/common/runner.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace nnopt {
namespace {

constexpr int kChains = 12; // independent sums: more than the latency of an addition times the units
constexpr int64_t kSteps = 1 << 19;
using Line = uint64_t __attribute__((vector_size(64))); // of a cache
constexpr int64_t kBytes = int64_t(256) << 20; // of all threads together; larger than caches

// The sums are written in full and not in a loop over an array, so that each stays in its register.
#define NNOPT_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define NNOPT_FMA_LOOP(TARGET, NAME, VECTOR, SET, FMA, FIRST)                                                                \
  TARGET float NAME() {                                                                                                      \
    VECTOR a = SET(1.0000001f), b = SET(1e-9f);                                                                              \
    NNOPT_TWELVE(NNOPT_DECLARE)                                                                                              \
    for (int64_t i = 0; i < kSteps; ++i) {                                                                                   \
      NNOPT_TWELVE(FMA)                                                                                                      \
      asm volatile("");                                                                                                      \
    }                                                                                                                        \
    VECTOR sum = s0;                                                                                                         \
    NNOPT_TWELVE(NNOPT_ADD)                                                                                                  \
    return FIRST(sum);                                                                                                       \
  }
#define NNOPT_DECLARE(I) auto s##I = a;

#if defined(__x86_64__)
#define NNOPT_ADD(I) sum += s##I;
#define NNOPT_FMA512(I) s##I = _mm512_fmadd_ps(s##I, a, b);
#define NNOPT_FMA256(I) s##I = _mm256_fmadd_ps(s##I, a, b);
NNOPT_FMA_LOOP(__attribute__((target("avx512f"))), fma512, __m512, _mm512_set1_ps, NNOPT_FMA512, _mm512_cvtss_f32)
NNOPT_FMA_LOOP(__attribute__((target("avx2,fma"))), fma256, __m256, _mm256_set1_ps, NNOPT_FMA256, _mm256_cvtss_f32)
// Before x86-64-v3 two instructions.
#define NNOPT_MULTIPLY_ADD128(I) s##I = _mm_add_ps(_mm_mul_ps(s##I, a), b);
NNOPT_FMA_LOOP(, multiplyAdd128, __m128, _mm_set1_ps, NNOPT_MULTIPLY_ADD128, _mm_cvtss_f32)
#elif defined(__aarch64__)
#define NNOPT_ADD(I) sum = vaddq_f32(sum, s##I);
#define NNOPT_FMA128(I) s##I = vfmaq_f32(b, s##I, a);
#define NNOPT_LANE0(V) vgetq_lane_f32(V, 0)
NNOPT_FMA_LOOP(, fma128, float32x4_t, vdupq_n_f32, NNOPT_FMA128, NNOPT_LANE0)
#endif

/// A loop of multiply-adds on vectors of at most so many bits, and their lanes; null if there is none for this processor.
std::pair<float (*)(), int> fmaLoop([[maybe_unused]] int vectorBits) {
#if defined(__x86_64__)
  if (vectorBits >= 512 && __builtin_cpu_supports("avx512f"))
    return {fma512, 16};
  if (vectorBits >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {fma256, 8};
  return {multiplyAdd128, 4};
#elif defined(__aarch64__)
  return {fma128, 4};
#endif
  return {nullptr, 0};
}

/// Least seconds in which all threads have called work(thread), of `rounds` that all begin together.
template <typename Work> double seconds(int threads, int rounds, Work &&work) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> ready{0};
    std::vector<double> took(threads);
    auto body = [&](int t) {
      for (++ready; ready < threads;)
        std::this_thread::yield();
      auto start = std::chrono::steady_clock::now();
      work(t);
      took[t] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t)
      others.emplace_back(body, t);
    body(0);
    for (std::thread &other : others)
      other.join();
    best = std::min(best, *std::max_element(took.begin(), took.end()));
  }
  return best;
}

} // namespace

Roofline Roofline::measure(int threads, int vectorBits) {
  Roofline result;
  result.threads = threads;
  std::vector<float> sink(threads); // What loops compute must go somewhere.
  auto [loop, lanes] = fmaLoop(vectorBits);
  result.vectorBits = 32 * lanes;
  if (loop)
    result.gflops = 2e-9 * kChains * lanes * kSteps * threads / seconds(threads, 8, [&, run = loop](int t) { sink[t] = run(); });

  const size_t lines = kBytes / threads / sizeof(Line);
  std::vector<std::vector<Line>> data(threads);
  seconds(threads, 1, [&](int t) { data[t].assign(lines, Line{} + uint64_t(t)); });
  double read = seconds(threads, 4, [&](int t) {
    Line sum = {};
    for (const Line &line : data[t])
      sum += line;
    sink[t] += static_cast<float>(sum[0]);
  });
  asm volatile("" : : "r"(sink.data()) : "memory");
  result.gbytes = 1e-9 * static_cast<double>(lines * sizeof(Line) * threads) / read;
  return result;
}

Roofline Roofline::ofGpu(const nnopt_model *model) {
  Roofline result;
  result.threads = 0;
  nnopt_error error = {};
  if (nnopt_model_device_bounds(model, &result.gflops, &result.gbytes, &error))
    throw ToolError(error.code, error.message);
  return result;
}

std::string Roofline::text() const {
  char line[240];
  std::string width = vectorBits ? " on vectors of " + std::to_string(vectorBits) + " bits" : "";
  std::snprintf(line, sizeof line,
                "%.0f GFLOP/s of f32 FMA%s, %.1f GB/s from main memory. Smaller elements and data in caches can exceed it.\n", gflops,
                width.c_str(), gbytes);
  std::string source = threads == 0 ? "bound of the GPU, by its clocks: "
                                    : "bound of " + std::to_string(threads) + (threads == 1 ? " thread" : " threads") + ", measured: ";
  return source + line;
}

double Roofline::leastNs(int64_t flops, int64_t bytes) const {
  double computing = flops > 0 && gflops > 0 ? static_cast<double>(flops) / gflops : 0;
  double reading = bytes > 0 && gbytes > 0 ? static_cast<double>(bytes) / gbytes : 0;
  return std::max(computing, reading);
}

bool Roofline::computes(int64_t flops, int64_t bytes) const {
  return flops > 0 && gflops > 0 && static_cast<double>(flops) / gflops >= leastNs(flops, bytes);
}

nlohmann::json Roofline::json() const { return {{"gflops", gflops}, {"gbytes", gbytes}, {"threads", threads}, {"vector_bits", vectorBits}}; }

} // namespace nnopt
