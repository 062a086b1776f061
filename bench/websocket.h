/* RFC 6455 framing, as little as two programs that know each other need; text, close, ping and pong, unfragmented. */
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum { WS_HEADER_MAX = 14 };

typedef struct {
    uint8_t opcode;
    bool fin, masked;
    uint8_t mask[4];
    size_t header, payload; /* lengths in bytes */
} WsFrame;

/* 1: a whole frame stands at p; 0: more bytes are needed; -1: not a frame. */
static inline int ws_peek(const uint8_t *p, size_t n, WsFrame *f) {
    if (n < 2) return 0;
    if (p[0] & 0x70) return -1;
    f->fin = p[0] & 0x80;
    f->opcode = p[0] & 0x0f;
    f->masked = p[1] & 0x80;
    size_t len = p[1] & 0x7f, at = 2;
    if (len == 126) {
        if (n < 4) return 0;
        len = (size_t)p[2] << 8 | p[3];
        at = 4;
    } else if (len == 127) {
        if (n < 10) return 0;
        len = 0;
        for (int i = 2; i < 10; i++) len = len << 8 | p[i];
        at = 10;
        if (len > (1u << 24)) return -1;
    }
    if (f->masked) {
        if (n < at + 4) return 0;
        memcpy(f->mask, p + at, 4);
        at += 4;
    }
    f->header = at;
    f->payload = len;
    return n >= at + len;
}

/* Writes a header for `len` bytes of payload, with `mask` if not NULL; returns its length. */
static inline size_t ws_header(uint8_t *out, int opcode, size_t len, const uint8_t *mask) {
    size_t at = 2;
    uint8_t bit = mask ? 0x80 : 0;
    out[0] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        out[1] = (uint8_t)(bit | len);
    } else if (len < 65536) {
        out[1] = bit | 126;
        out[2] = (uint8_t)(len >> 8);
        out[3] = (uint8_t)len;
        at = 4;
    } else {
        out[1] = bit | 127;
        for (int i = 0; i < 8; i++) out[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        at = 10;
    }
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return at;
}

static inline void ws_mask(uint8_t *p, size_t n, const uint8_t mask[4]) {
    uint32_t m;
    memcpy(&m, mask, 4);
    uint64_t wide = (uint64_t)m << 32 | m;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, 8);
        v ^= wide;
        memcpy(p + i, &v, 8);
    }
    for (; i < n; i++) p[i] ^= mask[i & 3];
}

#endif
