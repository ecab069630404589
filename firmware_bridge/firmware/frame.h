/* Frames: version, kind, sequence, body and CRC-32, in COBS, between zero bytes. */
#ifndef MEDLEDGER_FRAME_H
#define MEDLEDGER_FRAME_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_VERSION 1

enum kind { HELLO = 0x01, BATCH = 0x02, ACK = 0x41, ERROR_REPORT = 0x42, ASK = 0x43 };

struct frame {
    uint8_t version, kind;
    uint16_t sequence;
    const uint8_t *body;
    size_t size;
};

uint32_t crc32_of(const uint8_t *bytes, size_t size);

/* COBS without its delimiter. `to` has room for size + size / 254 + 1 bytes. */
size_t cobs_encode(const uint8_t *from, size_t size, uint8_t *to);
/* `to` may be `from`. False where the bytes are no encoding. */
bool cobs_decode(const uint8_t *from, size_t size, uint8_t *to, size_t *got);

/* A frame with both delimiters into `to`, of FRAME_BYTES; its size. `packet` is PACKET_BYTES, whose bytes from 4 on hold
 * the body. 0 where the body is empty or too long. */
size_t frame_wrap(uint8_t *packet, size_t body, enum kind kind, uint16_t sequence, uint8_t *to);

/* What a host's bytes become. A run that is too long is skipped to its end. */
struct deframer {
    uint8_t run[MAX_HOST_PACKET_BYTES + 1];
    size_t size;
    bool overlong;
};

/* Take one byte; true where it completes a frame. The body stays valid until the next byte. */
bool deframer_take(struct deframer *deframer, uint8_t byte, struct frame *frame);

#endif
