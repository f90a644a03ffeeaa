//===- ThreadsTest.cpp - the pool, and many sessions at once ----------------===//

#include "test/runtime/Helpers.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <numeric>
#include <pthread.h>
#include <sched.h>
#include <thread>

using namespace nnopt;
using namespace nnopt::test;

namespace {

/// y i32[n]: the thread that computed each element.
Builder whoModel(uint32_t grain, int launches = 1) {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), bytes = b.mul(n, b.constant(4));
  b.input("x", 1, {n}, bytes);
  uint32_t y = b.output("y", 6, {n}, bytes);
  uint32_t scratch = b.buffer(NNOPT_B_SCRATCH, b.constant(8), 0, 0, 1000, 8);
  for (int i = 0; i < launches; ++i)
    b.launch(KernelWho, {y, scratch}, {}, n, grain);
  return b;
}

/// Runs a model of whoModel() until `last` computes the last element: a worker that lost its CPU is left out for a while.
std::vector<int32_t> whoComputes(Session &session, int64_t n, int64_t last) {
  for (int i = 0;; ++i) {
    std::vector<int32_t> who = elements<int32_t>(session.run({Array<float>({n})})[0]);
    if (!n || who.back() == last || i == 100)
      return who;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

class Partition : public testing::TestWithParam<int> {};

TEST_P(Partition, IsStaticAndContiguous) {
  int threads = GetParam();
  Linked linked(whoModel(10));
  Session session(linked.open(), Options().threads(threads));
  EXPECT_EQ(session.threads(), threads);
  for (int64_t n : {0, 1, 9, 10, 19, 20, 35, 100, 1001}) {
    int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, n / 10));
    std::vector<int32_t> who = whoComputes(session, n, parts - 1);
    ASSERT_EQ(static_cast<int64_t>(who.size()), n);
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_GE(who[i], i ? who[i - 1] : 0);
      ASSERT_LT(who[i], parts);
    }
    if (n) {
      EXPECT_EQ(who.back(), parts - 1);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Threads, Partition, testing::Values(1, 2, 3, 4, 9));

TEST(Pool, ManyLaunchesWithPauses) {
  Linked linked(whoModel(1, 200));
  Session session(linked.open(), Options().threads(4));
  for (int i = 0; i < 300; ++i) {
    std::vector<int32_t> who = whoComputes(session, 64, 3);
    ASSERT_EQ(who.front(), 0);
    ASSERT_EQ(who.back(), 3);
    if (i % 50 == 0) // long enough for the workers to sleep
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(Pool, SleepsWhenIdle) {
  Linked linked(whoModel(1));
  Session session(linked.open(), Options().threads(2));
  session.run({Array<float>({64})});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  double busy = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(busy, 0.1);
}

TEST(Pool, SpinTimeOfZero) {
  Linked linked(whoModel(1, 20));
  Options options;
  options.num_threads = 3;
  options.spin_us = 0;
  Session session(linked.open(), options);
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(whoComputes(session, 9, 2).back(), 2);
}

/// A signal handler holds the worker where a busy CPU could: nothing waits for it, and its part is computed.
TEST(Pool, AStoppedWorkerStopsNobody) {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n"));
  b.input("x", 1, {n}, b.mul(n, b.constant(4)));
  uint32_t y = b.output("y", 7, {n}, b.mul(n, b.constant(8)));
  b.launch(KernelSelf, {y}, {}, n, 1);
  Linked linked(b);
  Session session(linked.open(), Options().threads(2));
  Array<float> x({2});
  int64_t self = static_cast<int64_t>(pthread_self()), worker = self;
  while (worker == self) // until it is the worker that computes its part
    worker = elements<int64_t>(session.run({x})[0])[1];

  static std::atomic<bool> stopped, goOn;
  stopped = goOn = false;
  struct sigaction action = {}, before;
  action.sa_handler = [](int) {
    for (stopped = true; !goOn;)
      sched_yield();
  };
  sigaction(SIGTRAP, &action, &before);
  pthread_kill(static_cast<pthread_t>(worker), SIGTRAP);
  while (!stopped)
    sched_yield();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(elements<int64_t>(session.run({x})[0]), std::vector<int64_t>(2, self));
  goOn = true;
  bool returned = false;
  for (int i = 0; i < 100000 && !returned; ++i)
    returned = elements<int64_t>(session.run({x})[0])[1] == worker;
  EXPECT_TRUE(returned);
  sigaction(SIGTRAP, &before, nullptr);
}

TEST(Pool, AWorkerThatIsLateIsLeftOutForAWhile) {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), bytes = b.mul(n, b.constant(4));
  b.input("x", 1, {n}, bytes);
  uint32_t naps = b.output("naps", 6, {n}, bytes), who = b.output("who", 6, {n}, bytes);
  uint32_t scratch = b.buffer(NNOPT_B_SCRATCH, b.constant(8), 0, 0, 1000, 8);
  b.launch(KernelNap, {naps}, {}, n, 1);
  b.launch(KernelWho, {who, scratch}, {}, n, 1);
  Linked linked(b);
  Session session(linked.open(), Options().threads(2));
  Array<float> x({2});
  // Unless the caller is so late itself that the worker's time is over before the second launch.
  bool leftOut = false;
  for (int i = 0; i < 10 && !leftOut; ++i) {
    std::vector<Tensor> results = session.run({x});
    leftOut = elements<int32_t>(results[0])[1] == 1 && elements<int32_t>(results[1])[1] == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(300)); // longer than any worker is left out
  }
  EXPECT_TRUE(leftOut);
  bool returned = false;
  for (int i = 0; i < 10 && !returned; ++i) {
    returned = elements<int32_t>(session.run({x})[0])[1] == 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  EXPECT_TRUE(returned);
}

TEST(Pool, CallerSuppliedParallelFor) {
  std::atomic<int> calls{0};
  Options options;
  options.num_threads = 3;
  options.parallel_context = &calls;
  options.parallel_for = [](void *context, int32_t parts, void (*task)(void *, int32_t),
                            void *argument) {
    static_cast<std::atomic<int> *>(context)->fetch_add(1);
    std::vector<std::thread> threads;
    for (int32_t i = parts - 1; i >= 0; --i)
      threads.emplace_back(task, argument, i);
    for (std::thread &t : threads)
      t.join();
  };
  Linked linked(whoModel(10));
  Session session(linked.open(), options);
  EXPECT_EQ(elements<int32_t>(session.run({Array<float>({9})})[0]).back(), 0);
  EXPECT_EQ(calls, 0); // too small to be split
  EXPECT_EQ(elements<int32_t>(session.run({Array<float>({90})})[0]).back(), 2);
  EXPECT_EQ(calls, 1);
}

TEST(Sessions, TwoModelsInFourThreads) {
  Linked affineLinked(affineModel()), positives(positivesModel());
  Model a = affineLinked.open(), p = positives.open();
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Session session(t % 2 ? p : a, Options().threads(2));
      for (int i = 0; i < 500; ++i) {
        int64_t n = 1 + (i * 7 + t) % 90;
        if (t % 2) {
          Array<float> x = counting({n});
          x[0] = static_cast<float>(i % 2);
          failures += session.run({x})[1].size() != n - 1 + i % 2;
        } else {
          Array<float> x = counting({n, 3});
          failures += elements<float>(session.run({x})[0]) != affine(elements(x));
        }
      }
    });
  for (std::thread &t : threads)
    t.join();
  EXPECT_EQ(failures, 0);
}

TEST(Sessions, UseFromTwoThreadsIsRefused) {
  Linked linked(whoModel(1));
  // parallel_for runs in the middle of a run: a second run of the same session must fail there.
  struct Probe {
    nnopt_session *session = nullptr;
    int code = 0;
  } probe;
  Options options;
  options.num_threads = 2;
  options.parallel_context = &probe;
  options.parallel_for = [](void *context, int32_t parts, void (*task)(void *, int32_t),
                            void *argument) {
    auto *p = static_cast<Probe *>(context);
    p->code = nnopt_session_run(p->session, nullptr, 0, nullptr, 0, nullptr);
    for (int32_t i = 0; i < parts; ++i)
      task(argument, i);
  };
  Session session(linked.open(), options);
  probe.session = session.get();
  session.run({Array<float>({9})});
  EXPECT_EQ(probe.code, NNOPT_INVALID);
}

} // namespace
