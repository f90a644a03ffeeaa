/*===- artifact.c - opening artifact files --------------------------------------===
 *
 * A file is read and checked completely (but for the weights, of which the place is checked) before
 * the dynamic linker sees it: a truncated or foreign file must give a message, not a crash.
 *===----------------------------------------------------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Libraries that are open ---------------------------------------------------------------- */

/* The dynamic linker takes a file whose *name* it knows for the one that it has loaded, even if
 * another file has been renamed over it since. So the open ones are remembered with their identity,
 * and a new file under a known name is opened by another spelling of its path. */
typedef struct library {
  struct library *next;
  dev_t device;
  ino_t inode;
  struct timespec modified;
  void *handle;
  int references;
  char path[];
} library;

static library *libraries;
static unsigned spellings;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }
static void registerFork(void) { pthread_atfork(lock, unlock, unlock); }

/* "/dir/" + a number written with "./" and "/" + "name": the same file, another name. */
static void spell(const char *path, unsigned number, char *text) {
  const char *name = strrchr(path, '/') + 1;
  char *out = text + (name - path);
  memcpy(text, path, (size_t)(name - path));
  for (; number; number /= 2) {
    if (number % 2)
      *out++ = '.';
    *out++ = '/';
  }
  strcpy(out, name);
}

/* Loads the file that was checked; `path` is absolute. */
static library *load(const char *path, const struct stat *status, nnopt_error *error) {
  bool clash = false;
  for (library *l = libraries; l; l = l->next) {
    if (strcmp(l->path, path))
      continue;
    if (l->device == status->st_dev && l->inode == status->st_ino &&
        l->modified.tv_sec == status->st_mtim.tv_sec &&
        l->modified.tv_nsec == status->st_mtim.tv_nsec) {
      ++l->references;
      return l;
    }
    clash = true;
  }
  size_t length = strlen(path);
  library *l = malloc(sizeof *l + length + 1);
  char *spelled = malloc(length + 80);
  if (!l || !spelled) {
    nni_fail(error, NNOPT_FAILED, "%s: out of memory", path);
    free(l);
    free(spelled);
    return NULL;
  }
  spell(path, clash ? ++spellings : 0, spelled);
  l->handle = dlopen(spelled, RTLD_NOW | RTLD_LOCAL);
  free(spelled);
  if (!l->handle) {
    const char *reason = dlerror();
    nni_fail(error, NNOPT_INVALID, "%s: cannot be loaded: %s", path,
             reason ? reason : "unknown reason");
    free(l);
    return NULL;
  }
  memcpy(l->path, path, length + 1);
  l->device = status->st_dev;
  l->inode = status->st_ino;
  l->modified = status->st_mtim;
  l->references = 1;
  l->next = libraries;
  libraries = l;
  return l;
}

static void unload(library *l) {
  lock();
  if (--l->references == 0) {
    library **link = &libraries;
    while (*link != l)
      link = &(*link)->next;
    *link = l->next;
    dlclose(l->handle);
    free(l);
  }
  unlock();
}

/* ---- Reading -------------------------------------------------------------------------------- */

static bool readAt(int file, void *data, size_t size, uint64_t offset) {
  for (char *p = data; size;) {
    ssize_t n = pread(file, p, size, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    p += n;
    size -= (size_t)n;
    offset += (uint64_t)n;
  }
  return true;
}

/* nnopt_checksum of the first `size` bytes of a file, a piece at a time. */
static bool checksumFile(int file, uint64_t size, uint64_t *checksum) {
  enum { Piece = 1 << 18 };
  char *piece = malloc(Piece);
  if (!piece)
    return false;
  uint64_t hash = 1469598103934665603ull;
  bool ok = true;
  for (uint64_t at = 0; ok && at < size; at += Piece) {
    size_t n = size - at < Piece ? (size_t)(size - at) : Piece;
    ok = readAt(file, piece, n, at);
    memset(piece + n, 0, n % 8 ? 8 - n % 8 : 0); /* pieces are multiples of 8, so this fits */
    for (size_t i = 0; ok && i < n; i += 8) {
      uint64_t word;
      memcpy(&word, piece + i, 8);
      hash = (hash ^ word) * 1099511628211ull;
    }
  }
  free(piece);
  *checksum = hash;
  return ok;
}

static const char *machineName(unsigned machine) {
  switch (machine) {
  case EM_X86_64:
    return "x86-64";
  case EM_AARCH64:
    return "aarch64";
  case EM_386:
    return "i386";
  case EM_ARM:
    return "arm";
  case EM_RISCV:
    return "riscv";
  case EM_PPC64:
    return "ppc64";
  case EM_S390:
    return "s390";
  }
  return "an unknown machine";
}

#if defined(__x86_64__)
enum { HostMachine = EM_X86_64 };
#elif defined(__aarch64__)
enum { HostMachine = EM_AARCH64 };
#else
enum { HostMachine = EM_NONE };
#endif

/* Checks the ELF header and that all segments lie inside the ELF part. */
static int checkElf(int file, const char *path, uint64_t size, nnopt_error *error) {
  Elf64_Ehdr header;
  if (size < sizeof header || !readAt(file, &header, sizeof header, 0) ||
      memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB)
    return nni_fail(
        error, NNOPT_INVALID,
        "%s: damaged: the file does not start with a 64-bit ELF header; compile it again", path);
  if (header.e_machine != HostMachine)
    return nni_fail(error, NNOPT_INVALID,
                    "%s: made for %s, this machine is %s; compile with --target=native here", path,
                    machineName(header.e_machine), machineName(HostMachine));
  if (header.e_type != ET_DYN || header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > 256 ||
      header.e_phoff > size || header.e_phnum * sizeof(Elf64_Phdr) > size - header.e_phoff)
    return nni_fail(error, NNOPT_INVALID, "%s: damaged ELF header; compile it again", path);
  bool loads = false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!readAt(file, &segment, sizeof segment, header.e_phoff + i * sizeof segment))
      return nni_fail(error, NNOPT_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    if (segment.p_type == PT_LOAD)
      loads = true;
    if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset)
      return nni_fail(error, NNOPT_INVALID,
                      "%s: damaged: a segment is outside the file; compile it again", path);
  }
  if (!loads)
    return nni_fail(error, NNOPT_INVALID, "%s: damaged: no segments; compile it again", path);
  return NNOPT_OK;
}

/* Reads and checks the trailer against the file. */
static int checkTrailer(int file, const char *path, uint64_t fileSize, nnopt_trailer *trailer,
                        nnopt_error *error) {
  char magic[SELFMAG] = {0};
  bool elf =
      fileSize >= SELFMAG && readAt(file, magic, SELFMAG, 0) && !memcmp(magic, ELFMAG, SELFMAG);
  if (fileSize < sizeof *trailer ||
      !readAt(file, trailer, sizeof *trailer, fileSize - sizeof *trailer) ||
      memcmp(trailer->magic, NNOPT_TRAILER_MAGIC, sizeof trailer->magic))
    return nni_fail(error, NNOPT_INVALID,
                    elf ? "%s: truncated, or a shared object that nnopt-compile did not make"
                        : "%s: not an artifact of nnopt-compile",
                    path);
  if (trailer->format_version != NNOPT_FORMAT_VERSION)
    return nni_fail(
        error, NNOPT_INVALID,
        "%s: format version %u, this library reads version %u; compile the model again with "
        "the same release as this library",
        path, trailer->format_version, NNOPT_FORMAT_VERSION);
  uint64_t body = fileSize - sizeof *trailer;
  uint64_t stored = trailer->encoded_size ? trailer->encoded_size : trailer->weights_size;
  uint64_t padded = (trailer->elf_size + NNOPT_PAGE - 1) / NNOPT_PAGE * NNOPT_PAGE;
  if (trailer->file_size != fileSize)
    return nni_fail(error, NNOPT_INVALID, "%s: truncated or extended: %llu bytes, expected %llu",
                    path, (unsigned long long)fileSize, (unsigned long long)trailer->file_size);
  if (trailer->elf_size > body || trailer->weights_offset > body ||
      trailer->weights_offset != padded || stored > body - trailer->weights_offset ||
      body - trailer->weights_offset - stored >= NNOPT_PAGE)
    return nni_fail(error, NNOPT_INVALID,
                    "%s: damaged: its parts do not fit its size; compile it again", path);
  return NNOPT_OK;
}

/* Vector loads of kernels may touch this many bytes behind the last weight. */
enum { WeightSlack = 64 };

/* Memory for `size` bytes of weights. */
static int reserveWeights(nni_artifact *artifact, const char *path, uint64_t size,
                          const nnopt_options *options, nnopt_error *error) {
  if (!nni_reserve(options, &artifact->copy, size + WeightSlack, 4096, 0))
    return nni_fail(error, NNOPT_FAILED, "%s: out of memory for %llu bytes of weights", path,
                    (unsigned long long)size);
  memset(artifact->copy.data + size, 0, WeightSlack);
  artifact->weights = (const uint8_t *)artifact->copy.data;
  return NNOPT_OK;
}

/* Decodes `encoded` bytes at `offset` to `size` bytes of weights. */
static int decodeWeights(nni_artifact *artifact, int file, const char *path, uint64_t offset,
                         uint64_t encoded, uint64_t size, const nnopt_options *options,
                         nnopt_error *error) {
  typedef struct buffers {
    nni_decode_memory memory;
    uint8_t streams[NNOPT_BLOCK_STREAMS];
  } buffers;
  artifact->weights_size = size;
  /* A block has more than its header: a size that these cannot add up to is not worth the memory. */
  if (encoded / sizeof(nnopt_encoded_block) < size / NNOPT_BLOCK_SIZE)
    return nni_fail(error, NNOPT_INVALID, "%s: absurd size of weights", path);
  int code = reserveWeights(artifact, path, size, options, error);
  if (code)
    return code;
  buffers *b = malloc(sizeof *b);
  if (!b)
    return nni_fail(error, NNOPT_FAILED, "%s: out of memory", path);
  uint64_t from = 0, to = 0;
  bool fits = true, read = true;
  while (fits && to < size) {
    nnopt_encoded_block block;
    fits = encoded - from >= sizeof block;
    if (!fits || !(read = readAt(file, &block, sizeof block, offset + from)))
      break;
    from += sizeof block;
    fits = block.size && block.size <= size - to && block.streams <= sizeof b->streams &&
           block.streams <= encoded - from;
    if (!fits || !(read = readAt(file, b->streams, block.streams, offset + from)))
      break;
    fits = nni_decode_block(&block, b->streams, (uint8_t *)artifact->copy.data + to, &b->memory);
    from += block.streams;
    to += block.size;
  }
  free(b);
  if (!read)
    return nni_fail(error, NNOPT_FAILED, "%s: weights cannot be read: %s", path, strerror(errno));
  if (!fits || from != encoded)
    return nni_fail(error, NNOPT_INVALID, "%s: damaged: weights cannot be decoded; compile it again", path);
  return NNOPT_OK;
}

/* Maps `size` bytes of weights at `offset`; copies them if asked to, or where a map would have no
 * memory behind them (the file has `behind` more bytes) or is not possible (64 KiB pages). */
static int openWeights(nni_artifact *artifact, int file, const char *path, uint64_t offset,
                       uint64_t size, uint64_t behind, const nnopt_options *options,
                       nnopt_error *error) {
  artifact->weights_size = size;
  if (size == 0)
    return NNOPT_OK;
  if (size > (uint64_t)1 << 46)
    return nni_fail(error, NNOPT_INVALID, "%s: absurd size of weights", path);
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), inPage = (page - size % page) % page;
  bool mappable = offset % page == 0 && (behind >= WeightSlack || inPage >= WeightSlack);
  if ((options->flags & NNOPT_COPY_WEIGHTS) || !mappable) {
    int code = reserveWeights(artifact, path, size, options, error);
    if (!code && !readAt(file, artifact->copy.data, size, offset))
      code = nni_fail(error, NNOPT_FAILED, "%s: weights cannot be read: %s", path, strerror(errno));
    return code;
  }
  artifact->map_size = size + (behind >= WeightSlack ? WeightSlack : 0);
  void *map = mmap(NULL, artifact->map_size, PROT_READ, MAP_PRIVATE, file, (off_t)offset);
  if (map == MAP_FAILED)
    return nni_fail(error, NNOPT_FAILED, "%s: weights cannot be mapped: %s", path, strerror(errno));
  madvise(map, artifact->map_size, MADV_WILLNEED);
  artifact->map = map;
  artifact->weights = map;
  return NNOPT_OK;
}

static int openFile(nni_artifact *artifact, int file, const char *path,
                    const nnopt_options *options, nnopt_error *error) {
  struct stat status;
  if (fstat(file, &status))
    return nni_fail(error, NNOPT_FAILED, "%s: cannot be read: %s", path, strerror(errno));
  if (!S_ISREG(status.st_mode))
    return nni_fail(error, NNOPT_INVALID, "%s: not a file", path);
  nnopt_trailer trailer;
  uint64_t checksum = 0;
  int code = checkTrailer(file, path, (uint64_t)status.st_size, &trailer, error);
  if (!code)
    code = checkElf(file, path, trailer.elf_size, error);
  if (code)
    return code;
  if (!checksumFile(file, trailer.elf_size, &checksum))
    return nni_fail(error, NNOPT_FAILED, "%s: cannot be read: %s", path, strerror(errno));
  if (checksum != trailer.elf_checksum)
    return nni_fail(error, NNOPT_INVALID,
                    "%s: damaged: the checksum does not match; compile it again", path);
  if ((code = nni_cpu_require(path, trailer.cpu_features, error)))
    return code;

  char *absolute = realpath(path, NULL);
  if (!absolute)
    return nni_fail(error, NNOPT_FAILED, "%s: cannot be found: %s", path, strerror(errno));
  pthread_once(&once, registerFork);
  lock();
  library *l = load(absolute, &status, error);
  unlock();
  free(absolute);
  if (!l)
    return NNOPT_INVALID;
  artifact->library = l;
  artifact->descriptor = dlsym(l->handle, NNOPT_DESCRIPTOR_SYMBOL);
  if (!artifact->descriptor)
    return nni_fail(error, NNOPT_INVALID, "%s: damaged: no symbol %s; compile it again", path,
                    NNOPT_DESCRIPTOR_SYMBOL);
  if (trailer.encoded_size)
    return decodeWeights(artifact, file, path, trailer.weights_offset, trailer.encoded_size,
                         trailer.weights_size, options, error);
  return openWeights(artifact, file, path, trailer.weights_offset, trailer.weights_size,
                     trailer.file_size - trailer.weights_offset - trailer.weights_size, options,
                     error);
}

static int openPath(const char *path, nnopt_error *error) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    nni_fail(error, errno == ENOENT || errno == EISDIR ? NNOPT_INVALID : NNOPT_FAILED,
             "%s: cannot be opened: %s", path, strerror(errno));
  return file;
}

int nni_artifact_open(nni_artifact *artifact, const char *path, const nnopt_options *options,
                      nnopt_error *error) {
  memset(artifact, 0, sizeof *artifact);
  nnopt_error own;
  if (!error)
    error = &own;
  int file = openPath(path, error);
  if (file < 0)
    return error->code;
  int code = openFile(artifact, file, path, options, error);
  close(file);
  if (code)
    nni_artifact_close(artifact, options);
  return code;
}

int nni_weights_open(nni_artifact *artifact, const char *path, const nnopt_options *options,
                     nnopt_error *error) {
  nnopt_error own;
  if (!error)
    error = &own;
  int file = openPath(path, error);
  if (file < 0)
    return error->code;
  struct stat status;
  int code;
  if (fstat(file, &status))
    code = nni_fail(error, NNOPT_FAILED, "%s: cannot be read: %s", path, strerror(errno));
  else if (!S_ISREG(status.st_mode))
    code = nni_fail(error, NNOPT_INVALID, "%s: not a file", path);
  else
    code = openWeights(artifact, file, path, 0, (uint64_t)status.st_size, 0, options, error);
  close(file);
  return code;
}

void nni_artifact_close(nni_artifact *artifact, const nnopt_options *options) {
  if (artifact->map)
    munmap(artifact->map, artifact->map_size);
  nni_release(options, &artifact->copy);
  if (artifact->library)
    unload(artifact->library);
  memset(artifact, 0, sizeof *artifact);
}
