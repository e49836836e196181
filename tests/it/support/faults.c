// Makes writes of the database fail: loaded before libc into a daemon under test.
//
// Of the calls that write or sync a file named aura.redb, as many in a thousand fail with EIO as the file `permille`
// in $AURA_TEST_FAULTS says; while there is no such file none does. Each failure adds a byte to the file `count`.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int open_beside(const char *name, int flags) {
  const char *dir = getenv("AURA_TEST_FAULTS");
  char path[4096];
  if (!dir || snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return -1;
  return open(path, flags, 0600);
}

static int fails(int fd) {
  static _Thread_local unsigned seed;
  char link[64], name[4096], text[16] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 10 || memcmp(name + length - 10, "/aura.redb", 10) != 0) return 0;
  int control = open_beside("permille", O_RDONLY);
  if (control < 0) return 0;
  ssize_t got = read(control, text, sizeof text - 1);
  close(control);
  if (got <= 0) return 0;
  if (!seed) seed = (unsigned)time(NULL) ^ (unsigned)getpid();
  if (rand_r(&seed) % 1000 >= atoi(text)) return 0;
  int count = open_beside("count", O_WRONLY | O_CREAT | O_APPEND);
  if (count >= 0) {
    if (write(count, "x", 1) != 1) abort();
    close(count);
  }
  errno = EIO;
  return 1;
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  if (fails(fd)) return -1;
  return NEXT(ssize_t (*)(int, const void *, size_t, off64_t), "pwrite64")(fd, bytes, length, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  if (fails(fd)) return -1;
  return NEXT(ssize_t (*)(int, const void *, size_t, off_t), "pwrite")(fd, bytes, length, at);
}
int fsync(int fd) { return fails(fd) ? -1 : NEXT(int (*)(int), "fsync")(fd); }
int fdatasync(int fd) { return fails(fd) ? -1 : NEXT(int (*)(int), "fdatasync")(fd); }
