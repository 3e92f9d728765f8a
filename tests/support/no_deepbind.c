/* SPDX-License-Identifier: MIT */
/*
 * Preloaded under AddressSanitizer, which refuses to load a library with RTLD_DEEPBIND, as OpenCL
 * loaders load drivers: the flag is taken away.
 */
#include <dlfcn.h>

void *dlopen(const char *name, int flags)
{
    void *(*load)(const char *, int);
    *(void **)&load = dlsym(RTLD_NEXT, "dlopen");
    return load(name, flags & ~RTLD_DEEPBIND);
}
