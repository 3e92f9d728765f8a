/* SPDX-License-Identifier: MIT */
/* colt5 doctor: everything a bug report needs, and the cure for what is wrong. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"
#include "doctor.h"
#include "report.h"

#define VENDORS "/etc/OpenCL/vendors"

static void add_problem(json_t *report, const char *what, const char *detail, const char *cure)
{
    json_array_append_new(json_object_get(report, "problems"),
                          json_pack("{s:s+, s:s}", "what", what, detail, "cure", cure));
}

/* Where the loader looks for drivers. */
static const char *vendors_folder(void)
{
    static const char *const names[] = {"OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH"};
    for (size_t i = 0; i < 2; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return value;
    }
    return VENDORS;
}

static void add_system(json_t *report)
{
    struct utsname system;
    if (uname(&system) != 0) return;
    json_object_set_new(report, "version", json_string(colt5_version()));
    json_object_set_new(report, "system",
                        json_sprintf("%s %s %s", system.sysname, system.release, system.machine));
}

/* The file the loader was loaded from: the last word of its line in the process's map. */
static void add_loader(json_t *report)
{
    char line[1024];
    FILE *maps = fopen("/proc/self/maps", "r");
    json_object_set_new(report, "loader", json_string("not known"));
    while (maps && fgets(line, sizeof(line), maps)) {
        const char *path = strchr(line, '/');
        if (!path || !strstr(path, "libOpenCL")) continue;
        line[strcspn(line, "\n")] = '\0';
        json_object_set_new(report, "loader", json_string(path));
        break;
    }
    if (maps) fclose(maps);
}

static void add_environment(json_t *report)
{
    extern char **environ;
    static const char *const prefixes[] = {"COLT5_",  "OCL_",  "OPENCL_",       "POCL_",
                                           "RUSTICL", "CUDA_", "XDG_CACHE_HOME"};
    json_t *object = json_object();
    for (char **entry = environ; *entry; entry++)
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
            const char *equals = strchr(*entry, '=');
            if (!equals || strncmp(*entry, prefixes[i], strlen(prefixes[i]))) continue;
            char name[128];
            snprintf(name, sizeof(name), "%.*s", (int)(equals - *entry), *entry);
            json_object_set_new(object, name, json_string(equals + 1));
        }
    json_object_set_new(report, "environment", object);
}

/* ---- drivers ---- */

/* The library that an .icd file names: its first line. */
static json_t *library_of(const char *path)
{
    char line[512] = "";
    FILE *file = fopen(path, "r");
    if (file && !fgets(line, sizeof(line), file)) line[0] = '\0';
    if (file) fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    json_t *text = json_string(line);
    return text ? text : json_string("?");
}

static bool all_passed(const json_t *driver)
{
    size_t i;
    const json_t *device;
    json_array_foreach(json_object_get(driver, "devices"), i,
                       device) if (strncmp(json_string_value(json_object_get(device, "self_test")),
                                           "passed", 6)) return false;
    return true;
}

static void judge_driver(json_t *report, const char *path, const json_t *driver)
{
    const char *failure = json_string_value(json_object_get(driver, "failure"));
    char what[700];
    snprintf(what, sizeof(what), "%.400s %.250s", path, failure ? failure : "");
    if (failure)
        add_problem(report, what, "",
                    "reinstall or update the package of this driver, or remove it if its hardware "
                    "is not there");
    else if (!all_passed(driver))
        add_problem(report, path, ": a device fails its self-test",
                    "update the driver; until then choose another device with --device");
}

/* Tries the driver of an .icd file, alone in a folder, so that no other has a part in it. */
static void try_file(json_t *report, json_t *list, const char *path)
{
    char folder[] = P_tmpdir "/colt5-doctor-XXXXXX", link[64], whole[PATH_MAX];
    if (!mkdtemp(folder)) {
        add_problem(report, folder, ": cannot be made", "make room in " P_tmpdir);
        return;
    }
    snprintf(link, sizeof(link), "%s/only.icd", folder);
    (void)!symlink(realpath(path, whole) ? whole : path, link);
    show_progress(path, 0, 0);
    json_t *library = library_of(path);
    json_t *driver = doctor_child(doctor_try_driver,
                                  &(struct doctor_driver){folder, json_string_value(library)});
    unlink(link);
    rmdir(folder);
    json_object_set_new(driver, "icd", json_string(path));
    json_object_set_new(driver, "library", library);
    judge_driver(report, path, driver);
    json_array_append_new(list, driver);
}

static int is_icd(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);
    return length > 4 && !strcmp(entry->d_name + length - 4, ".icd");
}

static void add_drivers(json_t *report)
{
    const char *folder = vendors_folder();
    struct dirent **files = NULL;
    struct stat status;
    json_t *list = json_array();
    json_object_set_new(report, "vendors", json_string(folder));
    json_object_set_new(report, "drivers", list);
    if (stat(folder, &status) == 0 && S_ISREG(status.st_mode)) {
        try_file(report, list, folder);
        return;
    }
    const int count = scandir(folder, &files, is_icd, alphasort);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]->d_name);
        if (!interrupted()) try_file(report, list, path);
        free(files[i]);
    }
    free(files);
    if (count <= 0)
        add_problem(report, folder, ": there is no .icd file, so no OpenCL driver is found",
                    strcmp(folder, VENDORS)
                        ? "unset OCL_ICD_VENDORS and OPENCL_VENDOR_PATH to look "
                          "in " VENDORS
                        : "install a driver, for the CPU: apt install "
                          "pocl-opencl-icd");
}

static int add_choice(json_t *report, const char *selector)
{
    json_t *choice = doctor_child(doctor_pick_device, selector);
    const char *failure = json_string_value(json_object_get(choice, "failure"));
    if (failure)
        add_problem(report, "no device can be used: ", failure,
                    "the message says it; otherwise see the drivers' problems");
    json_object_set_new(report, "device", choice);
    return failure ? EXIT_NO_DEVICE : EXIT_FINE;
}

/* ---- cache ---- */

static void add_cache(json_t *report)
{
    const char *setting = getenv("COLT5_CACHE"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME"), *state = "not there yet; made when needed";
    char path[4096] = "";
    if (cache && cache[0] == '/')
        snprintf(path, sizeof(path), "%s/colt5", cache);
    else if (home && home[0] == '/')
        snprintf(path, sizeof(path), "%s/.cache/colt5", home);
    struct stat status;
    if (setting && !strcmp(setting, "off")) {
        state = "off (COLT5_CACHE)";
    } else if (!*path) {
        state = "none: neither XDG_CACHE_HOME nor HOME is set";
    } else if (lstat(path, &status) == 0) {
        const bool ours = S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
                          !(status.st_mode & (S_IWGRP | S_IWOTH));
        state = ours ? "fine" : "not used: it is not a folder that only you can write";
        if (!ours)
            add_problem(report, path, ": is not a folder that only you can write",
                        "remove it; it is made anew");
        else if (access(path, W_OK) != 0)
            add_problem(report, path, ": cannot be written",
                        "give it back to yourself, or set "
                        "COLT5_CACHE=off");
    }
    json_object_set_new(report, "cache", json_pack("{s:s, s:s}", "folder", path, "state", state));
}

static int examine(json_t *report, const char *selector)
{
    add_system(report);
    add_loader(report);
    add_environment(report);
    add_drivers(report);
    if (interrupted()) return EXIT_INTERRUPTED;
    const int code = add_choice(report, selector);
    add_cache(report);
    end_progress();
    return code;
}

int doctor_command(int count, char **arguments)
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
    if (!parse_options(find_command("doctor"), options, count, arguments, 0, 0, &operands, &code))
        return code;
    set_report_style((struct report_style){
        .quiet = session.quiet, .json = session.progress && !strcmp(session.progress, "json")});
    json_t *report = json_pack("{s:[]}", "problems");
    if (!report) return complain_memory();
    code = examine(report, session.device);
    if (code == EXIT_INTERRUPTED) {
        json_decref(report);
        return code;
    }
    if (json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else
        doctor_print(report);
    json_decref(report);
    return code;
}
