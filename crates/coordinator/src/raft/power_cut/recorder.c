/* Records what a process does to one directory, in order: every open, write, truncation, sync,
 * rename, removal. Loaded with LD_PRELOAD by the power-cut tests; `record.rs` reads the result.
 *
 *   RECORD_DIR   the directory, an absolute path
 *   RECORD_FILE  where the record goes
 *   RECORD_ACK   a file outside the directory: each write to it becomes an acknowledgement
 *
 * One lock is held around the call and its record, a sync included: the record's order is the
 * disk's order, and nothing counts as synced that was written while the sync ran. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 65536
enum { UNSEEN = 0, SEEN = 1, ACK = 2 };

static char seen[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -1;
static const char *directory, *ack;

#define NEXT(name, type) ((type)dlsym(RTLD_NEXT, name))

static void start(void) {
    if (record_fd != -1) return;
    directory = getenv("RECORD_DIR");
    ack = getenv("RECORD_ACK");
    const char *path = getenv("RECORD_FILE");
    if (!directory || !ack || !path) abort();
    record_fd = NEXT("open64", int (*)(const char *, int, ...))(
        path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (record_fd < 0) abort();
}

typedef ssize_t (*write_call)(int, const void *, size_t);
typedef ssize_t (*writev_call)(int, const struct iovec *, int);

static void put(const void *bytes, size_t length) {
    write_call next = NEXT("write", write_call);
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = next(record_fd, at, length);
        if (written <= 0) abort();
        at += written;
        length -= written;
    }
}

/* The head of an event, then `length` bytes if there are any. */
static void event(char kind, int fd, uint64_t number, uint64_t length, const void *bytes) {
    struct __attribute__((packed)) {
        char kind;
        int32_t fd;
        uint64_t number, length;
    } head = {kind, fd, number, length};
    put(&head, sizeof head);
    if (length) put(bytes, length);
}

static int sort_of(const char *path) {
    if (!strcmp(path, ack)) return ACK;
    size_t length = strlen(directory);
    if (strncmp(path, directory, length)) return UNSEEN;
    return path[length] == 0 || path[length] == '/' ? SEEN : UNSEEN;
}

static int is_seen(int fd) { return fd >= 0 && fd < FDS_MAX && seen[fd]; }

static int opened(int fd, const char *path, int flags) {
    if (fd < 0) return fd;
    if (fd >= FDS_MAX) abort();
    seen[fd] = sort_of(path);
    if (seen[fd] == SEEN) event('O', fd, flags, strlen(path), path);
    return fd;
}

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...) {                               \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        int mode = flags & O_CREAT ? va_arg(rest, int) : 0;                    \
        va_end(rest);                                                          \
        pthread_mutex_lock(&lock);                                             \
        start();                                                               \
        int fd = NEXT(#name, int (*)(const char *, int, ...))(path, flags, mode); \
        opened(fd, path, flags);                                               \
        pthread_mutex_unlock(&lock);                                           \
        return fd;                                                             \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (is_seen(fd)) {
        if (seen[fd] == SEEN) event('C', fd, 0, 0, 0);
        seen[fd] = UNSEEN;
    }
    int result = NEXT("close", int (*)(int))(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    write_call next = NEXT("write", write_call);
    if (!is_seen(fd)) return next(fd, bytes, length);
    pthread_mutex_lock(&lock);
    ssize_t written = next(fd, bytes, length);
    if (written > 0 && seen[fd] == ACK) event('A', fd, 0, written, bytes);
    if (written > 0 && seen[fd] == SEEN)
        event('W', fd, lseek64(fd, 0, SEEK_CUR) - written, written, bytes);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!is_seen(fd)) return NEXT("writev", writev_call)(fd, parts, count);
    for (int i = 0; i < count; i++) /* a short write is allowed */
        if (parts[i].iov_len) return write(fd, parts[i].iov_base, parts[i].iov_len);
    return 0;
}

#define PWRITE(name)                                                           \
    ssize_t name(int fd, const void *bytes, size_t length, off64_t offset) {   \
        ssize_t (*next)(int, const void *, size_t, off64_t) =                  \
            NEXT(#name, ssize_t (*)(int, const void *, size_t, off64_t));      \
        if (!is_seen(fd)) return next(fd, bytes, length, offset);              \
        pthread_mutex_lock(&lock);                                             \
        ssize_t written = next(fd, bytes, length, offset);                     \
        if (written > 0) event('W', fd, offset, written, bytes);               \
        pthread_mutex_unlock(&lock);                                           \
        return written;                                                        \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

/* Calls on a descriptor that are recorded when they succeed. */
#define ON_FD(name, parameters, arguments, kind, number)                       \
    int name parameters {                                                      \
        pthread_mutex_lock(&lock);                                             \
        int result = NEXT(#name, int (*) parameters) arguments;                \
        if (result == 0 && is_seen(fd) && seen[fd] == SEEN)                    \
            event(kind, fd, number, 0, 0);                                     \
        pthread_mutex_unlock(&lock);                                           \
        return result;                                                         \
    }
ON_FD(ftruncate, (int fd, off64_t length), (fd, length), 'T', length)
ON_FD(ftruncate64, (int fd, off64_t length), (fd, length), 'T', length)
ON_FD(fsync, (int fd), (fd), 'S', 0)
ON_FD(fdatasync, (int fd), (fd), 'D', 0)

static int duplicated(int command, int fd, int copy) {
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && copy >= 0 && is_seen(fd)) {
        pthread_mutex_lock(&lock);
        seen[copy] = seen[fd];
        if (seen[fd] == SEEN) event('2', fd, copy, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return copy;
}

#define FCNTL(name)                                                            \
    int name(int fd, int command, ...) {                                       \
        va_list rest;                                                          \
        va_start(rest, command);                                               \
        void *argument = va_arg(rest, void *);                                 \
        va_end(rest);                                                          \
        int result = NEXT(#name, int (*)(int, int, ...))(fd, command, argument); \
        return duplicated(command, fd, result);                                \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* Calls on a path. */
#define ON_PATH(name, parameters, arguments, kind)                             \
    int name parameters {                                                      \
        pthread_mutex_lock(&lock);                                             \
        start();                                                               \
        int result = NEXT(#name, int (*) parameters) arguments;                \
        if (result == 0 && sort_of(path) == SEEN)                              \
            event(kind, -1, 0, strlen(path), path);                            \
        pthread_mutex_unlock(&lock);                                           \
        return result;                                                         \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), 'M')
ON_PATH(unlink, (const char *path), (path), 'U')
ON_PATH(rmdir, (const char *path), (path), 'U')

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    start();
    int result = NEXT("rename", int (*)(const char *, const char *))(from, to);
    if (result == 0 && sort_of(to) == SEEN) {
        event('R', -1, 0, strlen(from), from);
        event('r', -1, 0, strlen(to), to);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
