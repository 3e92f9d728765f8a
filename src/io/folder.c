/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "io/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/memory.h"

#define PREFIX ".colt5-"
#define SUFFIX ".tmp"

colt5_status folder_join(char path[FOLDER_PATH], const char *folder, const char *name)
{
    const int length = snprintf(path, FOLDER_PATH, "%s/%s", folder, name);
    REQUIRE(NULL, length >= 0 && length < FOLDER_PATH, COLT5_ERROR_FILE, "%s: the path is too long",
            folder);
    return COLT5_OK;
}

/* A name lasts through a crash only once its folder is on disk; not all systems can. */
static void sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

colt5_status folder_make(const char *folder)
{
    char parent[FOLDER_PATH];
    struct stat about;
    const bool made = mkdir(folder, 0777) == 0;
    REQUIRE(NULL, made || errno == EEXIST, COLT5_ERROR_FILE, "%s: cannot be made: %s", folder,
            strerror(errno));
    CHECK(folder_join(parent, folder, ".."));
    if (made) sync_folder(parent);
    REQUIRE(NULL, stat(folder, &about) == 0 && S_ISDIR(about.st_mode), COLT5_ERROR_FILE,
            "%s: is not a folder", folder);
    return COLT5_OK;
}

/* folder/.colt5-name-process.tmp */
static colt5_status temporary_name(char path[FOLDER_PATH], const char *folder, const char *name)
{
    char short_name[256];
    snprintf(short_name, sizeof(short_name), PREFIX "%.200s-%ld" SUFFIX, name, (long)getpid());
    return folder_join(path, folder, short_name);
}

colt5_status folder_begin(const char *folder, const char *name, char temporary[FOLDER_PATH])
{
    CHECK(temporary_name(temporary, folder, name));
    REQUIRE(NULL, mkdir(temporary, 0777) == 0, COLT5_ERROR_FILE, "%s: cannot be made: %s",
            temporary, strerror(errno));
    return COLT5_OK;
}

colt5_status folder_commit(const char *folder, const char *name, const char *temporary)
{
    char path[FOLDER_PATH];
    CHECK(folder_join(path, folder, name));
    sync_folder(temporary);
    REQUIRE(NULL, rename(temporary, path) == 0, COLT5_ERROR_FILE, "%s: cannot be made: %s", path,
            strerror(errno));
    sync_folder(folder);
    return COLT5_OK;
}

/* Files and all, one level deep. */
static bool remove_whole(const char *folder)
{
    char path[FOLDER_PATH];
    DIR *stream = opendir(folder);
    if (!stream) return false;
    for (const struct dirent *entry; (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            folder_join(path, folder, entry->d_name) == COLT5_OK)
            (void)unlink(path);
    closedir(stream);
    return rmdir(folder) == 0;
}

colt5_status folder_remove(const char *folder, const char *name)
{
    char path[FOLDER_PATH], temporary[FOLDER_PATH], aside[256];
    snprintf(aside, sizeof(aside), "old-%.200s", name);
    CHECK(folder_join(path, folder, name));
    CHECK(temporary_name(temporary, folder, aside));
    const bool gone = rename(path, temporary) == 0 && remove_whole(temporary);
    REQUIRE(NULL, gone, COLT5_ERROR_FILE, "%s: cannot be removed: %s", path, strerror(errno));
    return COLT5_OK;
}

static bool is_temporary(const char *name)
{
    const size_t length = strlen(name), end = strlen(SUFFIX);
    return !strncmp(name, PREFIX, strlen(PREFIX)) && length > end &&
           !strcmp(name + length - end, SUFFIX);
}

void folder_clean(const char *folder)
{
    char path[FOLDER_PATH];
    DIR *stream = opendir(folder);
    if (!stream) return;
    for (const struct dirent *entry; (entry = readdir(stream));)
        if (is_temporary(entry->d_name) && folder_join(path, folder, entry->d_name) == COLT5_OK)
            (void)remove_whole(path);
    closedir(stream);
}

/* 0, 17, …: as this library writes them. */
static bool is_number(const char *name, uint64_t *number)
{
    char again[32];
    errno = 0;
    *number = strtoull(name, NULL, 10);
    snprintf(again, sizeof(again), "%llu", (unsigned long long)*number);
    return errno == 0 && !strcmp(name, again);
}

static int larger_first(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Adds one to a list that grows. */
static bool append(uint64_t **numbers, size_t *count, uint64_t number)
{
    if (*count % 64 == 0) {
        uint64_t *more = host_reallocate(*numbers, (*count + 64) * sizeof(**numbers));
        if (!more) return false;
        *numbers = more;
    }
    (*numbers)[(*count)++] = number;
    return true;
}

colt5_status folder_numbers(const char *folder, uint64_t **numbers, size_t *count)
{
    uint64_t number;
    bool fits = true;
    *numbers = NULL;
    *count = 0;
    DIR *stream = opendir(folder);
    if (!stream && errno == ENOENT) return COLT5_OK;
    REQUIRE(NULL, stream, COLT5_ERROR_FILE, "%s: cannot be read: %s", folder, strerror(errno));
    for (const struct dirent *entry; fits && (entry = readdir(stream));)
        if (is_number(entry->d_name, &number)) fits = append(numbers, count, number);
    closedir(stream);
    if (*count > 0) qsort(*numbers, *count, sizeof(**numbers), larger_first);
    REQUIRE(NULL, fits, COLT5_ERROR_MEMORY, "%s: no host memory", folder);
    return COLT5_OK;
}
