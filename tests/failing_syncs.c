/* For tests, loaded before the C library: fsync and fdatasync of files whose name holds FAIL_SYNCS_OF fail with EIO
 * while the file FAIL_SYNCS_WHILE exists, as a dying card's do. What was written stays in the page cache, as on Linux. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int file)
{
    const char *of = getenv("FAIL_SYNCS_OF");
    const char *when = getenv("FAIL_SYNCS_WHILE");
    char link[64];
    char name[4096];
    if (of == NULL || when == NULL || access(when, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = '\0';
    return strstr(name, of) != NULL;
}

int fsync(int file)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (!fails(file))
        return real(file);
    errno = EIO;
    return -1;
}

int fdatasync(int file)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (!fails(file))
        return real(file);
    errno = EIO;
    return -1;
}
