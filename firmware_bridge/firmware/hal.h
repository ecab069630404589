/* What the firmware needs of its platform. host/hal.c is the one for a computer; the README says what each function
 * is on a microcontroller. */
#ifndef MEDLEDGER_HAL_H
#define MEDLEDGER_HAL_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What lasts over a loss of power. */
struct state {
    uint8_t seed[SEED_BYTES]; /* of the device's Ed25519 key; never leaves the device */
    uint64_t counter;         /* of the batch sealed last */
};

uint64_t hal_millis(void); /* since the boot; never goes back */

/* MUST have made the state durable before it returns true: a counter that goes back is used twice. */
bool hal_save(const struct state *state);

/* Ed25519 (RFC 8032): 32 bytes of seed and key, 64 of secret (the seed and the key) and signature. */
void hal_keys(const uint8_t *seed, uint8_t *key, uint8_t *secret);
void hal_sign(const uint8_t *secret, const uint8_t *message, size_t size, uint8_t *to);

/* Neither waits. What the line took of these bytes; what came, at most `room`. */
size_t hal_write(const uint8_t *bytes, size_t size);
size_t hal_read(uint8_t *to, size_t room);

/* Sleep until a byte comes, until the line takes bytes (if `writing`), or until this moment, whichever is first. */
void hal_wait(uint64_t until, bool writing);

#endif
