/* The firmware's machine as a library, for tests/bridge/test_link_machines.py: no line, no clock, a store that can fail. */
#include "device.h"

#include <sodium.h>
#include <string.h>

static struct device device;
static bool broken;

bool hal_save(const struct state *state) { return state->counter > 0 && !broken; }

void hal_keys(const uint8_t *seed, uint8_t *key, uint8_t *secret) { crypto_sign_seed_keypair(key, secret, seed); }

void hal_sign(const uint8_t *secret, const uint8_t *message, size_t size, uint8_t *to)
{
    crypto_sign_detached(to, NULL, message, size, secret);
}

void shim_start(const uint8_t *seed, uint64_t counter, const uint8_t *boot, size_t per_batch)
{
    struct state state = {.counter = counter};
    memcpy(state.seed, seed, SEED_BYTES);
    broken = false;
    device_start(&device, &state, boot, "SIM-1", per_batch);
}

void shim_break(bool now) { broken = now; }

bool shim_measure(uint64_t now, int64_t mantissa, int exponent, bool absent, size_t count)
{
    struct sample samples[MAX_SAMPLES];
    for (size_t at = 0; at < MAX_SAMPLES; at++)
        samples[at] = (struct sample){"8867-4", "/min", mantissa, exponent, absent};
    return device_measure(&device, now, samples, count);
}

bool shim_seal(uint64_t now) { return device_seal(&device, now); }

void shim_receive(uint64_t now, const uint8_t *bytes, size_t size) { device_receive(&device, now, bytes, size); }

size_t shim_send(uint64_t now, uint8_t *to)
{
    size_t size = device_send(&device, now);
    memcpy(to, device.frame, size);
    return size;
}

uint64_t shim_deadline(void) { return device.deadline; }
