/* The n-th call of the system that touches a folder, or a socket, fails: LD_PRELOAD it, then arm it from Python.

   gcc -shared -fPIC -O1 -o failing_calls.so failing_calls.c -ldl
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char prefix[PATH_MAX] = "";
static int sockets = 0, fails_at = 0, fails_with = EIO;
static volatile int counted = 0;
static char last[32] = "";

/* Fail the call number `at` that touches `where` (and sockets, if asked); 0 counts only. */
void failing_arm(const char *where, int at, int error, int also_sockets) {
    strncpy(prefix, where, sizeof prefix - 1);
    sockets = also_sockets; fails_with = error; counted = 0; last[0] = 0;
    fails_at = at;
}
int failing_count(void) { return counted; }
const char *failing_last(void) { return last; }
void failing_rest(void) { prefix[0] = 0; sockets = 0; fails_at = 0; }

static int fails(const char *call) {
    int number = __sync_add_and_fetch(&counted, 1);
    if (fails_at && number == fails_at) { strncpy(last, call, sizeof last - 1); errno = fails_with; return 1; }
    return 0;
}
static int of_path(const char *path, const char *call) {
    if (!prefix[0] || !path || strncmp(path, prefix, strlen(prefix))) return 0;
    return fails(call);
}
static int of_fd(int fd, const char *call) {
    char name[64], target[PATH_MAX]; ssize_t n; int saved = errno;
    if (!prefix[0] && !sockets) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    n = readlink(name, target, sizeof target - 1);
    errno = saved;
    if (n < 0) return 0;
    target[n] = 0;
    if (sockets && !strncmp(target, "socket:", 7)) return fails(call);
    return of_path(target, call);
}
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, #name)

#define OPEN(name) int name(const char *path, int flags, ...) { va_list a; va_start(a, flags); int mode = va_arg(a, int); \
    va_end(a); REAL(int, name, const char *, int, ...); return of_path(path, #name) ? -1 : real(path, flags, mode); }
OPEN(open) OPEN(open64)
#define OPENAT(name) int name(int dir, const char *path, int flags, ...) { va_list a; va_start(a, flags); \
    int mode = va_arg(a, int); va_end(a); REAL(int, name, int, const char *, int, ...); \
    return of_path(path, #name) ? -1 : real(dir, path, flags, mode); }
OPENAT(openat) OPENAT(openat64)
ssize_t write(int fd, const void *b, size_t n) { REAL(ssize_t, write, int fd, const void *b, size_t n); return of_fd(fd, "write") ? (ssize_t)-1 : real(fd, b, n); }
ssize_t read(int fd, void *b, size_t n) { REAL(ssize_t, read, int fd, void *b, size_t n); return of_fd(fd, "read") ? (ssize_t)-1 : real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(ssize_t, pwrite, int fd, const void *b, size_t n, off_t o); return of_fd(fd, "pwrite") ? (ssize_t)-1 : real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off_t o) { REAL(ssize_t, pwrite64, int fd, const void *b, size_t n, off_t o); return of_fd(fd, "pwrite64") ? (ssize_t)-1 : real(fd, b, n, o); }
ssize_t pread(int fd, void *b, size_t n, off_t o) { REAL(ssize_t, pread, int fd, void *b, size_t n, off_t o); return of_fd(fd, "pread") ? (ssize_t)-1 : real(fd, b, n, o); }
ssize_t pread64(int fd, void *b, size_t n, off_t o) { REAL(ssize_t, pread64, int fd, void *b, size_t n, off_t o); return of_fd(fd, "pread64") ? (ssize_t)-1 : real(fd, b, n, o); }
ssize_t writev(int fd, const struct iovec *b, int n) { REAL(ssize_t, writev, int fd, const struct iovec *b, int n); return of_fd(fd, "writev") ? (ssize_t)-1 : real(fd, b, n); }
int fsync(int fd) { REAL(int, fsync, int fd); return of_fd(fd, "fsync") ? (int)-1 : real(fd); }
int fdatasync(int fd) { REAL(int, fdatasync, int fd); return of_fd(fd, "fdatasync") ? (int)-1 : real(fd); }
int ftruncate(int fd, off_t n) { REAL(int, ftruncate, int fd, off_t n); return of_fd(fd, "ftruncate") ? (int)-1 : real(fd, n); }
int ftruncate64(int fd, off_t n) { REAL(int, ftruncate64, int fd, off_t n); return of_fd(fd, "ftruncate64") ? (int)-1 : real(fd, n); }
int fchmod(int fd, mode_t m) { REAL(int, fchmod, int fd, mode_t m); return of_fd(fd, "fchmod") ? (int)-1 : real(fd, m); }
int flock(int fd, int how) { REAL(int, flock, int fd, int how); return of_fd(fd, "flock") ? (int)-1 : real(fd, how); }
off_t lseek(int fd, off_t o, int w) { REAL(off_t, lseek, int fd, off_t o, int w); return of_fd(fd, "lseek") ? (off_t)-1 : real(fd, o, w); }
off_t lseek64(int fd, off_t o, int w) { REAL(off_t, lseek64, int fd, off_t o, int w); return of_fd(fd, "lseek64") ? (off_t)-1 : real(fd, o, w); }
int fstat(int fd, struct stat *s) { REAL(int, fstat, int fd, struct stat *s); return of_fd(fd, "fstat") ? (int)-1 : real(fd, s); }
int fstat64(int fd, struct stat64 *s) { REAL(int, fstat64, int fd, struct stat64 *s); return of_fd(fd, "fstat64") ? (int)-1 : real(fd, s); }
ssize_t send(int fd, const void *b, size_t n, int f) { REAL(ssize_t, send, int fd, const void *b, size_t n, int f); return of_fd(fd, "send") ? (ssize_t)-1 : real(fd, b, n, f); }
ssize_t recv(int fd, void *b, size_t n, int f) { REAL(ssize_t, recv, int fd, void *b, size_t n, int f); return of_fd(fd, "recv") ? (ssize_t)-1 : real(fd, b, n, f); }
int connect(int fd, const struct sockaddr *a, socklen_t n) { REAL(int, connect, int fd, const struct sockaddr *a, socklen_t n); return of_fd(fd, "connect") ? (int)-1 : real(fd, a, n); }
int stat(const char *path, struct stat *s) { REAL(int, stat, const char *path, struct stat *s); return of_path(path, "stat") ? (int)-1 : real(path, s); }
int stat64(const char *path, struct stat64 *s) { REAL(int, stat64, const char *path, struct stat64 *s); return of_path(path, "stat64") ? (int)-1 : real(path, s); }
int lstat(const char *path, struct stat *s) { REAL(int, lstat, const char *path, struct stat *s); return of_path(path, "lstat") ? (int)-1 : real(path, s); }
int lstat64(const char *path, struct stat64 *s) { REAL(int, lstat64, const char *path, struct stat64 *s); return of_path(path, "lstat64") ? (int)-1 : real(path, s); }
int mkdir(const char *path, mode_t m) { REAL(int, mkdir, const char *path, mode_t m); return of_path(path, "mkdir") ? (int)-1 : real(path, m); }
int rmdir(const char *path) { REAL(int, rmdir, const char *path); return of_path(path, "rmdir") ? (int)-1 : real(path); }
int unlink(const char *path) { REAL(int, unlink, const char *path); return of_path(path, "unlink") ? (int)-1 : real(path); }
int chmod(const char *path, mode_t m) { REAL(int, chmod, const char *path, mode_t m); return of_path(path, "chmod") ? (int)-1 : real(path, m); }
int rename(const char *a, const char *b) { REAL(int, rename, const char *a, const char *b); return of_path(b, "rename") ? (int)-1 : real(a, b); }
int link(const char *a, const char *b) { REAL(int, link, const char *a, const char *b); return of_path(b, "link") ? (int)-1 : real(a, b); }
int truncate64(const char *path, off_t n) { REAL(int, truncate64, const char *path, off_t n); return of_path(path, "truncate64") ? (int)-1 : real(path, n); }
DIR *opendir(const char *path) { REAL(DIR *, opendir, const char *); return of_path(path, "opendir") ? NULL : real(path); }
struct dirent64 *readdir64(DIR *d) { REAL(struct dirent64 *, readdir64, DIR *); return of_fd(dirfd(d), "readdir") ? NULL : real(d); }
int close(int fd) { REAL(int, close, int); int bad = of_fd(fd, "close"); int done = real(fd); if (bad) { errno = fails_with; return -1; } return done; }
