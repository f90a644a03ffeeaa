/*===- threads.c - fork-join over a few worker threads --------------------------===
 *
 * A launch is split into contiguous parts, one a thread; the calling thread takes part 0. Each
 * worker has a mailbox: a sequence number that the caller increments to hand out a part, and one
 * that the worker sets when it is done, on cache lines of their own. Only workers that take part in
 * a launch are touched. A worker spins for a while after its last part (launches follow each other
 * within microseconds), then sleeps on a futex.
 *
 * A part belongs to who takes it first. A worker that has not begun when the caller is done with its
 * own part (the CPU is busy with something else, or waking up takes longer than the work) finds its
 * part taken: a launch waits for parts that somebody computes, never for a thread to be scheduled.
 *
 * Waiting starts with plain loads: a pause costs about as much as the whole hand-over, which is a
 * cache line each way. Pauses follow, then the CPU is offered to others.
 *
 * Sleeping is Dekker's handshake: the worker sets `sleeping`, then looks at the sequence number;
 * the caller sets the sequence number, then looks at `sleeping`. Both use sequentially consistent
 * accesses, so at least one of them sees the other.
 *===----------------------------------------------------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef struct job {
  nnopt_kernel_fn kernel;
  void *const *buffers;
  const int64_t *dims;
  int64_t tasks;
  int parts;
} job;

typedef struct worker {
  /* Written by the caller, read by the worker: all that a launch needs, in one cache line. */
  _Alignas(64) atomic_uint sequence;
  int part;
  job job;
  /* Written by who has the part: the number of the launch that was taken last, and of the last one that is done. */
  _Alignas(64) atomic_uint taken;
  atomic_uint done;
  atomic_uint sleeping;
  /* Written at the start only. */
  _Alignas(64) nni_pool *pool;
  pthread_t thread;
  bool started;
  /* The caller's copy of sequence. */
  _Alignas(64) unsigned handed;
} worker;
_Static_assert(offsetof(worker, taken) == 64, "a launch reads one cache line");

struct nni_pool {
  nnopt_options options;
  worker *workers;
  int worker_count;
  int64_t spin_ns;
  atomic_int stop;
  unsigned generation; /* of the process: counts forks */
};

/* Counts how often this process is a forked child of the one that started the pools. */
static atomic_uint forkGeneration;
static void afterForkInChild(void) { atomic_fetch_add(&forkGeneration, 1); }
static pthread_once_t forkOnce = PTHREAD_ONCE_INIT;
static void registerFork(void) { pthread_atfork(NULL, NULL, afterForkInChild); }

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futexWait(atomic_uint *word, unsigned value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void futexWake(atomic_uint *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void runPart(const job *j, int part) {
  int64_t begin = (int64_t)((__int128)j->tasks * part / j->parts);
  int64_t end = (int64_t)((__int128)j->tasks * (part + 1) / j->parts);
  j->kernel(j->buffers, j->dims, begin, end, part);
}

/* Runs a worker's part of launch `sequence` unless somebody else has taken it. The job may be read only once it is taken:
 * then the caller does not write the next one. */
static void takePart(worker *w, unsigned sequence) {
  unsigned before = sequence - 1;
  if (!atomic_compare_exchange_strong(&w->taken, &before, sequence))
    return;
  runPart(&w->job, w->part);
  atomic_store_explicit(&w->done, sequence, memory_order_release);
}

/* Waits until the sequence number differs from `seen`; returns it. */
static unsigned await(worker *w, unsigned seen) {
  unsigned sequence;
  for (int i = 0; i < 2000; ++i)
    if ((sequence = atomic_load_explicit(&w->sequence, memory_order_acquire)) != seen)
      return sequence;
  for (int64_t end = now() + w->pool->spin_ns; now() < end;) {
    for (int i = 0; i < 32; ++i) {
      if ((sequence = atomic_load_explicit(&w->sequence, memory_order_acquire)) != seen)
        return sequence;
      relax();
    }
    /* With more threads than CPUs, the thread that waits for us may wait for this CPU. */
    sched_yield();
  }
  atomic_store(&w->sleeping, 1);
  while ((sequence = atomic_load(&w->sequence)) == seen)
    futexWait(&w->sequence, seen);
  atomic_store(&w->sleeping, 0);
  return sequence;
}

static void *workerMain(void *argument) {
  worker *w = argument;
  nni_pool *pool = w->pool;
  for (unsigned seen = 0;;) {
    seen = await(w, seen);
    if (atomic_load_explicit(&pool->stop, memory_order_relaxed))
      return NULL;
    takePart(w, seen);
  }
}

/* Hands a worker the next sequence number and wakes it if it sleeps. */
static void signalWorker(worker *w) {
  atomic_store(&w->sequence, ++w->handed);
  if (atomic_load(&w->sleeping))
    futexWake(&w->sequence);
}

static int startWorkers(nni_pool *pool, nnopt_error *error) {
  /* Signals are for the threads of the program; but for those that an instruction of a worker itself raises. */
  sigset_t all, old;
  sigfillset(&all);
  static const int raised[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV};
  for (size_t i = 0; i < sizeof raised / sizeof *raised; ++i)
    sigdelset(&all, raised[i]);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int failed = 0;
  for (int i = 0; i < pool->worker_count && !failed; ++i) {
    worker *w = &pool->workers[i];
    memset(w, 0, sizeof *w);
    w->pool = pool;
    w->part = i + 1;
    failed = pthread_create(&w->thread, NULL, workerMain, w);
    if (failed)
      break;
    w->started = true;
    char name[16];
    snprintf(name, sizeof name, "nnopt/%d", w->part);
    pthread_setname_np(w->thread, name);
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pool->generation = atomic_load(&forkGeneration);
  if (!failed)
    return NNOPT_OK;
  return nni_fail(error, NNOPT_FAILED, "cannot start worker threads: %s; use a smaller num_threads",
                  strerror(failed));
}

static void stopWorkers(nni_pool *pool) {
  if (pool->generation != atomic_load(&forkGeneration))
    return; /* they are the parent's */
  atomic_store(&pool->stop, 1);
  for (int i = 0; i < pool->worker_count; ++i)
    if (pool->workers[i].started)
      signalWorker(&pool->workers[i]);
  for (int i = 0; i < pool->worker_count; ++i)
    if (pool->workers[i].started)
      pthread_join(pool->workers[i].thread, NULL);
}

nni_pool *nni_pool_create(const nnopt_options *options, int threads, nnopt_error *error) {
  pthread_once(&forkOnce, registerFork);
  void *memory = NULL, *workers = NULL;
  int count = options->parallel_for ? 0 : threads - 1;
  if (posix_memalign(&memory, 64, sizeof(nni_pool)) ||
      posix_memalign(&workers, 64, sizeof(worker) * (size_t)(count ? count : 1))) {
    free(memory);
    nni_fail(error, NNOPT_FAILED, "out of memory for %d threads", threads);
    return NULL;
  }
  nni_pool *pool = memory;
  memset(pool, 0, sizeof *pool);
  memset(workers, 0, sizeof(worker) * (size_t)(count ? count : 1));
  pool->options = *options;
  pool->workers = workers;
  pool->worker_count = count;
  pool->spin_ns = (options->spin_us < 0 ? 50 : (int64_t)options->spin_us) * 1000;
  if (startWorkers(pool, error)) {
    nni_pool_destroy(pool);
    return NULL;
  }
  return pool;
}

void nni_pool_destroy(nni_pool *pool) {
  if (!pool)
    return;
  stopWorkers(pool);
  free(pool->workers);
  free(pool);
}

int nni_pool_check(nni_pool *pool, nnopt_error *error) {
  if (pool->generation == atomic_load_explicit(&forkGeneration, memory_order_relaxed))
    return NNOPT_OK;
  return startWorkers(pool, error);
}

static void callbackTask(void *argument, int32_t part) {
  const job *j = argument;
  if (part >= 0 && part < j->parts)
    runPart(j, part);
}

void nni_pool_run(nni_pool *pool, nnopt_kernel_fn kernel, void *const *buffers, const int64_t *dims,
                  int64_t tasks, int parts) {
  job j = {kernel, buffers, dims, tasks, parts};
  if (pool->options.parallel_for) {
    pool->options.parallel_for(pool->options.parallel_context, parts, callbackTask, &j);
    return;
  }
  for (int i = 0; i < parts - 1; ++i) {
    pool->workers[i].job = j;
    signalWorker(&pool->workers[i]);
  }
  runPart(&j, 0);
  for (int i = 0; i < parts - 1; ++i) {
    worker *w = &pool->workers[i];
    if (atomic_load_explicit(&w->taken, memory_order_relaxed) != w->handed)
      takePart(w, w->handed);
    /* A worker that is not done after a while may wait for this very CPU: let it in. */
    for (unsigned spins = 0; atomic_load_explicit(&w->done, memory_order_acquire) != w->handed;
         ++spins) {
      if (spins >= 2050)
        sched_yield();
      else if (spins >= 2000)
        relax();
    }
  }
}
