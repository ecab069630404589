/* The device's end of the line, without any I/O but hal_save and hal_sign: docs/serial-link.md as a machine.
 *
 * - Readings gather in the open batch. Sealing gives it the next counter, made durable before anything is sent under
 *   it: no counter is ever used for two batches, whenever the power fails.
 * - Each transmission of a batch says how long ago it was sealed.
 * - Sealed batches stay in the ring until they are acknowledged. A full ring drops its oldest and counts it.
 * - When nothing is acknowledged for a while, all that is kept is said again from the oldest on, after a hello.
 * - The host's bytes are hostile: what is no frame, for another boot or out of range changes nothing.
 */
#ifndef MEDLEDGER_DEVICE_H
#define MEDLEDGER_DEVICE_H

#include "cbor.h"
#include "config.h"
#include "frame.h"
#include "hal.h"

/* One measured value, mantissa * 10^exponent, or the fact that there is none. */
struct sample {
    const char *code; /* LOINC */
    const char *unit; /* UCUM */
    int64_t mantissa;
    int exponent;
    bool absent; /* nothing is connected */
};

struct device {
    const char *name, *model, *firmware;
    size_t per_batch;
    uint8_t boot[BOOT_BYTES], key[KEY_BYTES], secret[SECRET_BYTES];
    struct state state;
    uint64_t oldest; /* lowest counter kept; the next one where none is */
    uint64_t next_to_send;
    uint64_t dropped;
    uint64_t deadline; /* when what is under way is said again; NEVER where nothing is */
    uint32_t timeout;
    uint16_t sequence;
    bool say_hello;
    size_t readings, readings_size; /* of the open batch */
    uint8_t open[READINGS_BYTES];
    struct {
        uint64_t uptime; /* when it was sealed */
        uint16_t size;
        uint8_t bytes[BATCH_BYTES];
    } ring[RING]; /* the batch of a counter stands at the counter modulo RING */
    struct deframer deframer;
    uint8_t packet[PACKET_BYTES]; /* scratch of one call */
    uint8_t frame[FRAME_BYTES];
};

#define NEVER UINT64_MAX

/* The texts must outlive the device and be 1 to MAX_TEXT bytes of ASCII. */
void device_start(struct device *device, const struct state *state, const uint8_t boot[BOOT_BYTES], const char *name,
                  size_t per_batch);

/* One reading, taken at `now`. False where a full batch could not be made durable, which then stays open: the store has
 * failed, and the device should say so to its user and measure no more. */
bool device_measure(struct device *device, uint64_t now, const struct sample *samples, size_t count);

/* End the open batch, if it holds anything. False where the counter could not be made durable. */
bool device_seal(struct device *device, uint64_t now);

void device_receive(struct device *device, uint64_t now, const uint8_t *bytes, size_t size);

/* Every batch up to `counter` is durable with the host. */
void device_acknowledged(struct device *device, uint64_t now, uint64_t counter);

/* The size of the next frame, which stands in `device->frame`; 0 where there is nothing to say. Call again only when
 * all of it has been written. */
size_t device_send(struct device *device, uint64_t now);

/* Whether all that was measured is acknowledged. */
bool device_idle(const struct device *device);

#endif
