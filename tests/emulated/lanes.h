/* SPDX-License-Identifier: MIT */
/*
 * A work-group of an OpenCL kernel that was built for this CPU, on one thread: every work-item is a
 * coroutine, and goes on until it has to wait for the others. NVIDIA's instructions that all lanes
 * of a warp carry out together are emulated, with every element in the lane and register where the
 * PTX ISA has it.
 */
#ifndef TESTS_EMULATED_LANES_H
#define TESTS_EMULATED_LANES_H

#include <stddef.h>

/* Calls kernel(arguments) for every work-item of groups[0] × groups[1] × groups[2] work-groups.
 * Work-items that wait for others which never come end the program. */
void run_groups(void (*kernel)(const void *arguments), const void *arguments, size_t items,
                const size_t groups[3]);

#endif
