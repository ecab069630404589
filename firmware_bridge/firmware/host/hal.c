/* hal.h on a computer: a file descriptor for the line, a file for the state, libsodium for Ed25519. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include "host.h"

#include "../frame.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "medledger-device-1"

static const char *state_path;
static int line = -1;
static bool lost;

static bool complain(const char *what, const char *path)
{
    fprintf(stderr, "medledger-device: %s %s: %s\n", what, path, strerror(errno));
    return false;
}

/* --- time and keys ------------------------------------------------------------------------------------------------- */

uint64_t hal_millis(void)
{
    static struct timespec boot;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (boot.tv_sec == 0 && boot.tv_nsec == 0)
        boot = now;
    return (uint64_t)((now.tv_sec - boot.tv_sec) * 1000 + (now.tv_nsec - boot.tv_nsec) / 1000000);
}

void hal_keys(const uint8_t *seed, uint8_t *key, uint8_t *secret) { crypto_sign_seed_keypair(key, secret, seed); }

void hal_sign(const uint8_t *secret, const uint8_t *message, size_t size, uint8_t *to)
{
    crypto_sign_detached(to, NULL, message, size, secret);
}

void host_random(uint8_t *to, size_t size) { randombytes_buf(to, size); }

/* --- the state: one line, replaced whole --------------------------------------------------------------------------- */

static bool flush_directory(const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = fsync(fd) == 0;
    close(fd);
    return done;
}

bool hal_save(const struct state *state)
{
    char text[160], seed[2 * SEED_BYTES + 1], fresh[PATH_MAX];
    sodium_bin2hex(seed, sizeof seed, state->seed, SEED_BYTES);
    int size = snprintf(text, sizeof text, MAGIC " %s %" PRIu64 " ", seed, state->counter);
    uint32_t crc = crc32_of((const uint8_t *)text, (size_t)size);
    size += snprintf(text + size, sizeof text - (size_t)size, "%08" PRIx32 "\n", crc);
    snprintf(fresh, sizeof fresh, "%s.new", state_path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return complain("cannot write", fresh);
    bool written = write(fd, text, (size_t)size) == size && fsync(fd) == 0;
    close(fd);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(text, sizeof text);
    if (!written || rename(fresh, state_path) != 0 || !flush_directory(state_path))
        return complain("cannot write", state_path);
    return true;
}

static bool read_state(int fd, struct state *state)
{
    char text[160], seed[2 * SEED_BYTES + 1], again[160];
    uint64_t counter;
    size_t got;

    ssize_t size = read(fd, text, sizeof text - 1);
    if (size < 0)
        return false;
    text[size] = 0;
    if (sscanf(text, MAGIC " %64[0-9a-f] %16" SCNu64, seed, &counter) != 2)
        return false;
    if (sodium_hex2bin(state->seed, SEED_BYTES, seed, strlen(seed), NULL, &got, NULL) != 0 || got != SEED_BYTES)
        return false;
    state->counter = counter;
    /* Accepted is only what hal_save would have written. */
    int length = snprintf(again, sizeof again, MAGIC " %s %" PRIu64 " ", seed, counter);
    uint32_t crc = crc32_of((const uint8_t *)again, (size_t)length);
    snprintf(again + length, sizeof again - (size_t)length, "%08" PRIx32 "\n", crc);
    return strlen(text) == (size_t)size && strcmp(text, again) == 0 && counter <= MAX_COUNTER;
}

bool host_open_state(const char *path, const uint8_t *seed, struct state *state)
{
    char lock[PATH_MAX];

    if (sodium_init() < 0)
        return false;
    state_path = path;
    if (snprintf(lock, sizeof lock, "%s.lock", path) >= PATH_MAX - 8)
        return errno = ENAMETOOLONG, complain("cannot use", "the state's path");
    int locked = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (locked < 0 || flock(locked, LOCK_EX | LOCK_NB) != 0)
        return complain("another device runs with", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        state->counter = 0;
        if (seed)
            memcpy(state->seed, seed, SEED_BYTES);
        else
            randombytes_buf(state->seed, SEED_BYTES);
        return hal_save(state);
    }
    if (fd < 0)
        return complain("cannot read", path);
    bool right = read_state(fd, state);
    close(fd);
    if (!right)
        fprintf(stderr, "medledger-device: the state %s is damaged; retire its key, no counter must be guessed\n", path);
    return right;
}

/* --- the line ------------------------------------------------------------------------------------------------------ */

static bool make_raw(int fd)
{
    struct termios settings;
    if (tcgetattr(fd, &settings) != 0)
        return false;
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    cfsetspeed(&settings, B115200);
    return tcsetattr(fd, TCSANOW, &settings) == 0;
}

bool host_open_port(const char *path)
{
    line = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return line >= 0 && make_raw(line) ? true : complain("cannot open", path);
}

bool host_make_pty(const char *link)
{
    line = posix_openpt(O_RDWR | O_NOCTTY);
    if (line < 0 || grantpt(line) != 0 || unlockpt(line) != 0)
        return complain("cannot make", "a pseudo-terminal");
    const char *name = ptsname(line);
    int side = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC); /* kept: a host that closes its end does not end the line */
    if (side < 0 || !make_raw(side) || fcntl(line, F_SETFL, O_NONBLOCK) != 0)
        return complain("cannot open", name);
    if (link && ((unlink(link) != 0 && errno != ENOENT) || symlink(name, link) != 0))
        return complain("cannot link", link);
    puts(name);
    fflush(stdout);
    return true;
}

bool host_line_lost(void) { return lost; }

static size_t moved(ssize_t size)
{
    if (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        lost = true;
    return size > 0 ? (size_t)size : 0;
}

size_t hal_write(const uint8_t *bytes, size_t size) { return moved(write(line, bytes, size)); }

size_t hal_read(uint8_t *to, size_t room)
{
    ssize_t size = read(line, to, room);
    if (size == 0) /* hung up: without this poll() would say at once, for ever, that there is something to read */
        lost = true;
    return moved(size);
}

void hal_wait(uint64_t until, bool writing)
{
    struct pollfd waiting = {line, (short)(POLLIN | (writing ? POLLOUT : 0)), 0};
    uint64_t now = hal_millis();
    uint64_t left = until > now ? until - now : 0;
    poll(&waiting, 1, left > 60000 ? 60000 : (int)left);
    if ((waiting.revents & (POLLERR | POLLHUP | POLLNVAL)) && !(waiting.revents & POLLIN))
        lost = true;
}
