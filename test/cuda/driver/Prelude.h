/* SPDX-License-Identifier: Apache-2.0
 * What the C code that Translate writes and the machine that runs it share: C11 and C++17. Its text is put in front of
 * every translated module, so that a change of it compiles them again. CHECKS is 1 or 0 there. */

#ifndef MORPH_TEST_CUDA_DRIVER_PRELUDE_H
#define MORPH_TEST_CUDA_DRIVER_PRELUDE_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a warp does together. */
enum MorphCollective {
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kShuffleIndex,
  kBallot,
  kBarrierWarp,
  kActiveMask,
  kMmaM16N8K16Bf16,
  kMmaM16N8K16F16,
  kMmaM16N8K8Bf16,
  kMmaM16N8K8F16,
  kMmaM16N8K8Tf32,
  kMmaM16N8K4Tf32,
  kLoadMatrix,
  kLoadMatrixTransposed
};

/* How memory is accessed. */
enum MorphAccess { kRead, kWrite, kAtomic };

struct MorphThread;

/* The machine's functions; `site` is the number of the instruction in its module. */
struct MorphApi {
  uint8_t *(*global)(struct MorphThread *, uint32_t site, uint64_t address, uint32_t bytes, uint32_t access);
  uint8_t *(*shared)(struct MorphThread *, uint32_t site, uint64_t address, uint32_t bytes, uint32_t access);
  uint8_t *(*local)(struct MorphThread *, uint32_t site, uint64_t address, uint32_t bytes, uint32_t access);
  uint8_t *(*generic)(struct MorphThread *, uint32_t site, uint64_t address, uint32_t bytes, uint32_t access);
  void (*collective)(struct MorphThread *, uint32_t site, uint32_t kind, uint32_t mask);
  void (*barrier)(struct MorphThread *, uint32_t site, uint32_t id, uint32_t threads, uint32_t aligned);
  void (*copyAsync)(struct MorphThread *, uint32_t site, uint64_t to, uint64_t from, uint32_t bytes, uint32_t source);
  void (*commitAsync)(struct MorphThread *);
  void (*waitAsync)(struct MorphThread *, uint32_t site, uint32_t groups);
  void (*leave)(struct MorphThread *);               /* exit; does not return */
  void (*trap)(struct MorphThread *, uint32_t site); /* does not return */
};

/* A block while it runs. */
struct MorphBlock {
  const struct MorphApi *api;
  const uint8_t *params;
  const uint64_t *globals;       /* addresses of the module's variables */
  const uint32_t *sharedOffsets; /* places of the module's shared variables in this kernel */
  uint64_t *executed;            /* how often each basic block of the module was entered */
  uint8_t *shared;
  uint64_t sharedBytes, deviceBegin, deviceBytes, deviceDelta; /* host address = device address + delta */
  uint32_t dynamicBytes;
  uint32_t ctaid[3], ntid[3], nctaid[3];
};

struct MorphThread {
  struct MorphBlock *block;
  uint8_t *local;
  uint64_t localBytes;
  uint32_t tid[3], index, lane, warp;
  /* Operands and results of collectives. */
  uint32_t in[12], out[4];
  uint32_t predicate, count;
  uint64_t address;
};

typedef void (*MorphKernel)(struct MorphThread *);

#ifdef __cplusplus
}
#endif

#ifdef MORPH_TRANSLATED

#include <fenv.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef float f32;
typedef double f64;
typedef struct MorphThread T;

#define HELPER static inline __attribute__((always_inline, unused))
#define OUTLINE static __attribute__((noinline, unused))

HELPER f32 F(u32 x) {
  f32 f;
  memcpy(&f, &x, 4);
  return f;
}
HELPER u32 U(f32 f) {
  u32 x;
  memcpy(&x, &f, 4);
  return x;
}
HELPER f64 D(u64 x) {
  f64 f;
  memcpy(&f, &x, 8);
  return f;
}
HELPER u64 UD(f64 f) {
  u64 x;
  memcpy(&x, &f, 8);
  return x;
}

/* bf16 and f16 by their bits. A value that is no number becomes the canonical one, as the hardware does. */
HELPER f32 fromBf16(u16 x) { return F((u32)x << 16); }
HELPER u16 toBf16(f32 f) {
  u32 x = U(f);
  return f != f ? 0x7fff : (u16)((x + 0x7fff + (x >> 16 & 1)) >> 16);
}
HELPER u16 toBf16Zero(f32 f) { return f != f ? 0x7fff : (u16)(U(f) >> 16); }
HELPER f32 fromF16(u16 h) {
  u32 sign = (u32)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
  if (e == 31)
    return F(sign | 0x7f800000u | m << 13);
  if (e)
    return F(sign | (e + 112) << 23 | m << 13);
  return F(sign | U((f32)m * 0x1p-24f));
}
HELPER u16 toF16Mode(f32 f, int isZero) {
  u32 x = U(f), sign = x >> 16 & 0x8000, a = x & 0x7fffffff;
  if (a > 0x7f800000u)
    return 0x7fff;
  if (a == 0x7f800000u)
    return (u16)(sign | 0x7c00);
  if (a >= 0x477ff000u && !isZero)
    return (u16)(sign | 0x7c00); /* rounds to infinity */
  if (a >= 0x47800000u)
    return (u16)(sign | 0x7bff);
  if (a < 0x38800000u) { /* subnormal: units of 2^-24 */
    f32 v = F(a) * 0x1p24f;
    u32 i = (u32)v;
    f32 rest = v - (f32)i;
    if (!isZero && (rest > .5f || (rest == .5f && (i & 1))))
      ++i;
    return (u16)(sign | i);
  }
  u32 r = a - 0x38000000u;
  return (u16)(sign | (isZero ? r >> 13 : (r + 0xfff + (r >> 13 & 1)) >> 13));
}
HELPER u16 toF16(f32 f) { return toF16Mode(f, 0); }
HELPER u16 toF16Zero(f32 f) { return toF16Mode(f, 1); }
/* A double to f16 with one rounding: rounded to odd on the way. */
HELPER f32 toOdd(f64 d) {
  f32 f = (f32)d;
  if (d != d || (f64)f == d || __builtin_isinf(f))
    return f;
  u32 x = U(f);
  if (__builtin_fabs((f64)f) > __builtin_fabs(d))
    --x;
  return F(x | 1);
}
/* A sum of doubles, rounded to odd. */
HELPER f64 sumToOdd(f64 a, f64 b) {
  f64 s = a + b;
  f64 t = s - a;
  f64 u = s - t;
  f64 e1 = a - u, e2 = b - t;
  f64 e = e1 + e2; /* what `s` lacks */
  if (!__builtin_isfinite(s) || e == 0 || (UD(s) & 1))
    return s;
  return D((s > 0) == (e > 0) ? UD(s) + 1 : UD(s) - 1);
}
/* An integer as a double, for one rounding to a shorter format: of the bits that a double has no room for, whether any
 * is set. */
HELPER f64 unsignedToOdd(u64 a) { return (f64)(a >> 53 ? (a | (u64)((a & 0x7ff) != 0) << 11) & ~0x7ffull : a); }
HELPER f64 signedToOdd(s64 a) { return a < 0 ? -unsignedToOdd(0 - (u64)a) : unsignedToOdd((u64)a); }
HELPER u32 toTf32(f32 f) {
  u32 x = U(f);
  return f != f ? 0x7fffffffu : (x + 0x1000) & 0xffffe000u;
} /* rna */

HELPER f32 flush(f32 f) { return __builtin_fabsf(f) < 0x1p-126f ? __builtin_copysignf(0, f) : f; }
HELPER f32 saturate(f32 f) { return f > 1 ? 1.0f : f > 0 ? f : 0.0f; }
HELPER f64 saturateD(f64 f) { return f > 1 ? 1.0 : f > 0 ? f : 0.0; }
/* min and max order -0 below +0. */
HELPER f32 minF(f32 a, f32 b) { return a != a ? b : b != b ? a : a < b ? a : b < a ? b : F(U(a) | U(b)); }
HELPER f32 maxF(f32 a, f32 b) { return a != a ? b : b != b ? a : a > b ? a : b > a ? b : F(U(a) & U(b)); }
HELPER f32 minNan(f32 a, f32 b) { return a != a || b != b ? F(0x7fffffffu) : minF(a, b); }
HELPER f32 maxNan(f32 a, f32 b) { return a != a || b != b ? F(0x7fffffffu) : maxF(a, b); }
HELPER f64 minD(f64 a, f64 b) { return a != a ? b : b != b ? a : a < b ? a : b < a ? b : D(UD(a) | UD(b)); }
HELPER f64 maxD(f64 a, f64 b) { return a != a ? b : b != b ? a : a > b ? a : b > a ? b : D(UD(a) & UD(b)); }

/* Directed rounding of fused products: `mode` is -1 (rm), 1 (rp) or 0 (rz). The product of two floats is exact in
 * double; the error of the sum says on which side of the exact value the rounded one lies. */
HELPER f32 fmaDirected(f32 a, f32 b, f32 c, int mode) {
  f64 p = (f64)a * b, x = c;
  f64 s = p + x;
  f64 t = s - p;
  f64 u = s - t;
  f64 e1 = p - u, e2 = x - t;
  f64 e = e1 + e2;
  f32 f = (f32)s;
  if (f != f || __builtin_isinf(s))
    return f;
  if (s == 0 && e == 0)
    return p == 0 && x == 0 && __builtin_signbit(p) == __builtin_signbit(x) ? (f32)p : mode < 0 ? -0.0f : 0.0f;
  int above = (f64)f > s || ((f64)f == s && e < 0), below = (f64)f < s || ((f64)f == s && e > 0);
  int down = mode < 0 || (mode == 0 && s > 0), up = mode > 0 || (mode == 0 && s < 0);
  u32 x32 = U(f);
  if (above && down)
    return f == 0 ? F(0x80000001u) : F(f > 0 ? x32 - 1 : x32 + 1);
  if (below && up)
    return f == 0 ? F(1u) : F(f > 0 ? x32 + 1 : x32 - 1);
  return f;
}
HELPER int fenvMode(int mode) { return mode < 0 ? FE_DOWNWARD : mode > 0 ? FE_UPWARD : FE_TOWARDZERO; }
/* Operations of any rounding, by the processor's own mode. Volatile: they stay between the changes of the mode. */
#define ROUNDED(type, expression)                                                                                      \
  volatile type r;                                                                                                     \
  fesetround(fenvMode(mode));                                                                                          \
  r = expression;                                                                                                      \
  fesetround(FE_TONEAREST);                                                                                            \
  return r
OUTLINE f64 fmaRounded(volatile f64 a, volatile f64 b, volatile f64 c, int mode) {
  ROUNDED(f64, __builtin_fma(a, b, c));
}
OUTLINE f64 addRounded(volatile f64 a, volatile f64 b, int mode) { ROUNDED(f64, a + b); }
OUTLINE f64 mulRounded(volatile f64 a, volatile f64 b, int mode) { ROUNDED(f64, a * b); }
OUTLINE f64 divRounded(volatile f64 a, volatile f64 b, int mode) { ROUNDED(f64, a / b); }
OUTLINE f32 divRoundedF(volatile f32 a, volatile f32 b, int mode) { ROUNDED(f32, a / b); }
OUTLINE f64 sqrtRounded(volatile f64 a, int mode) { ROUNDED(f64, __builtin_sqrt(a)); }
OUTLINE f32 sqrtRoundedF(volatile f32 a, int mode) { ROUNDED(f32, __builtin_sqrtf(a)); }
OUTLINE f32 toSingleRounded(volatile f64 a, int mode) { ROUNDED(f32, (f32)a); }
OUTLINE f64 intRounded(volatile s64 a, volatile u64 b, int isSigned, int isSingle, int mode) {
  ROUNDED(f64, isSingle ? (isSigned ? (f32)a : (f32)b) : isSigned ? (f64)a : (f64)b);
}
/* A float to an integer: out of range saturates; no number is 0, or the upper bit alone where either has 64 bits. */
HELPER s64 toSigned(f64 d, int bits, int isWide) {
  f64 limit = (f64)(1ull << (bits - 1));
  if (d != d)
    return isWide ? (s64)(1ull << (bits - 1)) : 0;
  return d < -limit ? -(s64)(1ull << (bits - 2)) * 2 : d >= limit ? (s64)(((u64)1 << (bits - 1)) - 1) : (s64)d;
}
HELPER u64 toUnsigned(f64 d, int bits, int isWide) {
  u64 most = bits == 64 ? ~0ull : (1ull << bits) - 1;
  if (d != d)
    return isWide ? 1ull << (bits - 1) : 0;
  return d <= 0 ? 0 : d >= (f64)(1ull << (bits - 1)) * 2 ? most : (u64)d;
}
HELPER u32 permute(u32 a, u32 b, u32 s) {
  u64 v = (u64)b << 32 | a;
  u32 r = 0;
  for (int i = 0; i < 4; ++i) {
    u32 q = s >> (4 * i) & 15;
    u8 x = (u8)(v >> (8 * (q & 7)));
    if (q & 8)
      x = (s8)x < 0 ? 255 : 0;
    r |= (u32)x << (8 * i);
  }
  return r;
}
HELPER u64 extractU(u64 a, u32 at, u32 n, u32 bits) {
  at &= 255;
  n &= 255;
  if (n == 0 || at >= bits)
    return 0;
  a >>= at;
  return n >= 64 ? a : a & ((1ull << n) - 1);
}
HELPER u64 extractS(u64 a, u32 at, u32 n, u32 bits) {
  at &= 255;
  n &= 255;
  if (n == 0)
    return 0;
  u32 top = at + n - 1 < bits - 1 ? at + n - 1 : bits - 1;
  u64 sign = a >> top & 1 ? ~0ull : 0;
  if (at >= bits)
    return sign;
  u64 v = a >> at;
  u32 width = top - at + 1;
  return width >= 64 ? v : (v & ((1ull << width) - 1)) | (sign << width);
}
HELPER u64 insertBits(u64 a, u64 b, u32 at, u32 n, u32 bits) {
  at &= 255;
  n &= 255;
  if (n == 0 || at >= bits)
    return b;
  u64 mask = (n >= 64 ? ~0ull : (1ull << n) - 1) << at;
  return (b & ~mask) | (a << at & mask);
}
HELPER u64 reverseBits(u64 a, int bits) {
  u64 r = 0;
  for (int i = 0; i < bits; ++i)
    r |= (a >> i & 1) << (bits - 1 - i);
  return r;
}

#if CHECKS
#define GLOBAL(t, site, a, n, how) ((t)->block->api->global(t, site, a, n, how))
#define SHARED(t, site, a, n, how) ((t)->block->api->shared(t, site, a, n, how))
#define LOCAL(t, site, a, n, how) ((t)->block->api->local(t, site, a, n, how))
#define GENERIC(t, site, a, n, how) ((t)->block->api->generic(t, site, a, n, how))
#define ENTER(t, n) (++(t)->block->executed[n])
#else
HELPER u8 *plain(T *t, u64 a) {
  const struct MorphBlock *b = t->block;
  return (u8 *)(a - b->deviceBegin < b->deviceBytes ? a + b->deviceDelta : a);
}
#define GLOBAL(t, site, a, n, how) plain(t, a)
#define SHARED(t, site, a, n, how) ((t)->block->shared + (u32)(a))
#define LOCAL(t, site, a, n, how) ((u8 *)(a))
#define GENERIC(t, site, a, n, how) plain(t, a)
#define ENTER(t, n) ((void)0)
#endif

#endif /* MORPH_TRANSLATED */

#endif
