// Preloaded into the real binary: fails calls that change the disk, also those of RocksDB, SQLite and DuckDB, while the
// file that FAILING_CALLS names holds one line
//
//     ERRNO CALLS PATH FIRST COUNT
//
// CALLS: of write, sync, open, rename, remove, link, truncate, separated by commas; PATH: a text that the file's path
// holds; of each process's calls like that, from FIRST on COUNT fail.  The file FAILING_CALLS.failed has a byte for each
// that did.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long passed;
static atomic_ulong last_rule;

static int must_fail(const char* call, const char* path) {
  const char* rules = getenv("FAILING_CALLS");
  if (rules == NULL || path == NULL) return 0;
  const int kept = errno;
  int failing = 0;
  char text[512];
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    const ssize_t got = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    int error = 0;
    long first = 0, count = 0;
    char calls[128], part[256];
    if (got > 0) {
      text[got] = 0;
      unsigned long rule = 5381;
      for (const char* at = text; *at; ++at) rule = rule * 33 + (unsigned char)*at;
      if (sscanf(text, "%d %127s %255s %ld %ld", &error, calls, part, &first, &count) == 5 &&
          strstr(calls, call) != NULL && strstr(path, part) != NULL) {
        if (atomic_exchange(&last_rule, rule) != rule) atomic_store(&passed, 0);
        const long passage = atomic_fetch_add(&passed, 1) + 1;
        if (passage >= first && passage < first + count) failing = error;
      }
    }
  }
  if (failing) {
    snprintf(text, sizeof text, "%s.failed", rules);
    const int count = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    syscall(SYS_write, count, ".", 1);
    syscall(SYS_close, count);
  }
  errno = failing ? failing : kept;
  return failing;
}

static int must_fail_on(const char* call, int fd) {
  if (getenv("FAILING_CALLS") == NULL) return 0;
  char name[64], path[1024];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  const ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
  if (size <= 0 || path[0] != '/') return 0;
  path[size] = 0;
  return must_fail(call, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FD(call, result, name, arguments, values)       \
  result name arguments {                                  \
    static __typeof__(&name) next;                         \
    if (next == NULL) next = NEXT(name);                   \
    return must_fail_on(call, fd) ? (result)-1 : next values; \
  }
#define ON_PATH(call, name, arguments, values, path)       \
  int name arguments {                                     \
    static __typeof__(&name) next;                         \
    if (next == NULL) next = NEXT(name);                   \
    return must_fail(call, path) ? -1 : next values;       \
  }

ON_FD("write", ssize_t, write, (int fd, const void* from, size_t size), (fd, from, size))
ON_FD("write", ssize_t, pwrite, (int fd, const void* from, size_t size, off_t at), (fd, from, size, at))
ON_FD("write", ssize_t, pwrite64, (int fd, const void* from, size_t size, off64_t at), (fd, from, size, at))
ON_FD("write", ssize_t, writev, (int fd, const struct iovec* from, int count), (fd, from, count))
ON_FD("write", ssize_t, pwritev, (int fd, const struct iovec* from, int count, off_t at), (fd, from, count, at))
ON_FD("write", ssize_t, pwritev64, (int fd, const struct iovec* from, int count, off64_t at), (fd, from, count, at))
ON_FD("write", int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ON_FD("sync", int, fsync, (int fd), (fd))
ON_FD("sync", int, fdatasync, (int fd), (fd))
ON_FD("truncate", int, ftruncate, (int fd, off_t size), (fd, size))
ON_FD("truncate", int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_PATH("rename", rename, (const char* from, const char* to), (from, to), to)
ON_PATH("link", link, (const char* from, const char* to), (from, to), to)
ON_PATH("remove", unlink, (const char* path), (path), path)

#define OPEN(name)                                                                         \
  int name(const char* path, int flags, ...) {                                             \
    static __typeof__(&name) next;                                                         \
    if (next == NULL) next = NEXT(name);                                                   \
    va_list more;                                                                          \
    va_start(more, flags);                                                                 \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;        \
    va_end(more);                                                                          \
    if ((flags & (O_WRONLY | O_RDWR)) && must_fail("open", path)) return -1;               \
    return next(path, flags, mode);                                                        \
  }
OPEN(open)
OPEN(open64)
