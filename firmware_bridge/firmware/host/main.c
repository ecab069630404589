/* The reference device as a program: docs/serial-link.md on a serial port or a pseudo-terminal. */
#define _XOPEN_SOURCE 700

#include "../vitals.h"
#include "host.h"
#include "recorded.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "usage: medledger-device --state FILE [options]\n"
    "\n"
    "A medical device on a serial line, as docs/serial-link.md says.\n"
    "\n"
    "  --state FILE     the file of the key and the counter; made where there is none\n"
    "  --device NAME    what the device calls itself (SIM-1)\n"
    "  --port PATH      the serial port or pseudo-terminal to speak on\n"
    "  --pty LINK       make a pseudo-terminal and this symbolic link to it\n"
    "                   (without --port and --pty: a pseudo-terminal, its name on standard output)\n"
    "  --dump N         write a hello and N batches to standard output, end\n"
    "  --identify       print the device's name and public key, end\n"
    "  --csv FILE       play this recorded series\n"
    "  --vitals SEED    seed of the made-up vital signs (1)\n"
    "  --interval MS    time between two readings (1000)\n"
    "  --readings N     readings of a batch, at most 16 (10)\n"
    "  --count N        stop measuring after N readings\n"
    "  --once           end when all is measured and acknowledged\n"
    "  --seed HEX       the seed of a new key, for tests\n"
    "  --boot HEX       the boot id, for tests\n"
    "  --help           this\n";

enum { STATE = 1, DEVICE, PORT, PTY, DUMP, IDENTIFY, CSV, VITALS, INTERVAL, READINGS, COUNT, ONCE, SEED, BOOT, USAGE };

static const struct option OPTIONS[] = {
    {"state", 1, NULL, STATE},   {"device", 1, NULL, DEVICE},     {"port", 1, NULL, PORT},
    {"pty", 1, NULL, PTY},       {"dump", 1, NULL, DUMP},         {"identify", 0, NULL, IDENTIFY},
    {"csv", 1, NULL, CSV},       {"vitals", 1, NULL, VITALS},     {"interval", 1, NULL, INTERVAL},
    {"readings", 1, NULL, READINGS}, {"count", 1, NULL, COUNT},   {"once", 0, NULL, ONCE},
    {"seed", 1, NULL, SEED},     {"boot", 1, NULL, BOOT},         {"help", 0, NULL, USAGE},
    {NULL, 0, NULL, 0},
};

static struct {
    const char *state, *name, *port, *link, *csv;
    unsigned long dump, vitals, interval, readings, count;
    bool dumping, identify, once, counted, has_seed, has_boot;
    uint8_t seed[SEED_BYTES], boot[BOOT_BYTES];
} chosen = {.name = "SIM-1", .vitals = 1, .interval = 1000, .readings = 10};

static struct device device;
static struct vitals vitals;
static struct recorded recorded;

static bool number(const char *text, unsigned long least, unsigned long most, unsigned long *to)
{
    char *end;
    *to = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && *to >= least && *to <= most;
}

static bool octets(const char *text, uint8_t *to, size_t size)
{
    size_t got;
    return sodium_hex2bin(to, size, text, strlen(text), NULL, &got, NULL) == 0 && got == size;
}

static bool plain(const char *text)
{
    size_t size = strlen(text);
    for (size_t at = 0; at < size; at++)
        if (text[at] < ' ' || text[at] > '~')
            return false;
    return size >= 1 && size <= MAX_TEXT;
}

static bool choose(int option, const char *text)
{
    switch (option) {
    case STATE: return chosen.state = text, true;
    case DEVICE: return chosen.name = text, plain(text);
    case PORT: return chosen.port = text, true;
    case PTY: return chosen.link = text, true;
    case CSV: return chosen.csv = text, true;
    case DUMP: return chosen.dumping = number(text, 0, 1000000, &chosen.dump);
    case IDENTIFY: return chosen.identify = true;
    case ONCE: return chosen.once = true;
    case VITALS: return number(text, 0, UINT32_MAX, &chosen.vitals);
    case INTERVAL: return number(text, 1, 86400000, &chosen.interval);
    case READINGS: return number(text, 1, MAX_READINGS, &chosen.readings);
    case COUNT: return chosen.counted = number(text, 0, UINT32_MAX, &chosen.count);
    case SEED: return chosen.has_seed = octets(text, chosen.seed, SEED_BYTES);
    case BOOT: return chosen.has_boot = octets(text, chosen.boot, BOOT_BYTES);
    default: return false;
    }
}

/* The samples of the next reading; -1 after the last or where the recording is damaged. */
static int next_samples(struct sample *to)
{
    return chosen.csv ? recorded_next(&recorded, to) : (int)vitals_next(&vitals, to);
}

/* Whether the recording cannot be read on; it is said where. */
static bool damaged(void)
{
    if (recorded.damaged)
        fprintf(stderr, "medledger-device: line %lu of %s is too long, or holds what is no figure\n", recorded.line,
                chosen.csv);
    return recorded.damaged;
}

/* On a clock that goes by itself, to a host that acknowledges each batch at once. */
static int dump(void)
{
    struct sample samples[MAX_SAMPLES];
    uint64_t now = 0, last = device.state.counter + chosen.dump;
    int count;

    fwrite(device.frame, 1, device_send(&device, 0), stdout);
    while (device.state.counter < last && (count = next_samples(samples)) >= 0) {
        now += chosen.interval;
        if (!device_measure(&device, now, samples, (size_t)count))
            return 1;
        fwrite(device.frame, 1, device_send(&device, now), stdout);
        device_acknowledged(&device, now, device.state.counter);
    }
    return fflush(stdout) != 0 || damaged();
}

/* Measure, send and listen; until everything is acknowledged with --once, else until the line is lost. */
static int run(void)
{
    struct sample samples[MAX_SAMPLES];
    uint8_t received[256];
    uint64_t due = chosen.interval, taken = 0;
    size_t size = 0, written = 0;
    bool ended = false;

    while (!host_line_lost() && !(chosen.once && ended && device_idle(&device))) {
        if (!ended && hal_millis() >= due) { /* one at a time: a slow store must not keep the device from speaking */
            int count = chosen.counted && taken == chosen.count ? -1 : next_samples(samples);
            if (damaged())
                return 1;
            ended = count < 0;
            if (ended ? !device_seal(&device, hal_millis())
                      : !device_measure(&device, hal_millis(), samples, (size_t)count))
                return 1;
            taken++, due += chosen.interval;
            if (due < hal_millis())
                due = hal_millis(); /* a moment that was missed is not measured later */
        }
        while (written < size || (written = 0, size = device_send(&device, hal_millis())) > 0) {
            size_t more = hal_write(device.frame + written, size - written);
            if (more == 0)
                break;
            written += more;
        }
        uint64_t until = ended ? hal_millis() + 1000 : due;
        if (written == size && device.deadline < until) /* while the line takes nothing, nothing is said again */
            until = device.deadline;
        hal_wait(until, written < size);
        device_receive(&device, hal_millis(), received, hal_read(received, sizeof received));
    }
    return host_line_lost() ? fputs("medledger-device: the line is lost\n", stderr), 1 : 0;
}

int main(int count, char **arguments)
{
    struct state state;
    int option;

    while ((option = getopt_long(count, arguments, "", OPTIONS, NULL)) != -1) {
        if (option == USAGE)
            return fputs(HELP, stdout) < 0;
        if (!choose(option, optarg))
            return fprintf(stderr, "medledger-device: a wrong option or value; --help lists them\n"), 2;
    }
    if (!chosen.state || optind != count)
        return fprintf(stderr, "medledger-device: --state FILE is required; --help lists all options\n"), 2;
    if (!host_open_state(chosen.state, chosen.has_seed ? chosen.seed : NULL, &state))
        return 1;
    if (chosen.csv && !recorded_open(&recorded, chosen.csv))
        return damaged() ||
               fprintf(stderr, "medledger-device: %s has no column that this device measures\n", chosen.csv) != 0;
    if (!chosen.has_boot)
        host_random(chosen.boot, BOOT_BYTES);
    vitals_start(&vitals, (uint32_t)chosen.vitals);
    device_start(&device, &state, chosen.boot, chosen.name, chosen.readings);
    if (chosen.identify) {
        printf("%s ", chosen.name);
        for (size_t at = 0; at < KEY_BYTES; at++)
            printf("%02x", device.key[at]);
        return putchar('\n') == EOF;
    }
    if (chosen.dumping)
        return dump();
    if (chosen.port ? !host_open_port(chosen.port) : !host_make_pty(chosen.link))
        return 1;
    return run();
}
