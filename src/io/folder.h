/* SPDX-License-Identifier: MIT */
/*
 * Folders that appear whole or not at all: filled under a temporary name, synced, renamed. What a
 * killed process leaves has a temporary name, and the next one removes it.
 */
#ifndef COLT5_IO_FOLDER_H
#define COLT5_IO_FOLDER_H

#include "runtime/status.h"

#define FOLDER_PATH 4096 /* bytes of the longest path, with its end */

/* folder/name into path. */
colt5_status folder_join(char path[FOLDER_PATH], const char *folder, const char *name);

/* Makes it where it is not there. */
colt5_status folder_make(const char *folder);

/* A new folder for the content of folder/name to be, with a temporary name. */
colt5_status folder_begin(const char *folder, const char *name, char temporary[FOLDER_PATH]);

/* Syncs it and renames it to folder/name, which must not be there; it is on disk then. */
colt5_status folder_commit(const char *folder, const char *name, const char *temporary);

/* Removes folder/name with the files in it: gone at once, whatever happens meanwhile. */
colt5_status folder_remove(const char *folder, const char *name);

/* Removes what has a temporary name in a folder; failures are passed over. */
void folder_clean(const char *folder);

/* The entries of a folder that are decimal numbers, largest first, into numbers, the caller's to
 * give back with host_release. A folder that is not there has none. */
colt5_status folder_numbers(const char *folder, uint64_t **numbers, size_t *count);

#endif
