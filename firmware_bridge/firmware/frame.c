#include "frame.h"

#include <string.h>

enum { HEAD = 4, CRC = 4 };

/* CRC-32/ISO-HDLC (reflected 0x04C11DB7, start and final xor all ones), four bits at a time: a table of 64 bytes. */
uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffff;
    for (size_t at = 0; at < size; at++) {
        crc ^= bytes[at];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

size_t cobs_encode(const uint8_t *from, size_t size, uint8_t *to)
{
    size_t code_at = 0, out = 1;
    uint8_t code = 1;

    for (size_t at = 0; at < size; at++) {
        if (from[at] != 0) {
            to[out++] = from[at];
            code++;
        }
        if (from[at] == 0 || (code == 255 && at + 1 < size)) {
            to[code_at] = code;
            code_at = out++;
            code = 1;
        }
    }
    to[code_at] = code;
    return out;
}

bool cobs_decode(const uint8_t *from, size_t size, uint8_t *to, size_t *got)
{
    size_t at = 0, out = 0;

    while (at < size) {
        uint8_t code = from[at];
        if (code == 0 || code > size - at)
            return false;
        memmove(to + out, from + at + 1, code - 1u);
        out += code - 1u;
        at += code;
        if (code < 255 && at < size)
            to[out++] = 0;
    }
    *got = out;
    return true;
}

size_t frame_wrap(uint8_t *packet, size_t body, enum kind kind, uint16_t sequence, uint8_t *to)
{
    if (body == 0 || body > PACKET_BYTES - HEAD - CRC)
        return 0;
    packet[0] = LINK_VERSION;
    packet[1] = (uint8_t)kind;
    packet[2] = (uint8_t)sequence; /* little-endian, as the CRC */
    packet[3] = (uint8_t)(sequence >> 8);
    uint32_t crc = crc32_of(packet, HEAD + body);
    for (size_t at = 0; at < CRC; at++)
        packet[HEAD + body + at] = (uint8_t)(crc >> (8 * at));
    to[0] = 0;
    size_t size = cobs_encode(packet, HEAD + body + CRC, to + 1);
    to[1 + size] = 0;
    return size + 2;
}

static bool open_run(struct deframer *deframer, struct frame *frame)
{
    uint8_t *packet = deframer->run;
    size_t size;

    if (!cobs_decode(packet, deframer->size, packet, &size) || size < HEAD + 1 + CRC)
        return false;
    uint32_t crc = 0;
    for (size_t at = 0; at < CRC; at++)
        crc |= (uint32_t)packet[size - CRC + at] << (8 * at);
    if (crc32_of(packet, size - CRC) != crc)
        return false;
    frame->version = packet[0];
    frame->kind = packet[1];
    frame->sequence = (uint16_t)(packet[2] | packet[3] << 8);
    frame->body = packet + HEAD;
    frame->size = size - HEAD - CRC;
    return true;
}

bool deframer_take(struct deframer *deframer, uint8_t byte, struct frame *frame)
{
    if (byte != 0) {
        if (deframer->size == sizeof deframer->run)
            deframer->overlong = true;
        else
            deframer->run[deframer->size++] = byte;
        return false;
    }
    bool found = !deframer->overlong && open_run(deframer, frame);
    deframer->size = 0;
    deframer->overlong = false;
    return found;
}
