/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <colt5/file.h>

#include "runtime/memory.h"

static colt5_status no_memory(const char *path)
{
    return fail(NULL, COLT5_ERROR_MEMORY, "%s: no host memory", path);
}

/* ---- reading ---- */

colt5_status input_open(struct input *input, const char *path)
{
    memset(input, 0, sizeof(*input));
    /* O_NONBLOCK: a pipe without a writer is refused below, not waited for. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    REQUIRE(NULL, fd >= 0, COLT5_ERROR_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    colt5_status status = COLT5_OK;
    struct stat about;
    if (fstat(fd, &about) != 0)
        status = fail(NULL, COLT5_ERROR_FILE, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(about.st_mode))
        status = fail(NULL, COLT5_ERROR_FILE, "%s: is not a regular file", path);
    else if (!(input->path = host_copy_text(path)))
        status = no_memory(path);
    if (status != COLT5_OK) {
        close(fd);
        return status;
    }
    input->fd = fd;
    input->size = (uint64_t)about.st_size;
    return COLT5_OK;
}

colt5_status input_read(const struct input *input, uint64_t offset, void *bytes, size_t count)
{
    char *to = bytes;
    while (count > 0) {
        const ssize_t got = pread(input->fd, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        REQUIRE(NULL, got >= 0, COLT5_ERROR_FILE, "%s: cannot be read: %s", input->path,
                strerror(errno));
        REQUIRE(NULL, got > 0, COLT5_ERROR_FORMAT,
                "%s: ends at byte %llu, %zu bytes before it should", input->path,
                (unsigned long long)offset, count);
        to += got;
        offset += (uint64_t)got;
        count -= (size_t)got;
    }
    return COLT5_OK;
}

void input_close(struct input *input)
{
    if (!input->path) return;
    close(input->fd);
    host_release(input->path);
    memset(input, 0, sizeof(*input));
}

colt5_status file_read(const char *path, size_t most, char **bytes, size_t *count)
{
    struct input input;
    char *text = NULL;
    colt5_status status = input_open(&input, path);
    if (status != COLT5_OK) return status;
    const size_t size = input.size <= most ? (size_t)input.size : 0;
    if (input.size > most)
        status = fail(NULL, COLT5_ERROR_FORMAT, "%s: has %llu bytes, more than %zu", path,
                      (unsigned long long)input.size, most);
    else if (!(text = host_allocate(size + 1)))
        status = no_memory(path);
    else
        status = input_read(&input, 0, text, size);
    input_close(&input);
    if (status != COLT5_OK) {
        host_release(text);
        return status;
    }
    text[size] = '\0';
    *bytes = text;
    *count = size;
    return COLT5_OK;
}

/* ---- writing ---- */

static colt5_status cannot(const char *path, const char *what)
{
    return fail(NULL, COLT5_ERROR_FILE, "%s: cannot be %s: %s", path, what, strerror(errno));
}

static void forget(struct output *output)
{
    host_release(output->path);
    host_release(output->temporary);
    memset(output, 0, sizeof(*output));
}

/* A new file in the folder of path; its name is short, so any legal path will do. */
static int open_beside(const char *path, char *name, size_t size)
{
    static atomic_uint counter;
    const char *slash = strrchr(path, '/');
    const int folder = slash ? (int)(slash - path + 1) : 0;
    for (int attempt = 0; attempt < 100; attempt++) {
        const int used =
            snprintf(name, size, "%.*s.colt5-%ld-%u.tmp", folder, path, (long)getpid(), counter++);
        if (used < 0 || (size_t)used >= size) {
            errno = ENAMETOOLONG;
            return -1;
        }
        const int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* Where path leads: the file behind a symbolic link is replaced, not the link. */
static const char *destination(const char *path, char *resolved)
{
    return realpath(path, resolved) ? resolved : path;
}

static colt5_status open_regular(struct output *output, const char *path, const struct stat *old)
{
    char resolved[PATH_MAX], temporary[PATH_MAX];
    path = destination(path, resolved);
    if (old && access(path, W_OK) != 0) return cannot(path, "written");
    output->fd = open_beside(path, temporary, sizeof(temporary));
    if (output->fd < 0) return cannot(path, "created");
    if (old) (void)!fchmod(output->fd, old->st_mode & 0777); /* a private file stays private */
    output->path = host_copy_text(path);
    output->temporary = host_copy_text(temporary);
    if (output->path && output->temporary) return COLT5_OK;
    unlink(temporary);
    return no_memory(path);
}

colt5_status output_open(struct output *output, const char *path)
{
    memset(output, 0, sizeof(*output));
    output->fd = -1;
    struct stat old;
    const bool exists = stat(path, &old) == 0;
    colt5_status status;
    if (!exists || S_ISREG(old.st_mode)) {
        TRY(open_regular(output, path, exists ? &old : NULL));
        return COLT5_OK;
    }
    output->fd = open(path, O_WRONLY | O_CLOEXEC);
    if (output->fd < 0) return cannot(path, "written");
    output->path = host_copy_text(path);
    if (output->path) return COLT5_OK;
    status = no_memory(path);
out:
    if (output->fd >= 0) close(output->fd);
    forget(output);
    return status;
}

colt5_status output_write(struct output *output, const void *bytes, size_t count)
{
    const char *from = bytes;
    while (count > 0) {
        const ssize_t put = write(output->fd, from, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return cannot(output->path, "written");
        from += put;
        count -= (size_t)put;
    }
    return COLT5_OK;
}

colt5_status output_write_at(struct output *output, uint64_t offset, const void *bytes,
                             size_t count)
{
    const char *from = bytes;
    while (count > 0) {
        const ssize_t put = pwrite(output->fd, from, count, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return cannot(output->path, "written");
        from += put;
        count -= (size_t)put;
        offset += (uint64_t)put;
    }
    return COLT5_OK;
}

/* The new name lasts through a crash only once its folder is on disk; not all systems can. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash) slash[slash == path] = '\0';
    const int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

colt5_status output_commit(struct output *output)
{
    colt5_status status = COLT5_OK;
    if (output->temporary && fsync(output->fd) != 0) status = cannot(output->path, "written");
    if (close(output->fd) != 0 && status == COLT5_OK) status = cannot(output->path, "written");
    if (output->temporary) {
        if (status == COLT5_OK && rename(output->temporary, output->path) != 0)
            status = cannot(output->path, "created");
        if (status == COLT5_OK)
            sync_folder(output->path);
        else
            unlink(output->temporary);
    }
    forget(output);
    return status;
}

void output_discard(struct output *output)
{
    if (!output->path) return;
    close(output->fd);
    if (output->temporary) unlink(output->temporary);
    forget(output);
}

colt5_status colt5_write_file(const char *path, const void *bytes, size_t count)
{
    REQUIRE(NULL, path, COLT5_ERROR_ARGUMENT, "write_file: path is NULL");
    REQUIRE(NULL, bytes || count == 0, COLT5_ERROR_ARGUMENT, "write_file: bytes is NULL");
    struct output output;
    colt5_status status = output_open(&output, path);
    if (status != COLT5_OK) return status;
    TRY(output_write(&output, bytes, count));
    return output_commit(&output);
out:
    output_discard(&output);
    return status;
}

/* ---- names in messages ---- */

struct shown shown(const char *text)
{
    struct shown result;
    const size_t room = sizeof(result.text) - sizeof("…");
    size_t used = strlen(text);
    const bool cut = used > room;
    if (cut)
        for (used = room; used > 0 && ((unsigned char)text[used] & 0xC0) == 0x80;) used--;
    for (size_t i = 0; i < used; i++) {
        const unsigned char c = (unsigned char)text[i];
        result.text[i] = c < 0x20 || c == 0x7F ? '?' : text[i];
    }
    memcpy(result.text + used, cut ? "…" : "", cut ? sizeof("…") : 1);
    return result;
}
