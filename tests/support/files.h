/* SPDX-License-Identifier: MIT */
/* For tests of files: a folder of the test's own, and what can go wrong with a disk. */
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

#include "support/testing.h"

/* Checked fixtures: a new folder under $TMPDIR, removed with all in it; nothing stays alive. */
void make_folder(void);
void remove_folder(void);

/* The path of a name in the folder; the last four stay valid. */
const char *in_folder(const char *name);
const char *put_file(const char *name, const void *bytes, size_t count);
/* The caller frees it. */
char *get_file(const char *name, size_t *count);
size_t files_in_folder(void);

/* Files written from now on cannot pass so many bytes, as on a full disk. */
void limit_file_size(size_t bytes);

/*
 * Allocations from the n-th on fail (n counts from 0); SIZE_MAX: none does. For loops that let
 * each allocation of a call fail once.
 */
void fail_allocations_from(size_t n);

/* The call fails with this status, and its message holds the text. */
#define assert_fails(call, expected, text)                                                         \
    do {                                                                                           \
        const colt5_status got_ = (call);                                                          \
        ck_assert_msg(got_ == (expected), "%s: %s, not %s: %s", #call, colt5_status_text(got_),    \
                      colt5_status_text(expected), colt5_message(ctx));                            \
        ck_assert_msg(strstr(colt5_message(ctx), text), "\"%s\" says nothing of \"%s\"",           \
                      colt5_message(ctx), text);                                                   \
    } while (0)

#endif
