// SPDX-License-Identifier: Apache-2.0
// Every class of instructions against plain C++: one kernel has many cases, each a few lines of PTX on three inputs.

#include "test/cuda/CudaTesting.h"

#include <cfenv>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

namespace morph {
namespace {

template <typename To, typename From> To as(From from) {
  static_assert(sizeof(To) <= sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}
uint64_t bits(float value) { return as<uint32_t>(value); }
uint64_t bits(double value) { return as<uint64_t>(value); }
float single(uint64_t raw) { return as<float>(uint32_t(raw)); }
double wide(uint64_t raw) { return as<double>(raw); }

/// A double rounded to a format of `digits` binary digits whose least normal exponent is `least`; a `mode` of fenv.h.
double rounded(double value, int digits, int least, int mode = FE_TONEAREST) {
  if (value == 0 || !std::isfinite(value))
    return value;
  int exponent = std::max(std::ilogb(value), least);
  double unit = std::ldexp(1.0, exponent - digits + 1);
  std::fesetround(mode);
  volatile double quotient = value / unit, integral = std::nearbyint(quotient);
  std::fesetround(FE_TONEAREST);
  return integral * unit;
}
uint64_t toF16(double value, int mode = FE_TONEAREST) {
  if (std::isnan(value))
    return 0x7fff;
  uint64_t sign = std::signbit(value) ? 0x8000 : 0;
  double r = std::fabs(rounded(std::fabs(value), 11, -14, mode));
  if (r >= 65536)
    return sign | (mode == FE_TONEAREST || std::isinf(value) ? 0x7c00 : 0x7bff);
  if (r < std::ldexp(1.0, -14))
    return sign | uint64_t(r * 0x1p24);
  int exponent = std::ilogb(r);
  return sign | uint64_t(exponent + 15) << 10 | (uint64_t(std::ldexp(r, 10 - exponent)) & 0x3ff);
}
double f16(uint64_t raw) {
  int exponent = raw >> 10 & 31, fraction = raw & 0x3ff;
  double value = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                : std::ldexp(fraction, -24);
  return raw & 0x8000 ? -value : value;
}
uint64_t toBf(double value, int mode = FE_TONEAREST) {
  if (std::isnan(value))
    return 0x7fff;
  double r = rounded(value, 8, -126, mode);
  if (std::fabs(r) > 3.4e38 && !std::isinf(value) && mode != FE_TONEAREST)
    return uint64_t(std::signbit(value) ? 0xff7f : 0x7f7f);
  return bits(float(r)) >> 16;
}
double bf(uint64_t raw) { return single(raw << 16); }

/// An operation in another rounding mode.
template <typename F> auto inMode(int mode, F operation) {
  std::fesetround(mode);
  auto result = operation();
  std::fesetround(FE_TONEAREST);
  return result;
}

template <typename From> float singleInMode(int mode, From from) {
  return inMode(mode, [&] {
    volatile From value = from;
    volatile float result = float(value);
    return float(result);
  });
}

/// A sum for one rounding to a shorter format: where it is no double, the odd one of the doubles on both sides.
double sumToOdd(double x, double y) {
  auto sum = [&] {
    volatile double a = x, b = y, s = a + b;
    return double(s);
  };
  double down = inMode(FE_DOWNWARD, sum), up = inMode(FE_UPWARD, sum);
  return down != up && bits(down) % 2 ? down : down != up ? up : x + y;
}

struct Case {
  const char *ptx; ///< Reads %a, %b, %c (b64), %ra (b32), %ha (b16), %fa (f32), %da (f64) and so on; writes %o or %ro,
                   ///< %ho, %fo, %do.
  std::function<uint64_t(uint64_t a, uint64_t b, uint64_t c)> expected;
  enum Kind {
    Bits,
    Single,
    Double,
    Half
  } kind = Bits;        ///< Of floats: values that are no numbers are one, and zeros of a sign.
  double tolerance = 0; ///< Relative, plus `absolute`.
  double absolute = 0;
};

class NumericsTest : public CudaTest {
protected:
  void check(const std::vector<Case> &cases, const std::vector<uint64_t> &a, const std::vector<uint64_t> &b,
             const std::vector<uint64_t> &c, int target = 80) {
    size_t count = a.size();
    std::string body =
        "  .reg .b64 %a, %b, %c, %o, %at;\n  .reg .b32 %ra, %rb, %rc, %ro;\n  .reg .b16 %ha, %hb, %hc, %ho;\n"
        "  .reg .f32 %fa, %fb, %fc, %fo;\n  .reg .f64 %da, %db, %dc, %do;\n  mov.u32 %r0, %tid.x;\n  mov.u32 %r1, "
        "%ctaid.x;\n"
        "  mad.lo.s32 %r0, %r1, 256, %r0;\n  mul.wide.u32 %at, %r0, 8;\n";
    int buffer = 0;
    for (const char *name : {"a", "b", "c"}) {
      std::string n = name;
      body += "  add.s64 %rd8, %rd" + std::to_string(buffer++) + ", %at;\n  ld.global.u64 %" + n +
              ", [%rd8];\n  cvt.u32.u64 %r" + n + ", %" + n + ";\n  cvt.u16.u64 %h" + n + ", %" + n +
              ";\n  mov.b32 %f" + n + ", %r" + n + ";\n  mov.b64 %d" + n + ", %" + n + ";\n";
    }
    body += "  mul.wide.u32 %rd9, %r0, " + std::to_string(cases.size() * 8) + ";\n  add.s64 %rd9, %rd3, %rd9;\n";
    for (size_t i = 0; i < cases.size(); ++i) {
      std::string text = cases[i].ptx, end;
      if (text.find("%ro") != std::string::npos)
        end = "cvt.u64.u32 %o, %ro;";
      else if (text.find("%ho") != std::string::npos)
        end = "cvt.u64.u16 %o, %ho;";
      else if (text.find("%fo") != std::string::npos)
        end = "mov.b32 %ro, %fo; cvt.u64.u32 %o, %ro;";
      else if (text.find("%do") != std::string::npos)
        end = "mov.b64 %o, %do;";
      body += "  { " + text + " " + end + " st.global.u64 [%rd9+" + std::to_string(i * 8) + "], %o; }\n";
    }
    Buffer<uint64_t> x(a), y(b), z(c), out(count * cases.size());
    ASSERT_CUDA(run(kernel(kernelText("u64 a, u64 b, u64 c, u64 o", body, "", target), "k"), unsigned(count / 256), 256,
                    x.pointer, y.pointer, z.pointer, out.pointer));
    std::vector<uint64_t> result = out.read();
    for (size_t i = 0; i < cases.size(); ++i) {
      int wrong = 0;
      for (size_t k = 0; k < count && wrong < 3; ++k) {
        uint64_t expected = cases[i].expected(a[k], b[k], c[k]), found = result[k * cases.size() + i];
        if (!isSame(cases[i], expected, found)) {
          ++wrong;
          ADD_FAILURE() << cases[i].ptx << "\n  a " << std::hex << a[k] << " b " << b[k] << " c " << c[k] << ": "
                        << found << ", expected " << expected;
        }
      }
    }
  }

  static bool isSame(const Case &one, uint64_t expected, uint64_t found) {
    if (expected == found)
      return true;
    if (one.kind == Case::Bits)
      return false;
    auto value = [&](uint64_t raw) {
      return one.kind == Case::Single ? double(single(raw)) : one.kind == Case::Half ? f16(raw) : wide(raw);
    };
    double e = value(expected), f = value(found);
    if (std::isnan(e) || std::isnan(f))
      return std::isnan(e) && std::isnan(f);
    return (one.tolerance > 0 || one.absolute > 0) && std::fabs(e - f) <= one.tolerance * std::fabs(e) + one.absolute;
  }

  std::mt19937_64 random{11};
  static constexpr size_t kCount = 2048;
  /// Edges first, then numbers of every size.
  std::vector<uint64_t> integers() {
    std::vector<uint64_t> values = {0,
                                    1,
                                    2,
                                    ~0ull,
                                    1ull << 31,
                                    (1ull << 31) - 1,
                                    1ull << 63,
                                    (1ull << 63) - 1,
                                    0xffffffffull,
                                    0x100000000ull,
                                    31,
                                    32,
                                    33,
                                    63,
                                    64,
                                    65,
                                    0xff80,
                                    0x8000};
    while (values.size() < kCount)
      values.push_back(random() >> (random() % 64));
    shuffle(values);
    return values;
  }
  std::vector<uint64_t> singles(float scale = 0) {
    std::vector<uint64_t> values;
    for (float edge : {0.f,      -0.f,      1.f,       -1.f,         .5f,           1.5f,
                       2.5f,     -2.5f,     0x1p-126f, 0x1p-149f,    -0x1p-130f,    0x1.fffffep127f,
                       INFINITY, -INFINITY, NAN,       2147483648.f, -2147483904.f, 4294967296.f,
                       65504.f,  65520.f,   1e-7f,     3e-8f})
      if (scale == 0)
        values.push_back(bits(edge));
    std::normal_distribution<float> normal;
    while (values.size() < kCount)
      values.push_back(scale != 0     ? bits(normal(random) * scale)
                       : random() % 2 ? bits(normal(random) * std::ldexp(1.f, int(random() % 60) - 30))
                                      : random() & 0xffffffff);
    // Some that lie in the middle between two numbers of bf16, or of f16 and tf32.
    for (size_t i = 64; i < values.size(); i += 8) {
      values[i] = (values[i] & 0xffff0000) | 0x8000;
      values[i + 1] = (values[i + 1] & 0xffffe000) | 0x1000;
    }
    shuffle(values);
    return values;
  }
  std::vector<uint64_t> doubles() {
    std::vector<uint64_t> values;
    for (double edge : {0.,
                        -0.,
                        1.,
                        -1.,
                        .5,
                        1.5,
                        2.5,
                        -2.5,
                        0x1p-1022,
                        0x1p-1074,
                        0x1.fffffffffffffp1023,
                        double(INFINITY),
                        -double(INFINITY),
                        double(NAN),
                        9223372036854775808.,
                        1e-40,
                        3e38,
                        4e38,
                        65519.99,
                        65520.})
      values.push_back(bits(edge));
    std::normal_distribution<double> normal;
    while (values.size() < kCount)
      values.push_back(random() % 2 ? bits(normal(random) * std::ldexp(1., int(random() % 120) - 60)) : random());
    shuffle(values);
    return values;
  }
  void shuffle(std::vector<uint64_t> &values) {
    for (size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[random() % i]);
  }
};

using s32 = int32_t;
using u32 = uint32_t;
using s64 = int64_t;
using u64 = uint64_t;
using s128 = __int128;
using u128 = unsigned __int128;

/// A case's expectation from `a`, `b` and `c`.
#define AB []([[maybe_unused]] u64 a, [[maybe_unused]] u64 b, [[maybe_unused]] u64 c) -> u64 { return
#define END                                                                                                            \
  ;                                                                                                                    \
  }
/// One from `x`, `y` and `z`, which `read` makes of the inputs.
#define XYZ(type, read, result)                                                                                        \
  [](u64 a, u64 b, u64 c) -> u64 {                                                                                     \
    [[maybe_unused]] type x = read(a), y = read(b), z = read(c);                                                       \
    return result;                                                                                                     \
  }
#define FF(expression) XYZ(float, single, bits(float(expression))), Case::Single
#define DD(expression) XYZ(double, wide, bits(double(expression))), Case::Double
#define HH(expression) XYZ(double, f16, toF16(expression)), Case::Half
#define BB(expression) XYZ(double, bf, toBf(expression))
/// From `u`, `v` and `w`, in a mode of fenv.h.
#define IN_MODE(type, mode, expression)                                                                                \
  inMode(mode, [x, y, z] {                                                                                             \
    [[maybe_unused]] volatile type u = x, v = y, w = z;                                                                \
    volatile type r = expression;                                                                                      \
    return type(r);                                                                                                    \
  })
#define MODE(mode, expression) FF(IN_MODE(float, mode, expression))
#define MODED(mode, expression) DD(IN_MODE(double, mode, expression))
/// In double, near the inputs' function.
#define NEAR(expression, tolerance, absolute)                                                                          \
  XYZ(double, single, bits(float(expression))), Case::Single, tolerance, absolute

TEST_F(NumericsTest, Integers32) {
  check(
      {
          {"add.s32 %ro, %ra, %rb;", AB u32(a + b) END},
          {"sub.s32 %ro, %ra, %rb;", AB u32(a - b) END},
          {"mul.lo.s32 %ro, %ra, %rb;", AB u32(a * b) END},
          {"mul.hi.s32 %ro, %ra, %rb;", AB u32(s64(s32(a)) * s32(b) >> 32) END},
          {"mul.hi.u32 %ro, %ra, %rb;", AB u64(u32(a)) * u32(b) >> 32 END},
          {"mul.wide.s32 %o, %ra, %rb;", AB u64(s64(s32(a)) * s32(b)) END},
          {"mul.wide.u32 %o, %ra, %rb;", AB u64(u32(a)) * u32(b) END},
          {"mad.lo.s32 %ro, %ra, %rb, %rc;", AB u32(a * b + c) END},
          {"mad.hi.u32 %ro, %ra, %rb, %rc;", AB u32((u64(u32(a)) * u32(b) >> 32) + c) END},
          {"mad.wide.s32 %o, %ra, %rb, %c;", AB u64(s64(s32(a)) * s32(b)) + c END},
          {"mad.wide.u16 %ro, %ha, %hb, %rc;", AB u32((a & 0xffff) * (b & 0xffff) + c) END},
          {"mul.lo.u16 %ho, %ha, %hb;", AB(a * b) & 0xffff END},
          {"mul.wide.s16 %ro, %ha, %hb;", AB u32(s32(int16_t(a)) * int16_t(b)) END},
          {"mul24.lo.u32 %ro, %ra, %rb;", AB u32((a & 0xffffff) * (b & 0xffffff)) END},
          {"sad.s32 %ro, %ra, %rb, %rc;", AB u32(std::llabs(s64(s32(a)) - s32(b)) + c) END},
          {"div.s32 %ro, %ra, %rb;", AB u32(s32(b) == 0 ? ~0u : u32(s64(s32(a)) / s32(b))) END},
          {"div.u32 %ro, %ra, %rb;", AB u32(b) == 0 ? ~0u : u32(a) / u32(b) END},
          {"rem.s32 %ro, %ra, %rb;", AB u32(s32(b) == 0 ? ~0u : u32(s64(s32(a)) % s32(b))) END},
          {"rem.u32 %ro, %ra, %rb;", AB u32(b) == 0 ? ~0u : u32(a) % u32(b) END},
          {"min.s32 %ro, %ra, %rb;", AB u32(std::min(s32(a), s32(b))) END},
          {"max.s32 %ro, %ra, %rb;", AB u32(std::max(s32(a), s32(b))) END},
          {"min.u32 %ro, %ra, %rb;", AB std::min(u32(a), u32(b)) END},
          {"max.s16 %ho, %ha, %hb;", AB uint16_t(std::max(int16_t(a), int16_t(b))) END},
          {"neg.s32 %ro, %ra;", AB u32(0 - a) END},
          {"abs.s32 %ro, %ra;", AB u32(s32(a) < 0 ? 0 - a : a) END},
          {"not.b32 %ro, %ra;", AB u32(~a) END},
          {"cnot.b32 %ro, %ra;", AB u32(a) == 0 END},
          {"and.b32 %ro, %ra, %rb;", AB u32(a & b) END},
          {"or.b32 %ro, %ra, 0x55;", AB u32(a | 0x55) END},
          {"xor.b16 %ho, %ha, %hb;", AB(a ^ b) & 0xffff END},
          {"lop3.b32 %ro, %ra, %rb, %rc, 0xE8;", AB u32((a & b) | (a & c) | (b & c)) END},
          {"lop3.b32 %ro, %ra, %rb, %rc, 0x1B;",
           [](u64 a, u64 b, u64 c) -> u64 {
             u32 r = 0;
             for (int i = 0; i < 32; ++i)
               r |= u32(0x1B >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
             return r;
           }},
          {"shl.b32 %ro, %ra, %rb;", AB u32(b) > 31 ? 0 : u32(a << (b & 31)) END},
          {"shr.u32 %ro, %ra, %rb;", AB u32(b) > 31 ? 0 : u32(a) >> (b & 31) END},
          {"shr.s32 %ro, %ra, %rb;", AB u32(s32(a) >> (u32(b) > 31 ? 31 : b & 31)) END},
          {"shr.s16 %ho, %ha, %rb;", AB uint16_t(int16_t(a) >> (u32(b) > 15 ? 15 : b & 15)) END},
          {"shf.l.wrap.b32 %ro, %ra, %rb, %rc;", AB u32(((b << 32 | u32(a)) << (c & 31)) >> 32) END},
          {"shf.r.clamp.b32 %ro, %ra, %rb, %rc;",
           AB u32((u128(b & 0xffffffff) << 32 | u32(a)) >> std::min<u32>(u32(c), 32)) END},
          {"{ .reg .b32 %t; add.cc.u32 %t, %ra, %rb; addc.u32 %ro, %rc, 5; add.u32 %ro, %ro, %t; }",
           AB u32(u32(a + b) + u32(c) + 5 + u32((u64(u32(a)) + u32(b)) >> 32)) END},
          {"{ .reg .b32 %t; sub.cc.u32 %t, %ra, %rb; subc.u32 %ro, %rc, 5; add.u32 %ro, %ro, %t; }",
           AB u32(u32(a - b) + u32(c) - 5 - (u32(a) < u32(b))) END},
          {"{ .reg .b32 %t; mad.lo.cc.u32 %t, %ra, %rb, %rc; madc.hi.u32 %ro, %ra, %rb, 1; }",
           AB u32((u64(u32(a)) * u32(b) >> 32) + 1 + ((u64(u32(u64(u32(a)) * u32(b))) + u32(c)) >> 32)) END},
          {"add.sat.s32 %ro, %ra, %rb;",
           AB u32(std::min<s64>(std::max<s64>(s64(s32(a)) + s32(b), INT32_MIN), INT32_MAX)) END},
          {"slct.s32.s32 %ro, %ra, %rb, %rc;", AB s32(c) >= 0 ? u32(a) : u32(b) END},
      },
      integers(), integers(), integers());
}

TEST_F(NumericsTest, Integers64) {
  check(
      {
          {"add.s64 %o, %a, %b;", AB a + b END},
          {"mul.lo.s64 %o, %a, %b;", AB a * b END},
          {"mul.hi.s64 %o, %a, %b;", AB u64(s128(s64(a)) * s64(b) >> 64) END},
          {"mul.hi.u64 %o, %a, %b;", AB u64(u128(a) * b >> 64) END},
          {"mad.lo.s64 %o, %a, %b, %c;", AB a * b + c END},
          {"div.s64 %o, %a, %b;", AB b == 0 ? ~0ull : u64(s128(s64(a)) / s64(b)) END},
          {"div.u64 %o, %a, %b;", AB b == 0 ? ~0ull : a / b END},
          {"rem.s64 %o, %a, %b;", AB b == 0 ? ~0ull : u64(s128(s64(a)) % s64(b)) END},
          {"rem.u64 %o, %a, %b;", AB b == 0 ? ~0ull : a % b END},
          {"min.s64 %o, %a, %b;", AB u64(std::min(s64(a), s64(b))) END},
          {"max.u64 %o, %a, %b;", AB std::max(a, b) END},
          {"neg.s64 %o, %a;", AB 0 - a END},
          {"abs.s64 %o, %a;", AB s64(a) < 0 ? 0 - a : a END},
          {"not.b64 %o, %a;", AB ~a END},
          {"xor.b64 %o, %a, %b;", AB a ^ b END},
          {"shl.b64 %o, %a, %rb;", AB u32(b) > 63 ? 0 : a << (b & 63) END},
          {"shr.u64 %o, %a, %rb;", AB u32(b) > 63 ? 0 : a >> (b & 63) END},
          {"shr.s64 %o, %a, %rb;", AB u64(s64(a) >> (u32(b) > 63 ? 63 : b & 63)) END},
          {"{ .reg .b64 %t; add.cc.u64 %t, %a, %b; addc.u64 %o, %c, 0; xor.b64 %o, %o, %t; }",
           AB(c + u64((u128(a) + b) >> 64)) ^ (a + b) END},
      },
      integers(), integers(), integers());
}

// Fields that begin within the word and are no longer than it: of others the hardware's 64 bits are not the manual's.
TEST_F(NumericsTest, BitFields) {
  auto extract = [](u64 a, u64 at, u64 n, int width, bool isSigned) -> u64 {
    // As the PTX manual has it.
    int most = width - 1;
    u64 sign = !isSigned || n == 0 ? 0 : a >> std::min<u64>(at + n - 1, u64(most)) & 1, d = 0;
    for (int i = 0; i <= most; ++i)
      d |= (u64(i) < n && at + u64(i) <= u64(most) ? a >> (at + u64(i)) & 1 : sign) << i;
    return d;
  };
  auto insert = [](u64 a, u64 into, u64 at, u64 n, u64 width) {
    for (u64 i = 0; i < n && at + i < width; ++i)
      into = (into & ~(1ull << (at + i))) | (a >> i & 1) << (at + i);
    return into;
  };
  // From `least` to `most`, half of them at the ends.
  auto within = [&](u64 least, u64 most) {
    std::vector<u64> values(kCount);
    const u64 ends[] = {least, least + 1, most - 1, most};
    for (u64 &value : values)
      value = random() % 2 ? ends[random() % 4] : least + random() % (most - least + 1);
    return values;
  };
  // The upper bits are set in half of them.
  std::vector<u64> words = integers();
  for (u64 &word : words)
    word ^= 0 - random() % 2;
  check({{"bfe.u32 %ro, %ra, %rb, %rc;", [=](u64 a, u64 b, u64 c) { return extract(u32(a), b, c, 32, false); }},
         {"bfe.s32 %ro, %ra, %rb, %rc;", [=](u64 a, u64 b, u64 c) { return extract(u32(a), b, c, 32, true); }},
         {"bfi.b32 %ro, %ra, 0x5a5a5a5a, %rb, %rc;",
          [=](u64 a, u64 b, u64 c) { return insert(a, 0x5a5a5a5a, b, c, 32); }}},
        words, within(0, 31), within(0, 32));
  check({{"bfe.u64 %o, %a, %rb, %rc;", [=](u64 a, u64 b, u64 c) { return extract(a, b, c, 64, false); }},
         {"bfe.s64 %o, %a, %rb, %rc;", [=](u64 a, u64 b, u64 c) { return extract(a, b, c, 64, true); }},
         {"bfi.b64 %o, %a, 0x5a5a5a5a5a5a5a5a, %rb, %rc;",
          [=](u64 a, u64 b, u64 c) { return insert(a, 0x5a5a5a5a5a5a5a5a, b, c, 64); }}},
        words, within(0, 63), within(0, 64));
}

TEST_F(NumericsTest, Bits) {
  check(
      {
          {"popc.b32 %ro, %ra;", AB u64(__builtin_popcount(u32(a))) END},
          {"popc.b64 %ro, %a;", AB u64(__builtin_popcountll(a)) END},
          {"clz.b32 %ro, %ra;", AB u32(a) ? u64(__builtin_clz(u32(a))) : 32 END},
          {"clz.b64 %ro, %a;", AB a ? u64(__builtin_clzll(a)) : 64 END},
          {"brev.b32 %ro, %ra;",
           [](u64 a, u64, u64) {
             u32 r = 0;
             for (int i = 0; i < 32; ++i)
               r |= u32(a >> i & 1) << (31 - i);
             return u64(r);
           }},
          {"bfind.u32 %ro, %ra;", AB u32(a) ? u64(31 - __builtin_clz(u32(a))) : 0xffffffff END},
          {"bfind.s32 %ro, %ra;",
           AB u32(s32(a) < 0 ? ~a : a) ? u64(31 - __builtin_clz(u32(s32(a) < 0 ? ~a : a))) : 0xffffffff END},
          {"bfind.shiftamt.u64 %ro, %a;", AB a ? u64(__builtin_clzll(a)) : 0xffffffff END},
          {"prmt.b32 %ro, %ra, %rb, %rc;",
           [](u64 a, u64 b, u64 c) {
             u64 all = b << 32 | u32(a), r = 0;
             for (int i = 0; i < 4; ++i) {
               u64 selector = c >> (4 * i) & 15, byte = all >> (8 * (selector & 7)) & 255;
               r |= (selector & 8 ? (byte & 128 ? 255 : 0) : byte) << (8 * i);
             }
             return r;
           }},
          {"{ .reg .b16 %l, %h; mov.b32 {%l, %h}, %ra; mov.b32 %ro, {%h, %l}; }", AB u32(a << 16 | u32(a) >> 16) END},
          {"{ .reg .b32 %l, %h; mov.b64 {%l, %h}, %a; mov.b64 %o, {%h, %l}; }", AB a << 32 | a >> 32 END},
          {"{ .reg .b16 %x, %y, %z, %w; mov.b64 {%x, %y, %z, %w}, %a; mov.b64 %o, {%w, %z, %y, %x}; }",
           AB a << 48 | (a >> 16 & 0xffff) << 32 | (a >> 32 & 0xffff) << 16 | a >> 48 END},
          {"selp.b32 %ro, %ra, %rb, 1;", AB u32(a) END},
          {"{ .reg .pred %q, %s; setp.lt.s32 %q|%s, %ra, %rb; selp.b32 %ro, 1, 0, %q; @%s add.s32 %ro, %ro, 2; }",
           AB s32(a) < s32(b) ? 1 : 2 END},
          {"{ .reg .pred %q; setp.ne.s32 %q, %rc, 3; setp.ge.and.u32 %q, %ra, %rb, %q; selp.b32 %ro, 1, 0, %q; }",
           AB u32(a) >= u32(b) && u32(c) != 3 END},
          {"{ .reg .pred %q; setp.hi.u64 %q, %a, %b; selp.b32 %ro, 1, 0, %q; }", AB a > b END},
          {"{ .reg .pred %q; setp.le.s64 %q, %a, %b; selp.b32 %ro, 1, 0, %q; }", AB s64(a) <= s64(b) END},
          {"{ .reg .pred %q, %s; setp.eq.s16 %q, %ha, %hb; not.pred %s, %q; xor.pred %q, %q, %s; selp.b32 %ro, 1, 0, "
           "%q; }",
           AB 1 END},
          {"{ .reg .pred %q; mov.pred %q, -1; xor.pred %q, %q, -1; selp.b32 %ro, 1, 0, %q; }", AB 0 END},
          {"set.lt.u32.s32 %ro, %ra, %rb;", AB s32(a) < s32(b) ? 0xffffffff : 0 END},
          {"{ .reg .pred %q; mov.b32 %ro, 7; setp.lt.u32 %q, %ra, 1000; @%q bra $L_less; mov.b32 %ro, 9; $L_less: "
           "add.s32 %ro, %ro, 1; }",
           AB u32(a) < 1000 ? 8 : 10 END},
          {"{ .reg .b32 %t; and.b32 %t, %ra, 3; $L_ts: .branchtargets $L_t0, $L_t1, $L_t2, $L_t3; brx.idx %t, $L_ts; "
           "$L_t0: mov.u32 %ro, 5; bra.uni $L_te;"
           " $L_t1: mov.u32 %ro, 7; bra.uni $L_te; $L_t2: mov.u32 %ro, 11; bra.uni $L_te; $L_t3: mov.u32 %ro, 13; "
           "$L_te: }",
           [](u64 a, u64, u64) {
             const u64 table[] = {5, 7, 11, 13};
             return table[a & 3];
           }},
      },
      integers(), integers(), integers());
}

TEST_F(NumericsTest, Singles) {
  auto flush = [](float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.f, v) : v; };
  check(
      {
          {"add.rn.f32 %fo, %fa, %fb;", FF(x + y)},
          {"sub.f32 %fo, %fa, %fb;", FF(x - y)},
          {"mul.rn.f32 %fo, %fa, %fb;", FF(x * y)},
          {"fma.rn.f32 %fo, %fa, %fb, %fc;", FF(std::fma(x, y, z))},
          {"add.rm.f32 %fo, %fa, %fb;", MODE(FE_DOWNWARD, u + v)},
          {"add.rz.f32 %fo, %fa, %fb;", MODE(FE_TOWARDZERO, u + v)},
          {"sub.rp.f32 %fo, %fa, %fb;", MODE(FE_UPWARD, u - v)},
          {"mul.rm.f32 %fo, %fa, %fb;", MODE(FE_DOWNWARD, u * v)},
          {"mul.rz.f32 %fo, %fa, %fb;", MODE(FE_TOWARDZERO, u * v)},
          {"mul.rp.f32 %fo, %fa, %fb;", MODE(FE_UPWARD, u * v)},
          {"fma.rm.f32 %fo, %fa, %fb, %fc;", MODE(FE_DOWNWARD, std::fma(u, v, w))},
          {"fma.rz.f32 %fo, %fa, %fb, %fc;", MODE(FE_TOWARDZERO, std::fma(u, v, w))},
          {"fma.rp.f32 %fo, %fa, %fb, %fc;", MODE(FE_UPWARD, std::fma(u, v, w))},
          {"div.rn.f32 %fo, %fa, %fb;", FF(x / y)},
          {"div.rz.f32 %fo, %fa, %fb;", MODE(FE_TOWARDZERO, u / v)},
          {"rcp.rn.f32 %fo, %fa;", FF(1 / x)},
          {"sqrt.rn.f32 %fo, %fa;", FF(std::sqrt(x))},
          {"sqrt.rm.f32 %fo, %fa;", MODE(FE_DOWNWARD, std::sqrt(u))},
          {"neg.f32 %fo, %fa;", FF(-x)},
          {"abs.f32 %fo, %fa;", FF(std::fabs(x))},
          {"min.f32 %fo, %fa, %fb;", FF(std::isnan(x)                          ? y
                                        : std::isnan(y)                        ? x
                                        : x < y || (x == y && std::signbit(x)) ? x
                                                                               : y)},
          {"max.f32 %fo, %fa, %fb;", FF(std::isnan(x)                           ? y
                                        : std::isnan(y)                         ? x
                                        : x > y || (x == y && !std::signbit(x)) ? x
                                                                                : y)},
          {"min.NaN.f32 %fo, %fa, %fb;", FF(std::isnan(x) || std::isnan(y)         ? NAN
                                            : x < y || (x == y && std::signbit(x)) ? x
                                                                                   : y)},
          {"max.NaN.f32 %fo, %fa, %fb;", FF(std::isnan(x) || std::isnan(y)          ? NAN
                                            : x > y || (x == y && !std::signbit(x)) ? x
                                                                                    : y)},
          {"add.ftz.f32 %fo, %fa, %fb;",
           [=](u64 a, u64 b, u64) { return bits(flush(flush(single(a)) + flush(single(b)))); }, Case::Single},
          {"mul.ftz.f32 %fo, %fa, %fb;",
           [=](u64 a, u64 b, u64) { return bits(flush(flush(single(a)) * flush(single(b)))); }, Case::Single},
          {"fma.rn.sat.f32 %fo, %fa, %fb, %fc;", FF([](float v) {
             return v > 1 ? 1.f : v > 0 ? v : 0.f;
           }(std::fma(x, y, z)))},
          {"copysign.f32 %fo, %fa, %fb;", FF(std::copysign(y, x))},
          {"selp.f32 %fo, %fa, %fb, 0;", FF(y)},
          {"{ .reg .pred %q; setp.lt.f32 %q, %fa, %fb; selp.b32 %ro, 1, 0, %q; }", AB single(a) < single(b) END},
          {"{ .reg .pred %q; setp.ne.f32 %q, %fa, %fb; selp.b32 %ro, 1, 0, %q; }",
           AB single(a) < single(b) || single(a) > single(b) END},
          {"{ .reg .pred %q; setp.geu.f32 %q, %fa, %fb; selp.b32 %ro, 1, 0, %q; }", AB !(single(a) < single(b)) END},
          {"{ .reg .pred %q; setp.equ.f32 %q, %fa, %fa; selp.b32 %ro, 1, 0, %q; }", AB 1 END},
          {"{ .reg .pred %q; setp.num.f32 %q, %fa, %fb; selp.b32 %ro, 1, 0, %q; }",
           AB !std::isnan(single(a)) && !std::isnan(single(b)) END},
          {"{ .reg .pred %q; setp.nan.f32 %q, %fa, %fb; selp.b32 %ro, 1, 0, %q; }",
           AB std::isnan(single(a)) || std::isnan(single(b)) END},
          {"{ .reg .pred %q; setp.neu.f32 %q, %fa, 0f3F800000; selp.b32 %ro, 1, 0, %q; }", AB !(single(a) == 1) END},
          {"{ .reg .pred %q; testp.subnormal.f32 %q, %fa; selp.b32 %ro, 1, 0, %q; }",
           AB std::fpclassify(single(a)) == FP_SUBNORMAL END},
          {"{ .reg .pred %q; testp.finite.f32 %q, %fa; selp.b32 %ro, 1, 0, %q; }", AB std::isfinite(single(a)) END},
          {"mov.f32 %fo, 0fC0490FDB;", FF(-3.14159274f)},
      },
      singles(), singles(), singles());
}

TEST_F(NumericsTest, Doubles) {
  check(
      {
          {"add.rn.f64 %do, %da, %db;", DD(x + y)},
          {"sub.rn.f64 %do, %da, %db;", DD(x - y)},
          {"mul.rn.f64 %do, %da, %db;", DD(x * y)},
          {"fma.rn.f64 %do, %da, %db, %dc;", DD(std::fma(x, y, z))},
          {"fma.rm.f64 %do, %da, %db, %dc;", MODED(FE_DOWNWARD, std::fma(u, v, w))},
          {"add.rp.f64 %do, %da, %db;", MODED(FE_UPWARD, u + v)},
          {"mul.rz.f64 %do, %da, %db;", MODED(FE_TOWARDZERO, u * v)},
          {"div.rn.f64 %do, %da, %db;", DD(x / y)},
          {"rcp.rn.f64 %do, %da;", DD(1 / x)},
          {"sqrt.rn.f64 %do, %da;", DD(std::sqrt(x))},
          {"neg.f64 %do, %da;", DD(-x)},
          {"abs.f64 %do, %da;", DD(std::fabs(x))},
          {"min.f64 %do, %da, %db;", DD(std::isnan(x)                          ? y
                                        : std::isnan(y)                        ? x
                                        : x < y || (x == y && std::signbit(x)) ? x
                                                                               : y)},
          {"max.f64 %do, %da, %db;", DD(std::isnan(x)                           ? y
                                        : std::isnan(y)                         ? x
                                        : x > y || (x == y && !std::signbit(x)) ? x
                                                                                : y)},
          {"{ .reg .pred %q; setp.leu.f64 %q, %da, %db; selp.f64 %do, %da, %db, %q; }", DD(!(x > y) ? x : y)},
          {"mov.f64 %do, 0d3FF8000000000000;", DD(1.5)},
          {"add.f64 %do, %da, 2.5;", DD(x + 2.5)},
          {"copysign.f64 %do, %da, %db;", DD(std::copysign(y, x))},
      },
      doubles(), doubles(), doubles());
}

TEST_F(NumericsTest, Halves) {
  auto both = [](u64 (*one)(u64, u64, u64)) {
    return [one](u64 a, u64 b, u64 c) {
      return one(a & 0xffff, b & 0xffff, c & 0xffff) | one(a >> 16 & 0xffff, b >> 16 & 0xffff, c >> 16 & 0xffff) << 16;
    };
  };
  // Numbers, so that no product is too large.
  auto numbers = [&] {
    std::vector<u64> values;
    for (u64 value : integers()) {
      value = random();
      for (int shift : {0, 16})
        if ((value >> (shift + 7) & 0xff) > 0xc0 || (value >> (shift + 7) & 0xff) < 0x40 ||
            (value >> (shift + 10) & 31) == 31)
          value ^= (value >> (shift + 7) & 0xff) << (shift + 7), value |= u64(0x3f) << (shift + 8);
      values.push_back(value);
    }
    return values;
  };
  check(
      {
          {"add.rn.f16 %ho, %ha, %hb;", HH(x + y)},
          {"sub.f16 %ho, %ha, %hb;", HH(x - y)},
          {"mul.rn.f16 %ho, %ha, %hb;", HH(x * y)},
          {"fma.rn.f16 %ho, %ha, %hb, %hc;", HH(x * y + z)},
          {"neg.f16 %ho, %ha;", HH(-x)},
          {"abs.f16 %ho, %ha;", HH(std::fabs(x))},
          {"max.f16 %ho, %ha, %hb;", HH(std::max(x, y))},
          {"{ .reg .pred %q; setp.lt.f16 %q, %ha, %hb; selp.b16 %ho, %ha, %hb, %q; }", HH(std::min(x, y))},
          {"add.rn.f16x2 %ro, %ra, %rb;", both([](u64 a, u64 b, u64) { return toF16(f16(a) + f16(b)); })},
          {"fma.rn.f16x2 %ro, %ra, %rb, %rc;",
           both([](u64 a, u64 b, u64 c) { return toF16(f16(a) * f16(b) + f16(c)); })},
          {"fma.rn.bf16 %ho, %ha, %hb, %hc;", BB(sumToOdd(x * y, z))},
          {"fma.rn.bf16x2 %ro, %ra, %rb, %rc;",
           both([](u64 a, u64 b, u64 c) { return toBf(sumToOdd(bf(a) * bf(b), bf(c))); })},
          {"max.bf16 %ho, %ha, %hb;", BB(std::max(x, y))},
          {"min.bf16x2 %ro, %ra, %rb;", both([](u64 a, u64 b, u64) { return toBf(std::min(bf(a), bf(b))); })},
          {"neg.bf16 %ho, %ha;", BB(-x)},
          {"neg.bf16x2 %ro, %ra;", AB u32(a ^ 0x80008000) END},
          {"cvt.f32.f16 %fo, %ha;", AB bits(float(f16(a))) END},
          {"cvt.f64.f16 %do, %ha;", AB bits(f16(a)) END},
          {"cvt.rni.f16.f16 %ho, %ha;", HH(std::nearbyint(x))},
          {"cvt.rzi.s32.f16 %ro, %ha;", AB u32(s32(std::trunc(f16(a)))) END},
          {"{ .reg .b32 %t; mov.b32 %t, {0, %ha}; mov.b32 %fo, %t; }", AB bits(float(bf(a))) END},
      },
      numbers(), numbers(), numbers());
}

TEST_F(NumericsTest, HalvesOfSm90) {
  if (!isStandIn()) {
    int major = 0;
    cuda().cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
    if (major < 9)
      GTEST_SKIP() << "the device has no instructions of sm_90";
  }
  auto numbers = [&] {
    std::vector<u64> values = integers();
    for (u64 &value : values)
      value = (random() & 0x807f) | (0x70 + random() % 32) << 7;
    return values;
  };
  check(
      {
          {"add.rn.bf16 %ho, %ha, %hb;", BB(x + y)},
          {"sub.rn.bf16 %ho, %ha, %hb;", BB(x - y)},
          {"mul.rn.bf16 %ho, %ha, %hb;", BB(x * y)},
          {"cvt.f32.bf16 %fo, %ha;", AB bits(float(bf(a))) END},
          {"cvt.rn.bf16.s32 %ho, %ra;", AB toBf(s32(a)) END},
          {"cvt.rzi.s32.bf16 %ro, %ha;", AB u32(s32(bf(a))) END},
      },
      numbers(), numbers(), numbers(), 90);
  // Long integers in the middle between two numbers of bf16, and next to it: a double has not room for all their bits.
  std::vector<u64> middles = integers();
  for (u64 &value : middles)
    value = (((0x100 | random() % 0x100) << 1 | 1) << (44 + random() % 11)) + random() % 3 - 1;
  auto rest = [](u64 a) { return double(u32(a)); };
  check(
      {
          {"cvt.rn.bf16.s64 %ho, %a;",
           [=](u64 a, u64, u64) { return toBf(sumToOdd((s64(a) >> 32) * 0x1p32, rest(a))); }},
          {"cvt.rn.bf16.u64 %ho, %a;", [=](u64 a, u64, u64) { return toBf(sumToOdd((a >> 32) * 0x1p32, rest(a))); }},
      },
      middles, middles, middles, 90);
}

TEST_F(NumericsTest, ConversionsOfIntegers) {
  check(
      {
          {"cvt.u64.u32 %o, %ra;", AB u32(a) END},
          {"cvt.s64.s32 %o, %ra;", AB u64(s64(s32(a))) END},
          {"cvt.u32.u64 %ro, %a;", AB u32(a) END},
          {"cvt.s32.s8 %ro, %ra;", AB u32(s32(int8_t(a))) END},
          {"cvt.u32.u8 %ro, %ra;", AB a & 255 END},
          {"cvt.s32.s16 %ro, %ha;", AB u32(s32(int16_t(a))) END},
          {"cvt.u16.u32 %ho, %ra;", AB a & 0xffff END},
          {"cvt.sat.s8.s32 %ro, %ra;", AB u32(std::min(127, std::max(-128, s32(a)))) END},
          {"cvt.sat.u16.s32 %ho, %ra;", AB u32(std::min(65535, std::max(0, s32(a)))) END},
          {"cvt.rn.f32.s32 %fo, %ra;", AB bits(float(s32(a))) END},
          {"cvt.rn.f32.u32 %fo, %ra;", AB bits(float(u32(a))) END},
          {"cvt.rn.f32.s64 %fo, %a;", AB bits(float(s64(a))) END},
          {"cvt.rn.f32.u64 %fo, %a;", AB bits(float(a)) END},
          {"cvt.rz.f32.u32 %fo, %ra;", AB bits(singleInMode(FE_TOWARDZERO, u32(a))) END},
          {"cvt.rp.f32.s64 %fo, %a;", AB bits(singleInMode(FE_UPWARD, s64(a))) END},
          {"cvt.rm.f32.u64 %fo, %a;", AB bits(singleInMode(FE_DOWNWARD, a)) END},
          {"cvt.rn.f64.s32 %do, %ra;", AB bits(double(s32(a))) END},
          {"cvt.rn.f64.u64 %do, %a;", AB bits(double(a)) END},
          {"cvt.rn.f64.s64 %do, %a;", AB bits(double(s64(a))) END},
          {"cvt.rn.f16.s32 %ho, %ra;", AB toF16(s32(a)) END},
          {"cvt.rn.f16.u16 %ho, %ha;", AB toF16(a & 0xffff) END},
          {"cvt.rn.f16.s64 %ho, %a;", AB toF16(double(s64(a))) END},
          {"cvt.rn.f32.u8 %fo, %ra;", AB bits(float(a & 255)) END},
          {"cvt.rn.f32.s16 %fo, %ha;", AB bits(float(int16_t(a))) END},
      },
      integers(), integers(), integers());
}

/// A float to an integer of `width` bits, as the PTX manual has it: out of range saturates; no number is zero, or the
/// upper bit alone where either has 64 bits.
u64 toInteger(double value, int width, bool isSigned, bool isDouble = false) {
  if (std::isnan(value))
    return width == 64 || isDouble ? 1ull << (width - 1) : 0;
  double least = isSigned ? -std::ldexp(1.0, width - 1) : 0, most = std::ldexp(1.0, isSigned ? width - 1 : width);
  u64 mask = width == 64 ? ~0ull : (1ull << width) - 1;
  if (value <= least)
    return isSigned ? (1ull << (width - 1)) : 0;
  if (value >= most)
    return isSigned ? mask >> 1 : mask;
  return (isSigned ? u64(s64(value)) : u64(value)) & mask;
}

TEST_F(NumericsTest, ConversionsOfFloats) {
  check(
      {
          {"cvt.rzi.s32.f32 %ro, %fa;", AB toInteger(std::trunc(single(a)), 32, true) END},
          {"cvt.rni.s32.f32 %ro, %fa;", AB toInteger(std::nearbyint(single(a)), 32, true) END},
          {"cvt.rmi.s32.f32 %ro, %fa;", AB toInteger(std::floor(single(a)), 32, true) END},
          {"cvt.rpi.s32.f32 %ro, %fa;", AB toInteger(std::ceil(single(a)), 32, true) END},
          {"cvt.rzi.u32.f32 %ro, %fa;", AB toInteger(std::trunc(single(a)), 32, false) END},
          {"cvt.rzi.s64.f32 %o, %fa;", AB toInteger(std::trunc(single(a)), 64, true) END},
          {"cvt.rzi.u64.f32 %o, %fa;", AB toInteger(std::trunc(single(a)), 64, false) END},
          {"cvt.rni.f32.f32 %fo, %fa;", FF(std::nearbyint(x))},
          {"cvt.rzi.f32.f32 %fo, %fa;", FF(std::trunc(x))},
          {"cvt.rmi.f32.f32 %fo, %fa;", FF(std::floor(x))},
          {"cvt.rpi.f32.f32 %fo, %fa;", FF(std::ceil(x))},
          {"cvt.sat.f32.f32 %fo, %fa;", FF(x > 1   ? 1.f
                                           : x > 0 ? x
                                                   : 0.f)},
          {"cvt.ftz.f32.f32 %fo, %fa;", FF(std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x)},
          {"cvt.f64.f32 %do, %fa;", AB bits(double(single(a))) END, Case::Double},
          {"cvt.rn.f16.f32 %ho, %fa;", AB toF16(single(a)) END, Case::Half},
          {"cvt.rz.f16.f32 %ho, %fa;", AB toF16(single(a), FE_TOWARDZERO) END, Case::Half},
          {"cvt.rn.bf16.f32 %ho, %fa;", AB toBf(single(a)) END},
          {"cvt.rz.bf16.f32 %ho, %fa;", AB toBf(single(a), FE_TOWARDZERO) END},
          {"cvt.rn.relu.bf16.f32 %ho, %fa;",
           AB single(a) < 0 ? 0 : toBf(single(a)) & (single(a) == 0 ? 0 : 0xffff) END},
          {"cvt.rn.bf16x2.f32 %ro, %fa, %fb;", AB toBf(single(a)) << 16 | toBf(single(b)) END},
          {"cvt.rz.f16x2.f32 %ro, %fa, %fb;",
           AB toF16(single(a), FE_TOWARDZERO) << 16 | toF16(single(b), FE_TOWARDZERO) END},
          {"{ cvt.rna.tf32.f32 %ro, %fa; and.b32 %ro, %ro, 0xffffe000; mov.b32 %fo, %ro; }",
           [](u64 a, u64, u64) -> u64 {
             return std::isnan(single(a)) ? a : std::isinf(single(a)) ? a : (a + 0x1000) & 0xffffe000;
           },
           Case::Single},
      },
      singles(), singles(), singles());
  check(
      {
          {"cvt.rn.f32.f64 %fo, %da;", AB bits(float(wide(a))) END, Case::Single},
          {"cvt.rz.f32.f64 %fo, %da;", AB bits(singleInMode(FE_TOWARDZERO, wide(a))) END, Case::Single},
          {"cvt.rm.f32.f64 %fo, %da;", AB bits(singleInMode(FE_DOWNWARD, wide(a))) END, Case::Single},
          {"cvt.rn.f16.f64 %ho, %da;", AB toF16(wide(a)) END, Case::Half},
          {"cvt.rzi.s32.f64 %ro, %da;", AB toInteger(std::trunc(wide(a)), 32, true, true) END},
          {"cvt.rni.s64.f64 %o, %da;", AB toInteger(std::nearbyint(wide(a)), 64, true) END},
          {"cvt.rzi.u64.f64 %o, %da;", AB toInteger(std::trunc(wide(a)), 64, false) END},
          {"cvt.rmi.f64.f64 %do, %da;", DD(std::floor(x))},
      },
      doubles(), doubles(), doubles());
}

TEST_F(NumericsTest, ApproximateFunctions) {
  auto inputs = [&] {
    std::vector<u64> values = singles(3);
    for (u64 &value : values) // The upper half makes a plain double of it.
      value |= u64(0x3fe00000 | (random() & 0x1fffff)) << 32;
    return values;
  };
  // The bounds are those of the PTX manual.
  check(
      {
          {"ex2.approx.f32 %fo, %fa;", NEAR(std::exp2(x), 0x1p-22, 0)},
          {"ex2.approx.ftz.f32 %fo, %fa;", NEAR(std::exp2(x), 0x1p-22, 0)},
          {"lg2.approx.f32 %fo, %fa;", NEAR(std::log2(x), 0x1p-22, 0x1p-22)},
          {"rcp.approx.ftz.f32 %fo, %fa;", NEAR(1 / x, 0x1p-22, 0)},
          {"rsqrt.approx.f32 %fo, %fa;", NEAR(1 / std::sqrt(x), 0x1.8p-23, 0)},
          {"sqrt.approx.f32 %fo, %fa;", NEAR(std::sqrt(x), 0x1p-22, 0)},
          {"div.approx.f32 %fo, %fa, %fb;", NEAR(x / y, 0x1p-22, 0)},
          {"div.full.f32 %fo, %fa, %fb;", NEAR(x / y, 0x1p-22, 0)},
          {"sin.approx.f32 %fo, %fa;", NEAR(std::sin(x), 0, 0x1p-15)},
          {"cos.approx.f32 %fo, %fa;", NEAR(std::cos(x), 0, 0x1p-15)},
          {"tanh.approx.f32 %fo, %fa;", NEAR(std::tanh(x), 0x1p-10, 0)},
          {"{ rcp.approx.ftz.f64 %do, %da; }", [](u64 a, u64, u64) { return bits(1 / wide(a)); }, Case::Double,
           0x1p-19},
          {"{ rsqrt.approx.f64 %do, %db; }", [](u64, u64 b, u64) { return bits(1 / std::sqrt(wide(b))); }, Case::Double,
           0x1p-50},
      },
      inputs(), inputs(), singles(3));
}

} // namespace
} // namespace morph
