/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli.h"
#include "doctor.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_driver(const json_t *driver)
{
    const char *failure = text_of(driver, "failure"), *said = text_of(driver, "said");
    printf("  %s (%s)\n", text_of(driver, "icd"), text_of(driver, "library"));
    if (*failure) printf("    FAILED: %s\n", failure);
    if (json_object_get(driver, "idle")) printf("    %s\n", text_of(driver, "idle"));
    if (*said) printf("    it said: %s\n", said);
    size_t i;
    const json_t *device;
    json_array_foreach(json_object_get(driver, "devices"), i, device)
    {
        printf("    %s (%s; driver %s; %s; %s)\n", text_of(device, "name"),
               text_of(device, "platform"), text_of(device, "driver"), text_of(device, "opencl"),
               human_bytes((double)json_integer_value(json_object_get(device, "memory"))));
        printf("      self-test: %s\n", text_of(device, "self_test"));
    }
}

static void print_environment(const json_t *environment)
{
    const char *name;
    const json_t *value;
    printf("environment:%s\n", json_object_size(environment) ? "" : " nothing set");
    json_object_foreach((json_t *)environment, name, value)
        printf("  %s=%s\n", name, json_string_value(value));
}

static void print_problems(const json_t *problems)
{
    size_t i;
    const json_t *problem;
    printf("problems:%s\n", json_array_size(problems) ? "" : " none");
    json_array_foreach(problems, i, problem)
        printf("  %s\n    cure: %s\n", text_of(problem, "what"), text_of(problem, "cure"));
}

void doctor_print(const json_t *report)
{
    const json_t *device = json_object_get(report, "device");
    const json_t *cache = json_object_get(report, "cache"), *driver;
    printf("colt5 %s on %s\n", text_of(report, "version"), text_of(report, "system"));
    printf("loader: %s\n", text_of(report, "loader"));
    print_environment(json_object_get(report, "environment"));
    printf("drivers in %s:\n", text_of(report, "vendors"));
    size_t i;
    json_array_foreach(json_object_get(report, "drivers"), i, driver) print_driver(driver);
    if (*text_of(device, "failure"))
        printf("device: none: %s\n", text_of(device, "failure"));
    else
        printf("device: %s %s (%s)\n", text_of(device, "id"), text_of(device, "name"),
               text_of(device, "platform"));
    printf("cache: %s: %s\n", text_of(cache, "folder"), text_of(cache, "state"));
    print_problems(json_object_get(report, "problems"));
}
