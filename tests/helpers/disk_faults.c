/* Counts what a process does on disk in one folder, and lets one operation fail or kills before it.

   Loaded by LD_PRELOAD, in front of libc. Nothing happens until disk_faults_arm is called, which
   a process does for itself (by ctypes). Each operation on a path below the folder is a line in the
   log, "number TAB R or W TAB name TAB path"; the one with the number `at` returns -1 with the errno
   `fault`, once, without having been done, or with fault -1 the process ends by SIGKILL before it.
   W changes what is on disk, R does not. To give up a lock is not counted.
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t length;
static int log_to = -1;
static long count, at;
static int fault;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

void disk_faults_arm(const char *below, const char *log, long number, int error)
{
    strncpy(folder, below, PATH_MAX - 1);
    length = strlen(folder);
    count = 0;
    at = number;
    fault = error;
    log_to = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

void disk_faults_disarm(void)
{
    if (log_to >= 0)
        syscall(SYS_close, log_to);
    log_to = -1;
}

/* The path of an open file, as Linux knows it; 0 if it is none in the folder. */
static int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (n <= 0)
        return 0;
    path[n] = 0;
    return 1;
}

static int absolute(int directory, const char *name, char *path)
{
    if (!name)
        return 0;
    if (!*name)
        return path_of(directory, path);
    if (*name == '/') {
        strncpy(path, name, PATH_MAX - 1);
        path[PATH_MAX - 1] = 0;
        return 1;
    }
    char base[PATH_MAX];
    if (directory == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) <= 0)
            return 0;
    } else if (!path_of(directory, base))
        return 0;
    snprintf(path, PATH_MAX, "%.*s/%.*s", 2000, base, 2000, name);
    return 1;
}

static int counted(const char *kind, const char *name, const char *path)
{
    if (strncmp(path, folder, length) || path[length] != '/')
        return 0;
    int kept = errno, error = 0;
    pthread_mutex_lock(&one_at_a_time);
    if (log_to >= 0) {
        char line[PATH_MAX + 100];
        int n = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\n", ++count, kind, name, path + length);
        syscall(SYS_write, log_to, line, n);
        if (count == at) {
            if (fault < 0)
                syscall(SYS_kill, getpid(), SIGKILL);
            error = fault;
        }
    }
    pthread_mutex_unlock(&one_at_a_time);
    errno = error ? error : kept;
    return error;
}

static int by_name(const char *kind, const char *name, int directory, const char *path)
{
    char whole[PATH_MAX];
    if (log_to < 0 || !absolute(directory, path, whole))
        return 0;
    return counted(kind, name, whole);
}

static int by_number(const char *kind, const char *name, int fd)
{
    char whole[PATH_MAX];
    if (log_to < 0 || fd == log_to || !path_of(fd, whole))
        return 0;
    return counted(kind, name, whole);
}

#define NEXT(name)                                                                                 \
    static typeof(name) *next;                                                                     \
    if (!next)                                                                                     \
        next = (typeof(name) *)dlsym(RTLD_NEXT, #name);

static int writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
}

static const char *opening(int flags)
{
    return flags & O_CREAT ? "create" : flags & O_DIRECTORY ? "open folder" : "open";
}

#define OPEN(function, parameters, directory, arguments)                                           \
    int function parameters                                                                        \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list more;                                                                          \
            va_start(more, flags);                                                                 \
            mode = va_arg(more, mode_t);                                                           \
            va_end(more);                                                                          \
        }                                                                                          \
        NEXT(function)                                                                             \
        if (by_name(writes(flags) ? "W" : "R", opening(flags), directory, path))                   \
            return -1;                                                                             \
        return next arguments;                                                                     \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(openat, (int directory, const char *path, int flags, ...), directory,
     (directory, path, flags, mode))
OPEN(openat64, (int directory, const char *path, int flags, ...), directory,
     (directory, path, flags, mode))

#define FILE_OPEN(function)                                                                        \
    FILE *function(const char *path, const char *mode)                                             \
    {                                                                                              \
        NEXT(function)                                                                             \
        if (by_name(*mode == 'r' && !strchr(mode, '+') ? "R" : "W",                                \
                    *mode == 'r' ? "open" : "create", AT_FDCWD, path))                             \
            return NULL;                                                                           \
        return next(path, mode);                                                                   \
    }
FILE_OPEN(fopen)
FILE_OPEN(fopen64)

#define BY_NAME(kind, word, type, failed, function, parameters, directory, path, arguments)        \
    type function parameters                                                                       \
    {                                                                                              \
        NEXT(function)                                                                             \
        if (by_name(kind, word, directory, path))                                                  \
            return failed;                                                                         \
        return next arguments;                                                                     \
    }
#define BY_NUMBER(kind, word, type, function, parameters, fd, arguments)                           \
    type function parameters                                                                       \
    {                                                                                              \
        NEXT(function)                                                                             \
        if (by_number(kind, word, fd))                                                             \
            return -1;                                                                             \
        return next arguments;                                                                     \
    }

BY_NUMBER("W", "write", ssize_t, write, (int fd, const void *b, size_t n), fd, (fd, b, n))
BY_NUMBER("W", "write", ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), fd, (fd, b, n, o))
BY_NUMBER("W", "write", ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), fd,
          (fd, b, n, o))
BY_NUMBER("W", "write", ssize_t, writev, (int fd, const struct iovec *v, int n), fd, (fd, v, n))
BY_NUMBER("W", "write", ssize_t, sendfile, (int fd, int from, off_t *o, size_t n), fd, (fd, from, o, n))
BY_NUMBER("W", "write", ssize_t, sendfile64, (int fd, int from, off64_t *o, size_t n), fd,
          (fd, from, o, n))
BY_NUMBER("R", "read", ssize_t, read, (int fd, void *b, size_t n), fd, (fd, b, n))
BY_NUMBER("R", "read", ssize_t, pread, (int fd, void *b, size_t n, off_t o), fd, (fd, b, n, o))
BY_NUMBER("R", "read", ssize_t, pread64, (int fd, void *b, size_t n, off64_t o), fd, (fd, b, n, o))
BY_NUMBER("R", "read", ssize_t, readv, (int fd, const struct iovec *v, int n), fd, (fd, v, n))
BY_NUMBER("W", "sync", int, fsync, (int fd), fd, (fd))
BY_NUMBER("W", "sync", int, fdatasync, (int fd), fd, (fd))
BY_NUMBER("W", "truncate", int, ftruncate, (int fd, off_t n), fd, (fd, n))
BY_NUMBER("W", "truncate", int, ftruncate64, (int fd, off64_t n), fd, (fd, n))
BY_NUMBER("W", "allocate", int, fallocate, (int fd, int m, off_t o, off_t n), fd, (fd, m, o, n))
BY_NUMBER("W", "allocate", int, fallocate64, (int fd, int m, off64_t o, off64_t n), fd, (fd, m, o, n))
BY_NUMBER("W", "chmod", int, fchmod, (int fd, mode_t m), fd, (fd, m))
BY_NUMBER("R", "lock", int, flock, (int fd, int how), how & LOCK_UN ? -1 : fd, (fd, how))
BY_NUMBER("R", "stat", int, fstat, (int fd, struct stat *s), fd, (fd, s))
BY_NUMBER("R", "stat", int, fstat64, (int fd, struct stat64 *s), fd, (fd, s))

BY_NAME("W", "truncate", int, -1, truncate, (const char *p, off_t n), AT_FDCWD, p, (p, n))
BY_NAME("W", "delete", int, -1, unlink, (const char *p), AT_FDCWD, p, (p))
BY_NAME("W", "delete", int, -1, unlinkat, (int d, const char *p, int f), d, p, (d, p, f))
BY_NAME("W", "delete", int, -1, remove, (const char *p), AT_FDCWD, p, (p))
BY_NAME("W", "delete", int, -1, rmdir, (const char *p), AT_FDCWD, p, (p))
BY_NAME("W", "make folder", int, -1, mkdir, (const char *p, mode_t m), AT_FDCWD, p, (p, m))
BY_NAME("W", "make folder", int, -1, mkdirat, (int d, const char *p, mode_t m), d, p, (d, p, m))
BY_NAME("W", "rename", int, -1, rename, (const char *p, const char *q), AT_FDCWD, q, (p, q))
BY_NAME("W", "rename", int, -1, renameat, (int d, const char *p, int e, const char *q), e, q,
        (d, p, e, q))
BY_NAME("W", "rename", int, -1, renameat2,
        (int d, const char *p, int e, const char *q, unsigned f), e, q, (d, p, e, q, f))
BY_NAME("W", "link", int, -1, link, (const char *p, const char *q), AT_FDCWD, q, (p, q))
BY_NAME("W", "link", int, -1, symlink, (const char *p, const char *q), AT_FDCWD, q, (p, q))
BY_NAME("W", "chmod", int, -1, chmod, (const char *p, mode_t m), AT_FDCWD, p, (p, m))
BY_NAME("W", "chmod", int, -1, fchmodat, (int d, const char *p, mode_t m, int f), d, p, (d, p, m, f))
BY_NAME("W", "set times", int, -1, utimensat,
        (int d, const char *p, const struct timespec t[2], int f), d, p, (d, p, t, f))
BY_NAME("R", "stat", int, -1, stat, (const char *p, struct stat *s), AT_FDCWD, p, (p, s))
BY_NAME("R", "stat", int, -1, stat64, (const char *p, struct stat64 *s), AT_FDCWD, p, (p, s))
BY_NAME("R", "stat", int, -1, lstat, (const char *p, struct stat *s), AT_FDCWD, p, (p, s))
BY_NAME("R", "stat", int, -1, lstat64, (const char *p, struct stat64 *s), AT_FDCWD, p, (p, s))
BY_NAME("R", "stat", int, -1, fstatat, (int d, const char *p, struct stat *s, int f), d, p, (d, p, s, f))
BY_NAME("R", "stat", int, -1, fstatat64, (int d, const char *p, struct stat64 *s, int f), d, p,
        (d, p, s, f))
BY_NAME("R", "stat", int, -1, access, (const char *p, int m), AT_FDCWD, p, (p, m))
BY_NAME("R", "stat", int, -1, faccessat, (int d, const char *p, int m, int f), d, p, (d, p, m, f))
BY_NAME("R", "stat", ssize_t, -1, readlink, (const char *p, char *b, size_t n), AT_FDCWD, p, (p, b, n))
BY_NAME("R", "stat", ssize_t, -1, readlinkat, (int d, const char *p, char *b, size_t n), d, p,
        (d, p, b, n))
BY_NAME("R", "list", DIR *, NULL, opendir, (const char *p), AT_FDCWD, p, (p))

/* Of these only the error counts, which must come after the descriptor is gone. */
int close(int fd)
{
    NEXT(close)
    char whole[PATH_MAX];
    int flags, error = 0;
    if (log_to >= 0 && fd != log_to && path_of(fd, whole)) {
        flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
        if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY)
            error = counted("W", "close", whole);
    }
    int done = next(fd);
    if (error) {
        errno = error;
        return -1;
    }
    return done;
}

DIR *fdopendir(int fd)
{
    NEXT(fdopendir)
    if (by_number("R", "list", fd))
        return NULL;
    return next(fd);
}

#define READ_DIRECTORY(type, function)                                                             \
    struct type *function(DIR *d)                                                                  \
    {                                                                                              \
        NEXT(function)                                                                             \
        if (by_number("R", "list", dirfd(d)))                                                      \
            return NULL;                                                                           \
        return next(d);                                                                            \
    }
READ_DIRECTORY(dirent, readdir)
READ_DIRECTORY(dirent64, readdir64)

#define CONTROL(function)                                                                          \
    int function(int fd, int command, ...)                                                         \
    {                                                                                              \
        va_list more;                                                                              \
        va_start(more, command);                                                                   \
        void *argument = va_arg(more, void *);                                                     \
        va_end(more);                                                                              \
        NEXT(function)                                                                             \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK;           \
        locks = locks && ((struct flock *)argument)->l_type != F_UNLCK;                            \
        if (locks && by_number("R", "lock", fd))                                                   \
            return -1;                                                                             \
        return next(fd, command, argument);                                                        \
    }
CONTROL(fcntl)
CONTROL(fcntl64)
