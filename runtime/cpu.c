/*===- cpu.c - instruction sets and number of threads ---------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

static uint32_t detect(void) {
  uint32_t a, b, c, d, features = NNOPT_CPU_X86_64;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return features;
  uint32_t leaf1 = c;
  uint32_t v2 = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23; /* SSE3 ... POPCNT */
  if ((leaf1 & v2) == v2)
    features |= NNOPT_CPU_X86_64_V2;
  if (!(leaf1 >> 27 & 1))
    return features; /* OSXSAVE */
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6)
    return features; /* the system does not save ymm */
  uint32_t b7 = 0, c7 = 0, d7 = 0, a71 = 0, lzcnt = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    b7 = b, c7 = c, d7 = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
      a71 = a;
  }
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
    lzcnt = c >> 5 & 1;
  /* x86-64-v3: FMA, MOVBE, AVX, F16C; AVX2, BMI1, BMI2; LZCNT. */
  uint32_t v3 = 1u << 12 | 1u << 22 | 1u << 28 | 1u << 29, v3b = 1u << 3 | 1u << 5 | 1u << 8;
  if ((leaf1 & v3) != v3 || (b7 & v3b) != v3b || !lzcnt)
    return features;
  features |= NNOPT_CPU_AVX2_FMA;
  if (a71 >> 4 & 1)
    features |= NNOPT_CPU_AVX_VNNI;
  /* x86-64-v4: AVX512 F, DQ, CD, BW, VL, with opmask and zmm state saved. */
  uint32_t v4 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
  if ((low & 0xe6) != 0xe6 || (b7 & v4) != v4)
    return features;
  features |= NNOPT_CPU_AVX512;
  if (c7 >> 1 & 1)
    features |= NNOPT_CPU_AVX512_VBMI;
  if (c7 >> 11 & 1)
    features |= NNOPT_CPU_AVX512_VNNI;
  if (a71 >> 5 & 1)
    features |= NNOPT_CPU_AVX512_BF16;
  if (d7 >> 23 & 1)
    features |= NNOPT_CPU_AVX512_FP16;
  /* AMX: tile, int8, bf16, and tile state saved. */
  uint32_t amx = 1u << 22 | 1u << 24 | 1u << 25;
  if ((low & 0x60000) == 0x60000 && (d7 & amx) == amx)
    features |= NNOPT_CPU_AMX;
  return features;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
static uint32_t detect(void) {
  uint32_t features = NNOPT_CPU_AARCH64;
  if (getauxval(AT_HWCAP) >> 20 & 1)
    features |= NNOPT_CPU_ARM_DOTPROD; /* HWCAP_ASIMDDP */
  return features;
}
#else
static uint32_t detect(void) { return 0; }
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t host_features;
static char host_names[256];

static void initialize(void) {
  host_features = detect();
  nni_cpu_names(host_features, host_names, sizeof host_names);
}

uint32_t nni_cpu_features(void) {
  pthread_once(&once, initialize);
  return host_features;
}

const char *nnopt_host_cpu(void) {
  pthread_once(&once, initialize);
  return host_names;
}

const char *nni_cpu_names(uint32_t features, char *text, size_t size) {
  static const struct {
    uint32_t bit;
    const char *name;
  } names[] = {{NNOPT_CPU_X86_64, "x86-64"},           {NNOPT_CPU_X86_64_V2, "x86-64-v2"},
               {NNOPT_CPU_AVX2_FMA, "x86-64-v3"},      {NNOPT_CPU_AVX512, "x86-64-v4"},
               {NNOPT_CPU_AVX_VNNI, "avx-vnni"},       {NNOPT_CPU_AVX512_VBMI, "avx512-vbmi"},
               {NNOPT_CPU_AVX512_VNNI, "avx512-vnni"}, {NNOPT_CPU_AVX512_BF16, "avx512-bf16"},
               {NNOPT_CPU_AVX512_FP16, "avx512-fp16"}, {NNOPT_CPU_AMX, "amx"},
               {NNOPT_CPU_AARCH64, "aarch64"},         {NNOPT_CPU_ARM_DOTPROD, "dotprod"}};
  size_t used = 0;
  text[0] = 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
    if (!(features & names[i].bit) || used >= size)
      continue;
    features &= ~names[i].bit;
    used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", names[i].name);
  }
  if (features && used < size)
    snprintf(text + used, size - used, "%sunknown", used ? " " : "");
  return text;
}

/* Asks the system for features that have to be requested (AMX); false if refused. */
static bool enable(uint32_t features) {
  if (!(features & NNOPT_CPU_AMX))
    return true;
#if defined(__x86_64__) && defined(SYS_arch_prctl)
  return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
#else
  return false;
#endif
}

int nni_cpu_require(const char *where, uint32_t features, nnopt_error *error) {
  uint32_t missing = features & ~nni_cpu_features();
  char names[256];
  if (missing)
    return nni_fail(error, NNOPT_INVALID,
                    "%s: needs a CPU with %s, this one has %s; compile with --target=native here",
                    where, nni_cpu_names(missing, names, sizeof names), nnopt_host_cpu());
  if (!enable(features))
    return nni_fail(
        error, NNOPT_INVALID,
        "%s: needs %s, which the system does not let this process use; compile for another "
        "target",
        where, nni_cpu_names(features, names, sizeof names));
  return NNOPT_OK;
}

/* First line of a small file; false if there is none. */
static bool readLine(const char *path, char *line, int size) {
  FILE *file = fopen(path, "re");
  if (!file)
    return false;
  bool ok = fgets(line, size, file) != NULL;
  fclose(file);
  return ok;
}

/* Path of this process's cgroup for a controller ("" for version 2), or false. */
static bool cgroupPath(const char *controller, char *path, size_t size) {
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (!file)
    return false;
  char line[1024];
  bool found = false;
  while (!found && fgets(line, sizeof line, file)) {
    char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
    if (!second)
      continue;
    *second = 0;
    char *names = first + 1;
    bool match = !*controller && !*names;
    for (char *save = NULL, *name = strtok_r(names, ",", &save); name && !match;
         name = strtok_r(NULL, ",", &save))
      match = *controller && strcmp(name, controller) == 0;
    if (!match)
      continue;
    second[1 + strcspn(second + 1, "\n")] = 0;
    snprintf(path, size, "%s", second + 1);
    found = true;
  }
  fclose(file);
  return found;
}

/* Smallest CPU quota of the control groups that this process is in, in CPUs; 0 if there is none. */
static int cgroupQuota(void) {
  char group[512], file[1024], line[128];
  double best = 0;
  for (int version = 1; version <= 2; ++version) {
    if (!cgroupPath(version == 2 ? "" : "cpu", group, sizeof group))
      continue;
    /* Inside a container the mount shows the container's own group at its root: walk up to it. */
    for (;;) {
      double quota = -1, period = 100000;
      if (version == 2) {
        snprintf(file, sizeof file, "/sys/fs/cgroup%s/cpu.max", group);
        if (readLine(file, line, sizeof line)) {
          if (sscanf(line, "%lf %lf", &quota, &period) < 1)
            quota = -1;
        }
      } else {
        snprintf(file, sizeof file, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", group);
        if (readLine(file, line, sizeof line))
          quota = atof(line);
        snprintf(file, sizeof file, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", group);
        if (readLine(file, line, sizeof line))
          period = atof(line);
      }
      if (quota > 0 && period > 0 && (best == 0 || quota / period < best))
        best = quota / period;
      char *slash = strrchr(group, '/');
      if (!slash || !*group)
        break;
      *slash = 0;
    }
  }
  if (best <= 0 || best > 4096)
    return 0;
  int cpus = (int)best;
  return cpus < best ? cpus + 1 : cpus;
}

int nni_default_threads(void) {
  int cpus = 0;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    cpus = CPU_COUNT(&set);
  if (cpus <= 0)
    cpus = (int)sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than cpu_set_t holds */
  int quota = cgroupQuota();
  if (quota > 0 && quota < cpus)
    cpus = quota;
  return cpus > 0 ? cpus : 1;
}

int32_t nnopt_default_threads(void) { return nni_default_threads(); }
