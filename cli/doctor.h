/* SPDX-License-Identifier: MIT */
/*
 * What the files of `colt5 doctor` share. This process never calls OpenCL: whatever a driver does
 * happens in a child, and a crash or a hang there is a finding.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

/*
 * Runs work(argument) in a child and gives back the object it made, or
 * {"failure": "crashed: Segmentation fault", "said": what it wrote to stderr}.
 */
json_t *doctor_child(json_t *(*work)(const void *argument), const void *argument);

/* One .icd file, alone in a folder for the loader to look in. */
struct doctor_driver {
    const char *folder, *library;
};
/*
 * In a child: what a struct doctor_driver brings: its devices, each tested; or the "failure" of its
 * library; or "idle", why there are none.
 */
json_t *doctor_try_driver(const void *driver);
/* In a child: the device that a selector picks. */
json_t *doctor_pick_device(const void *selector);

/* The report for people. */
void doctor_print(const json_t *report);

#endif
