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
 * A worker that loses its CPU in the middle of a part does hold the launch up. Then others use the
 * machine, and it will happen again: the worker is left out for as long as that took, and twice as
 * long each time it happens soon again. Launches have a part less meanwhile.
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

enum {
  StallNs = 1000000,      /* a worker that is so much later than the caller, */
  StallShare = 2,         /* and by half of the time of the caller's part, has lost its CPU */
  MostLeftOutNs = 200000000,
  SoonAgain = 8           /* times as long as it was left out: it should have been longer */
};

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
  /* The caller's: its copy of sequence; whether the worker is left out; until when it is, or was last; for how long. */
  _Alignas(64) unsigned handed;
  bool out;
  int64_t out_until, out_for;
} worker;
_Static_assert(offsetof(worker, taken) == 64, "a launch reads one cache line");

struct nni_pool {
  nnopt_options options;
  worker *workers;
  int worker_count;
  int left_out; /* workers that are */
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

/* A clock for comparisons: cheaper than now(), in units of its own. */
static inline uint64_t ticks(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t t;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
  return t;
#else
  return (uint64_t)now();
#endif
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
  pool->left_out = 0;
  for (int i = 0; i < pool->worker_count && !failed; ++i) {
    worker *w = &pool->workers[i];
    memset(w, 0, sizeof *w);
    w->pool = pool;
    failed = pthread_create(&w->thread, NULL, workerMain, w);
    if (failed)
      break;
    w->started = true;
    char name[24];
    snprintf(name, sizeof name, "nnopt/%d", i + 1);
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

/* Chooses up to `most` workers that are not left out, and takes those in again whose time is over. */
static int chooseWorkers(nni_pool *pool, int most, worker **chosen) {
  int64_t time = pool->left_out ? now() : 0;
  int count = 0;
  for (int i = 0; i < pool->worker_count && count < most; ++i) {
    worker *w = &pool->workers[i];
    if (w->out && w->out_until <= time) {
      w->out = false;
      --pool->left_out;
    }
    if (!w->out)
      chosen[count++] = w;
  }
  return count;
}

/* A worker let the caller wait for `stall` ns, until `time`. */
static void leaveOut(nni_pool *pool, worker *w, int64_t stall, int64_t time) {
  bool again = w->out_for && time - w->out_until < SoonAgain * w->out_for;
  w->out_for = again ? 2 * w->out_for : stall;
  if (w->out_for > MostLeftOutNs)
    w->out_for = MostLeftOutNs;
  w->out_until = time + w->out_for;
  w->out = true;
  ++pool->left_out;
}

/* Waits for a worker that has begun. `own`: ticks that the caller's part took. */
static void awaitDone(nni_pool *pool, worker *w, uint64_t own) {
  uint64_t begin = ticks();
  int64_t since = 0;
  for (unsigned spins = 0; atomic_load_explicit(&w->done, memory_order_acquire) != w->handed; ++spins) {
    if (spins == 2050)
      since = now();
    /* A worker that is not done after a while may wait for this very CPU: let it in. */
    if (spins >= 2050)
      sched_yield();
    else if (spins >= 2000)
      relax();
  }
  if (!since)
    return;
  int64_t time = now();
  if (time - since > StallNs && ticks() - begin > own / StallShare)
    leaveOut(pool, w, time - since, time);
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
  worker *chosen[parts];
  int count = chooseWorkers(pool, parts - 1, chosen);
  j.parts = count + 1;
  uint64_t begin = ticks();
  for (int i = 0; i < count; ++i) {
    chosen[i]->job = j;
    chosen[i]->part = i + 1;
    signalWorker(chosen[i]);
  }
  runPart(&j, 0);
  uint64_t own = ticks() - begin;
  for (int i = 0; i < count; ++i) {
    if (atomic_load_explicit(&chosen[i]->taken, memory_order_relaxed) != chosen[i]->handed)
      takePart(chosen[i], chosen[i]->handed);
    awaitDone(pool, chosen[i], own);
  }
}
