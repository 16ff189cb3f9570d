// Arithmetic of integers.
#include <algorithm>

#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

// Sums and products wrap around.
struct Add {
  template <class T>
  T operator()(T a, T b) const {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
  }
};
struct MultiplyLow {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b));
  }
};
template <class T>
using Twice = std::conditional_t<
    sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, i64, u64>,
                       std::conditional_t<std::is_signed_v<T>, i32, u32>>>;
struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>((Twice<T>(a) * Twice<T>(b)) >> (8 * sizeof(T)));
  }
};
struct MultiplyWide {
  template <class T>
  Twice<T> operator()(T a, T b) const {
    return Twice<T>(a) * Twice<T>(b);
  }
};
template <class Product>
struct ThenAdd {
  template <class T, class C>
  C operator()(T a, T b, C c) const {
    return Add{}(static_cast<C>(Product{}(a, b)), c);
  }
};
struct AddSaturated {
  i32 operator()(i32 a, i32 b) const {
    return static_cast<i32>(std::clamp<i64>(i64{a} + b, INT32_MIN, INT32_MAX));
  }
};
struct SubtractSaturated {
  i32 operator()(i32 a, i32 b) const {
    return static_cast<i32>(std::clamp<i64>(i64{a} - b, INT32_MIN, INT32_MAX));
  }
};
// Division by zero gives all ones, as devices do; the most negative number by -1 wraps around.
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Subtract{}(T{0}, a);
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Greatest {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return Subtract{}(T{0}, a);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Subtract{}(T{0}, a) : a;
  }
};

#define PTX_INTEGERS u16, u32, u64, i16, i32, i64

void EncodeWide(Encoder& e, Type type) {
  const int size = SizeOf(type);
  Fn fn = nullptr;
  const auto pick = [&]<class T>(T) {
    if (kTypeOf<T> == type) fn = Each<MultiplyWide, Twice<T>, T, T>;
  };
  pick(u16{}), pick(i16{}), pick(u32{}), pick(i32{});
  e.Want(3);
  e.Set(fn, {e.Use(0, 2 * size), e.Use(1, size), e.Use(2, size)});
}

void EncodeMultiply(Encoder& e, Type type) {
  const int part = e.Need({"lo", "hi", "wide"});
  if (part == 2) return EncodeWide(e, type);
  e.Same(part == 0 ? Binary<MultiplyLow, PTX_INTEGERS>(type)
                   : Binary<MultiplyHigh, PTX_INTEGERS>(type),
         3, SizeOf(type));
}

void EncodeMultiplyAdd(Encoder& e) {
  const int part = e.Need({"lo", "hi", "wide"});
  const Type type = e.TakeType();
  const int size = SizeOf(type);
  if (!IsInteger(type) || size == 1) e.Refuse();
  if (part < 2) {
    return e.Same(part == 0 ? Ternary<ThenAdd<MultiplyLow>, PTX_INTEGERS>(type)
                            : Ternary<ThenAdd<MultiplyHigh>, PTX_INTEGERS>(type),
                  4, size);
  }
  Fn fn = nullptr;
  const auto pick = [&]<class T>(T) {
    if (kTypeOf<T> == type) fn = Each<ThenAdd<MultiplyWide>, Twice<T>, T, T, Twice<T>>;
  };
  pick(u16{}), pick(i16{}), pick(u32{}), pick(i32{});
  e.Want(4);
  e.Set(fn, {e.Use(0, 2 * size), e.Use(1, size), e.Use(2, size), e.Use(3, 2 * size)});
}

void EncodeRemainder(Encoder& e) {
  const Type type = e.TakeType();
  e.Same(Binary<Remainder, PTX_INTEGERS>(type), 3, SizeOf(type));
}

// Sums of products of bytes: dp4a.atype.btype.
template <class A, class B>
struct Dot4 {
  u32 operator()(u32 a, u32 b, u32 c) const {
    for (int i = 0; i < 32; i += 8) {
      c += static_cast<u32>(static_cast<i32>(static_cast<A>(a >> i)) *
                            static_cast<i32>(static_cast<B>(b >> i)));
    }
    return c;
  }
};
// Of two 16-bit numbers and two bytes of b: the lower or upper ones.
template <class A, class B, int kShift>
struct Dot2 {
  u32 operator()(u32 a, u32 b, u32 c) const {
    for (int i = 0; i < 2; ++i) {
      c += static_cast<u32>(static_cast<i32>(static_cast<A>(a >> 16 * i)) *
                            static_cast<i32>(static_cast<B>(b >> (8 * i + kShift))));
    }
    return c;
  }
};
template <template <class, class> class Dot, class U, class S>
Fn PickDot(bool a_signed, bool b_signed) {
  return a_signed ? (b_signed ? Fn(Each<Dot<S, i8>, u32, u32, u32, u32>)
                              : Fn(Each<Dot<S, u8>, u32, u32, u32, u32>))
                  : (b_signed ? Fn(Each<Dot<U, i8>, u32, u32, u32, u32>)
                              : Fn(Each<Dot<U, u8>, u32, u32, u32, u32>));
}
template <class A, class B>
using Dot2Low = Dot2<A, B, 0>;
template <class A, class B>
using Dot2High = Dot2<A, B, 16>;

void EncodeDot(Encoder& e) {
  const bool four = e.opcode() == "dp4a";
  const int half = four ? 0 : e.Need({"lo", "hi"});
  const Type a = e.TakeType(), b = e.TakeType();
  if (!IsInteger(a) || !IsInteger(b) || SizeOf(a) != 4 || SizeOf(b) != 4) e.Refuse();
  e.Same(four        ? PickDot<Dot4, u8, i8>(IsSigned(a), IsSigned(b))
         : half == 0 ? PickDot<Dot2Low, u16, i16>(IsSigned(a), IsSigned(b))
                     : PickDot<Dot2High, u16, i16>(IsSigned(a), IsSigned(b)),
         4, 4);
}

}  // namespace

void EncodeIntegerArithmetic(Encoder& e, Type type) {
  const std::string& op = e.opcode();
  const int size = SizeOf(type);
  if ((op == "add" || op == "sub") && e.Take("sat")) {
    if (type != Type::kS32) e.Refuse();
    return e.Same(op == "add" ? Fn(Each<AddSaturated, i32, i32, i32>)
                              : Fn(Each<SubtractSaturated, i32, i32, i32>),
                  3, 4);
  }
  if (op == "add") return e.Same(Binary<Add, PTX_INTEGERS>(type), 3, size);
  if (op == "sub") return e.Same(Binary<Subtract, PTX_INTEGERS>(type), 3, size);
  if (op == "mul") return EncodeMultiply(e, type);
  if (op == "div") return e.Same(Binary<Divide, PTX_INTEGERS>(type), 3, size);
  if (op == "min") return e.Same(Binary<Least, PTX_INTEGERS>(type), 3, size);
  if (op == "max") return e.Same(Binary<Greatest, PTX_INTEGERS>(type), 3, size);
  if (op == "neg") return e.Same(Unary<Negate, i16, i32, i64>(type), 2, size);
  if (op == "abs") return e.Same(Unary<Absolute, i16, i32, i64>(type), 2, size);
  e.Refuse();
}

std::span<const Opcode> IntegerOpcodes() {
  static constexpr auto kShared = [](Encoder& e) {
    const Type type = e.TakeType();
    if (IsInteger(type)) return EncodeIntegerArithmetic(e, type);
    EncodeFloatArithmetic(e, type);
  };
  static constexpr Opcode kOpcodes[] = {
      {"add", kShared},           {"sub", kShared},    {"mul", kShared},
      {"div", kShared},           {"min", kShared},    {"max", kShared},
      {"neg", kShared},           {"abs", kShared},    {"rem", EncodeRemainder},
      {"mad", EncodeMultiplyAdd}, {"dp4a", EncodeDot}, {"dp2a", EncodeDot},
  };
  return kOpcodes;
}

}  // namespace ptx
