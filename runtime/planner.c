/*===- planner.c - placing buffers in one arena ---------------------------------===
 *
 * Offline dynamic storage allocation: each buffer has a size and a lifetime; buffers that are alive
 * together must not overlap. The problem is NP-hard; greedy placement at the best-fitting gap in a
 * good order comes close to the lower bound for neural networks. Several orders are tried, each again
 * and again with what was in the way moved forward; the smallest result wins, and the search ends
 * when one meets the lower bound. Nothing is allocated: everything lives in `work`.
 *===----------------------------------------------------------------------===*/
#include "internal.h"

typedef struct problem {
  uint32_t n;
  const int64_t *size;
  const uint32_t *first, *last, *align;
} problem;

/* About how many pairs of buffers are looked at to come closer to the lower bound. */
#define MOST_STEPS (1 << 21)

enum order { ORDER_SIZE, ORDER_AREA, ORDER_FIRST, ORDER_BY_FIRST, ORDER_BY_LAST };

/* Whether buffer a comes before b; ties go by number, so that results do not depend on the sort. */
static bool before(const problem *p, enum order order, int64_t a, int64_t b) {
  double x, y;
  switch (order) {
  case ORDER_SIZE:
    if (p->size[a] != p->size[b])
      return p->size[a] > p->size[b];
    break;
  case ORDER_AREA:
    x = (double)p->size[a] * (p->last[a] - p->first[a] + 1.0);
    y = (double)p->size[b] * (p->last[b] - p->first[b] + 1.0);
    if (x != y)
      return x > y;
    break;
  case ORDER_FIRST:
    if (p->first[a] != p->first[b])
      return p->first[a] < p->first[b];
    if (p->size[a] != p->size[b])
      return p->size[a] > p->size[b];
    break;
  case ORDER_BY_FIRST:
    if (p->first[a] != p->first[b])
      return p->first[a] < p->first[b];
    break;
  case ORDER_BY_LAST:
    if (p->last[a] != p->last[b])
      return p->last[a] < p->last[b];
    break;
  }
  return a < b;
}

/* Heapsort: in place, n log n always. */
static void sort(const problem *p, enum order order, int64_t *items, int64_t count) {
  for (int64_t heap = count / 2 - 1, end = count; end > 1;) {
    int64_t root;
    if (heap >= 0) {
      root = heap--;
    } else {
      --end;
      int64_t t = items[0];
      items[0] = items[end];
      items[end] = t;
      root = 0;
    }
    int64_t item = items[root];
    for (;;) {
      int64_t child = 2 * root + 1;
      if (child >= end)
        break;
      if (child + 1 < end && before(p, order, items[child], items[child + 1]))
        ++child;
      if (!before(p, order, item, items[child]))
        break;
      items[root] = items[child];
      root = child;
    }
    items[root] = item;
  }
}

/* Fills items with the buffers of size > 0. */
static int64_t collect(const problem *p, int64_t *items) {
  int64_t count = 0;
  for (uint32_t i = 0; i < p->n; ++i)
    if (p->size[i] > 0)
      items[count++] = i;
  return count;
}

static int64_t lowerBound(const problem *p, int64_t *starts, int64_t *ends) {
  int64_t count = collect(p, starts);
  collect(p, ends);
  sort(p, ORDER_BY_FIRST, starts, count);
  sort(p, ORDER_BY_LAST, ends, count);
  int64_t live = 0, best = 0;
  for (int64_t i = 0, dead = 0; i < count; ++i) {
    while (dead < count && p->last[ends[dead]] < p->first[starts[i]])
      live -= p->size[ends[dead++]];
    live += p->size[starts[i]];
    if (live > best)
      best = live;
  }
  return best;
}

static int64_t alignUp(int64_t value, uint32_t align) {
  return align > 1 ? (value + align - 1) / align * align : value;
}

/* Places the buffers in the given order; `placed` holds those done, sorted by offset. Gives up when
 * the arena gets as big as `limit`: `*failed` is the place in the order then. */
static int64_t place(const problem *p, const int64_t *items, int64_t count, int64_t *placed,
                     int64_t *offset, int64_t limit, int64_t *failed) {
  int64_t total = 0;
  for (int64_t n = 0; n < count; ++n) {
    *failed = n;
    int64_t item = items[n], size = p->size[item], cursor = 0, best = -1, bestGap = INT64_MAX;
    uint32_t first = p->first[item], last = p->last[item], align = p->align[item];
    for (int64_t k = 0; k < n; ++k) {
      int64_t other = placed[k];
      if (p->first[other] > last || p->last[other] < first)
        continue;
      int64_t gap = offset[other] - cursor;
      if (gap >= size && gap < bestGap) {
        best = cursor;
        bestGap = gap;
      }
      int64_t end = alignUp(offset[other] + p->size[other], align);
      if (end > cursor)
        cursor = end;
    }
    if (best < 0)
      best = cursor;
    offset[item] = best;
    if (best + size > total)
      total = best + size;
    if (total >= limit)
      return limit;
    int64_t k = n;
    for (; k > 0 && offset[placed[k - 1]] > best; --k)
      placed[k] = placed[k - 1];
    placed[k] = item;
  }
  return total;
}

int64_t nnopt_plan_memory(uint32_t n, const int64_t *size, const uint32_t *first,
                          const uint32_t *last, const uint32_t *align, int64_t *offset,
                          int64_t *work, int64_t *lower_bound) {
  problem p = {n, size, first, last, align};
  int64_t *items = work, *placed = work + n, *trial = work + 2 * (int64_t)n;
  /* Refuse sums that do not fit: the bytes of all buffers, each with its alignment. */
  int64_t sum = 0;
  for (uint32_t i = 0; i < n; ++i)
    if (size[i] > 0 && (__builtin_add_overflow(sum, size[i], &sum) ||
                        __builtin_add_overflow(sum, (int64_t)align[i] * 2, &sum)))
      return -1;
  int64_t bound = lowerBound(&p, items, placed), best = INT64_MAX, count = collect(&p, items), failed;
  if (lower_bound)
    *lower_bound = bound;
  /* From each of three orders, as long as that takes milliseconds: what did not fit below the best so far moves halfway to
   * the front. */
  int64_t rounds = 1 + (count ? MOST_STEPS / 3 / (count * count) : 0);
  if (rounds > 86)
    rounds = 86;
  for (int order = ORDER_SIZE; order <= ORDER_FIRST; ++order) {
    sort(&p, (enum order)order, items, count);
    for (int64_t round = 0; round < rounds && best != bound; ++round) {
      int64_t total = place(&p, items, count, placed, trial, best, &failed);
      if (total < best) {
        best = total;
        for (int64_t i = 0; i < count; ++i)
          offset[items[i]] = trial[items[i]];
        continue;
      }
      int64_t item = items[failed], to = failed / 2;
      for (int64_t i = failed; i > to; --i)
        items[i] = items[i - 1];
      items[to] = item;
    }
  }
  return best;
}
