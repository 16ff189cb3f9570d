// Logic, shifts, bit fields and permutations.
#include <algorithm>

#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a ^ b);
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct LogicalNot {
  template <class T>
  T operator()(T a) const {
    return a == 0;
  }
};
template <class F>
void OnPredicates(Warp& w, const Inst& i, u32 m) {
  SetMask(w, i.r[0], m, F{}(*w.w(i.r[1]), *w.w(i.r[2])));
}

template <class F>
void EncodeLogic(Encoder& e) {
  const Type type = e.TakeType();
  if (type == Type::kPred) {
    e.Want(3);
    return e.Set(OnPredicates<F>, {e.UsePredicate(0), e.UsePredicate(1), e.UsePredicate(2)});
  }
  if (!IsBits(type)) e.Refuse();
  e.Same(Binary<F, u16, u32, u64>(BitsAsUnsigned(type)), 3, SizeOf(type));
}
void EncodeNot(Encoder& e) {
  const Type type = e.TakeType();
  if (type == Type::kPred) {
    e.Want(2);
    return e.Set([](Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, ~*w.w(i.r[1])); },
                 {e.UsePredicate(0), e.UsePredicate(1)});
  }
  if (!IsBits(type)) e.Refuse();
  e.Same(Unary<Not, u16, u32, u64>(BitsAsUnsigned(type)), 2, SizeOf(type));
}
void EncodeLogicalNot(Encoder& e) {
  const Type type = e.TakeType();
  if (!IsBits(type)) e.Refuse();
  e.Same(Unary<LogicalNot, u16, u32, u64>(BitsAsUnsigned(type)), 2, SizeOf(type));
}

// Any function of three bits: the truth table is inst.mode.
void Lop3(Warp& w, const Inst& i, u32 m) {
  u32 *d = w.w(i.r[0]), *a = w.w(i.r[1]), *b = w.w(i.r[2]), *c = w.w(i.r[3]);
  u32 bit[8];
  for (int j = 0; j < 8; ++j) bit[j] = (i.mode >> j & 1) != 0 ? ~0u : 0;
  ForLanes(m, [&](int l) {
    const u32 x = a[l], y = b[l], z = c[l];
    d[l] = (bit[0] & ~x & ~y & ~z) | (bit[1] & ~x & ~y & z) | (bit[2] & ~x & y & ~z) |
           (bit[3] & ~x & y & z) | (bit[4] & x & ~y & ~z) | (bit[5] & x & ~y & z) |
           (bit[6] & x & y & ~z) | (bit[7] & x & y & z);
  });
}
void EncodeLop3(Encoder& e) {
  if (e.TakeType() != Type::kB32) e.Refuse();
  e.Want(5);
  e.inst.mode = static_cast<u8>(e.Number(4));
  e.DropLast();
  e.Same(Lop3, 4, 4);
}

// ---- shifts: by more than the width as far as it goes
struct ShiftLeft {
  template <class T>
  T operator()(T a, u32 b) const {
    return static_cast<T>(b >= 8 * sizeof(T) ? 0 : static_cast<u64>(a) << b);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, u32 b) const {
    constexpr u32 kMost = 8 * sizeof(T) - 1;
    if (std::is_unsigned_v<T> && b > kMost) return 0;
    return static_cast<T>(a >> std::min(b, kMost));
  }
};
template <class F, class... T>
void EncodeShift(Encoder& e, Type type) {
  Fn fn = nullptr;
  ((kTypeOf<T> == type ? void(fn = Each<F, T, T, u32>) : void()), ...);
  e.Want(3);
  e.Set(fn, {e.Use(0, SizeOf(type)), e.Use(1, SizeOf(type)), e.Use(2, 4)});
}
void EncodeShiftLeft(Encoder& e) {
  const Type type = e.TakeType();
  if (!IsBits(type)) e.Refuse();
  EncodeShift<ShiftLeft, u16, u32, u64>(e, BitsAsUnsigned(type));
}
void EncodeShiftRight(Encoder& e) {
  EncodeShift<ShiftRight, u16, u32, u64, i16, i32, i64>(e, BitsAsUnsigned(e.TakeType()));
}

// Of a pair of registers: (b, a) << c and the upper half, >> c and the lower half.
template <bool kLeft, bool kWrap>
struct FunnelShift {
  u32 operator()(u32 a, u32 b, u32 c) const {
    const u64 both = u64{b} << 32 | a;
    const u32 n = kWrap ? c & 31 : std::min(c, 32u);
    return static_cast<u32>(kLeft ? (n == 32 ? u64{a} : both << n >> 32)
                                  : (n == 32 ? u64{b} : both >> n));
  }
};
void EncodeFunnelShift(Encoder& e) {
  const bool left = e.Need({"l", "r"}) == 0, wrap = e.Need({"wrap", "clamp"}) == 0;
  if (e.TakeType() != Type::kB32) e.Refuse();
  e.Same(left ? (wrap ? Fn(Each<FunnelShift<true, true>, u32, u32, u32, u32>)
                      : Fn(Each<FunnelShift<true, false>, u32, u32, u32, u32>))
              : (wrap ? Fn(Each<FunnelShift<false, true>, u32, u32, u32, u32>)
                      : Fn(Each<FunnelShift<false, false>, u32, u32, u32, u32>)),
         4, 4);
}

// ---- counting and finding
struct CountBits {
  template <class T>
  u32 operator()(T a) const {
    return static_cast<u32>(std::popcount(a));
  }
};
struct LeadingZeros {
  template <class T>
  u32 operator()(T a) const {
    return static_cast<u32>(std::countl_zero(a));
  }
};
template <class F>
void EncodeCount(Encoder& e) {
  const Type type = e.TakeType();
  if (type != Type::kB32 && type != Type::kB64) e.Refuse();
  e.Want(2);
  e.Set(type == Type::kB64 ? Fn(Each<F, u32, u64>) : Fn(Each<F, u32, u32>),
        {e.Use(0, 4), e.Use(1, SizeOf(type))});
}
// The highest bit that differs from the sign; as a shift amount: how far it is from the top.
template <bool kShift>
struct FindBit {
  template <class T>
  u32 operator()(T a) const {
    using U = std::make_unsigned_t<T>;
    const U bits = static_cast<U>(a < 0 ? ~a : a);
    if (bits == 0) return ~0u;
    const int zeros = std::countl_zero(bits);
    return static_cast<u32>(kShift ? zeros : static_cast<int>(8 * sizeof(T)) - 1 - zeros);
  }
};
void EncodeFindBit(Encoder& e) {
  const bool shift = e.Take("shiftamt");
  const Type type = e.TakeType();
  Fn fn = nullptr;
  const auto pick = [&]<class T>(T) {
    if (kTypeOf<T> == type) {
      fn = shift ? Fn(Each<FindBit<true>, u32, T>) : Fn(Each<FindBit<false>, u32, T>);
    }
  };
  pick(u32{}), pick(u64{}), pick(i32{}), pick(i64{});
  e.Want(2);
  e.Set(fn, {e.Use(0, 4), e.Use(1, SizeOf(type))});
}
// The n-th set bit of a mask from a base upwards, or downwards when n is negative.
struct FindNth {
  u32 operator()(u32 mask, u32 base, i32 n) const {
    if (n == 0) return base < 32 && (mask >> base & 1) != 0 ? base : ~0u;
    const i32 step = n > 0 ? 1 : -1;
    i64 left = n > 0 ? i64{n} : -i64{n};
    for (i64 at = base; at >= 0 && at < 32; at += step) {
      left -= mask >> at & 1;
      if (left == 0) return static_cast<u32>(at);
    }
    return ~0u;
  }
};
void EncodeFindNth(Encoder& e) {
  if (e.TakeType() != Type::kB32) e.Refuse();
  e.Same(Each<FindNth, u32, u32, u32, i32>, 4, 4);
}
struct Reverse {
  template <class T>
  T operator()(T a) const {
    T r = 0;
    for (size_t i = 0; i < 8 * sizeof(T); ++i) r |= (a >> i & 1) << (8 * sizeof(T) - 1 - i);
    return r;
  }
};
void EncodeReverse(Encoder& e) {
  const Type type = e.TakeType();
  if (!IsBits(type)) e.Refuse();
  e.Same(Unary<Reverse, u32, u64>(BitsAsUnsigned(type)), 2, SizeOf(type));
}

// ---- bit fields: position and length are bytes
struct ExtractField {
  template <class T>
  T operator()(T a, u32 position, u32 length) const {
    constexpr u32 kMost = 8 * sizeof(T) - 1;
    position &= 255, length &= 255;
    // What lies above the top is the sign, or 0.
    const bool sign = std::is_signed_v<T> && length != 0 &&
                      (a >> std::min(position + length - 1, kMost) & 1) != 0;
    using U = std::make_unsigned_t<T>;
    U result = sign ? static_cast<U>(~U{0}) : U{0};
    for (u32 i = 0; i <= kMost && i < length && position + i <= kMost; ++i) {
      const U bit = static_cast<U>(U{1} << i);
      result = (a >> (position + i) & 1) != 0 ? result | bit : result & ~bit;
    }
    return static_cast<T>(result);
  }
};
void EncodeExtract(Encoder& e) {
  const Type type = e.TakeType();
  const int size = SizeOf(type);
  Fn fn = nullptr;
  const auto pick = [&]<class T>(T) {
    if (kTypeOf<T> == type) fn = Each<ExtractField, T, T, u32, u32>;
  };
  pick(u32{}), pick(u64{}), pick(i32{}), pick(i64{});
  e.Want(4);
  e.Set(fn, {e.Use(0, size), e.Use(1, size), e.Use(2, 4), e.Use(3, 4)});
}
struct InsertField {
  template <class T>
  T operator()(T a, T b, u32 position, u32 length) const {
    constexpr u32 kBits = 8 * sizeof(T);
    position &= 255, length &= 255;
    if (position >= kBits) return b;
    const T ones = length >= kBits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << length) - 1);
    const T mask = static_cast<T>(ones << position);
    return static_cast<T>((b & ~mask) | (a << position & mask));
  }
};
void EncodeInsert(Encoder& e) {
  const Type type = e.TakeType();
  const int size = SizeOf(type);
  if (type != Type::kB32 && type != Type::kB64) e.Refuse();
  e.Want(5);
  e.Set(size == 4 ? Fn(Each<InsertField, u32, u32, u32, u32, u32>)
                  : Fn(Each<InsertField, u64, u64, u64, u32, u32>),
        {e.Use(0, size), e.Use(1, size), e.Use(2, size), e.Use(3, 4), e.Use(4, 4)});
}

// ---- prmt: bytes of (b, a) by selectors of four bits, whose highest spreads the byte's sign
u32 PermuteBytes(u32 a, u32 b, u32 selectors) {
  const u64 both = u64{b} << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; ++i) {
    const u32 s = selectors >> 4 * i;
    u32 byte = both >> 8 * (s & 7) & 255;
    if ((s & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
    result |= byte << 8 * i;
  }
  return result;
}
// The modes' selectors, by the two lowest bits of c.
constexpr u32 kPermuteModes[6][4] = {
    {0x3210, 0x4321, 0x5432, 0x6543},  // f4e
    {0x5670, 0x6701, 0x7012, 0x0123},  // b4e
    {0x0000, 0x1111, 0x2222, 0x3333},  // rc8
    {0x3210, 0x3211, 0x3222, 0x3333},  // ecl
    {0x0000, 0x1110, 0x2210, 0x3210},  // ecr
    {0x1010, 0x3232, 0x1010, 0x3232},  // rc16
};
struct Permute {
  u32 operator()(u32 a, u32 b, u32 c) const { return PermuteBytes(a, b, c); }
};
void PermuteByMode(Warp& w, const Inst& i, u32 m) {
  u32 *d = w.w(i.r[0]), *a = w.w(i.r[1]), *b = w.w(i.r[2]), *c = w.w(i.r[3]);
  const u32* selectors = kPermuteModes[i.mode];
  ForLanes(m, [=](int l) { d[l] = PermuteBytes(a[l], b[l], selectors[c[l] & 3]); });
}
void EncodePermute(Encoder& e) {
  if (e.TakeType() != Type::kB32) e.Refuse();
  const int mode = e.TakeOne({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  if (mode >= 0) e.inst.mode = static_cast<u8>(mode);
  e.Same(mode < 0 ? Fn(Each<Permute, u32, u32, u32, u32>) : Fn(PermuteByMode), 4, 4);
}

}  // namespace

std::span<const Opcode> BitOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"and", EncodeLogic<And>},
      {"or", EncodeLogic<Or>},
      {"xor", EncodeLogic<Xor>},
      {"not", EncodeNot},
      {"cnot", EncodeLogicalNot},
      {"lop3", EncodeLop3},
      {"shl", EncodeShiftLeft},
      {"shr", EncodeShiftRight},
      {"shf", EncodeFunnelShift},
      {"popc", EncodeCount<CountBits>},
      {"clz", EncodeCount<LeadingZeros>},
      {"bfind", EncodeFindBit},
      {"fns", EncodeFindNth},
      {"brev", EncodeReverse},
      {"bfe", EncodeExtract},
      {"bfi", EncodeInsert},
      {"prmt", EncodePermute},
  };
  return kOpcodes;
}

}  // namespace ptx
