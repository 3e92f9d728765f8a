/* SPDX-License-Identifier: MIT */
/* colt5 devices: the table of devices. */
#include <jansson.h>
#include <stdlib.h>

#include "cli.h"
#include "commands.h"

static const char *kind_name(colt5_device_kind kind)
{
    switch (kind) {
    case COLT5_DEVICE_DISCRETE_GPU:
        return "gpu";
    case COLT5_DEVICE_INTEGRATED_GPU:
        return "integrated gpu";
    case COLT5_DEVICE_CPU:
        return "cpu";
    default:
        return "other";
    }
}

static void print_table(const colt5_device_info *devices, size_t count)
{
    printf("%-7s %-15s %-40s %10s %14s %6s %-7s %s\n", "id", "type", "name", "memory",
           "largest buffer", "16 bit", "matrix", "driver");
    for (size_t i = 0; i < count; i++) {
        const colt5_device_info *d = &devices[i];
        printf("%d:%d %-3s %-15s %-40.40s %10s %14s %6s %-7s %s\n", d->platform, d->device,
               d->is_default ? "*" : "", kind_name(d->kind), d->name,
               human_bytes((double)d->memory), human_bytes((double)d->largest_buffer),
               d->half_arithmetic ? "yes" : "stored", *d->matrix_units ? d->matrix_units : "-",
               d->driver);
    }
    printf("* is the default; --device or COLT5_DEVICE choose another\n");
}

static int print_json(const colt5_device_info *devices, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const colt5_device_info *d = &devices[i];
        char id[32];
        snprintf(id, sizeof(id), "%d:%d", d->platform, d->device);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:b, s:s, s:b}",
                            "id", id, "type", kind_name(d->kind), "name", d->name, "platform",
                            d->platform_name, "driver", d->driver, "opencl", d->opencl, "memory",
                            (json_int_t)d->memory, "largest_buffer", (json_int_t)d->largest_buffer,
                            "local_memory", (json_int_t)d->local_memory, "compute_units",
                            (int)d->compute_units, "half_arithmetic", d->half_arithmetic,
                            "matrix_units", d->matrix_units, "default", d->is_default));
    }
    const int failed = json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
    return failed ? EXIT_INTERNAL : EXIT_FINE;
}

/* All devices, or the one that --device picks; the caller frees them. */
static int find_devices(struct session *session, colt5_device_info **devices, size_t *count)
{
    *count = 1;
    if (session->device) {
        const int code = open_session(session);
        if (code != EXIT_FINE) return code;
    } else {
        const colt5_status status = colt5_devices(NULL, 0, count);
        if (status != COLT5_OK || *count == 0) {
            complain("%s", status != COLT5_OK ? colt5_message(NULL) : "no OpenCL device was found");
            return EXIT_NO_DEVICE;
        }
    }
    *devices = calloc(*count, sizeof(**devices));
    if (!*devices) return complain_memory();
    if (session->device) {
        **devices = *colt5_context_device_info(session->ctx);
        return EXIT_FINE;
    }
    const colt5_status status = colt5_devices(*devices, *count, count);
    return status == COLT5_OK ? EXIT_FINE : complain_status(NULL, status);
}

int devices_command(int count, char **arguments)
{
    struct session session = {.device = NULL};
    bool json = false;
    const struct option options[] = {
        {"json", OPTION_FLAG, &json, NULL, "as JSON"},
        SESSION_OPTIONS(&session),
        {NULL},
    };
    struct operands operands;
    int code;
    if (!parse_options(find_command("devices"), options, count, arguments, 0, 0, &operands, &code))
        return code;
    colt5_device_info *devices = NULL;
    size_t found;
    code = find_devices(&session, &devices, &found);
    if (code == EXIT_FINE && json)
        code = print_json(devices, found);
    else if (code == EXIT_FINE)
        print_table(devices, found);
    free(devices);
    close_session(&session);
    return code;
}
