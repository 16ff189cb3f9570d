// Arithmetic of floating-point numbers. What devices approximate (.approx) is exact here.
#include <cfenv>

#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct FusedMultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return FMin(a, b);
  }
};
struct Greatest {
  template <class T>
  T operator()(T a, T b) const {
    return FMax(a, b);
  }
};
template <class F>
struct OrNan {  // a NaN wins
  template <class T>
  T operator()(T a, T b) const {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : F{}(a, b);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return 1 / a;
  }
};
struct SquareRoot {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct ReciprocalRoot {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(1.0 / std::sqrt(static_cast<double>(a)));
  }
};
struct Exp2 {
  template <class T>
  T operator()(T a) const {
    return std::exp2(a);
  }
};
struct Log2 {
  template <class T>
  T operator()(T a) const {
    return std::log2(a);
  }
};
struct Sine {
  template <class T>
  T operator()(T a) const {
    return std::sin(a);
  }
};
struct Cosine {
  template <class T>
  T operator()(T a) const {
    return std::cos(a);
  }
};
struct HyperbolicTangent {
  template <class T>
  T operator()(T a) const {
    return std::tanh(a);
  }
};

// ---- what may be around a function
template <class F>
struct Flushed {  // subnormal numbers are zeros, coming and going
  template <class... T>
  float operator()(T... a) const {
    return Flush(F{}(Flush(a)...));
  }
};
template <class F>
struct Saturated {
  template <class T, class... More>
  T operator()(T a, More... b) const {
    return Saturate(F{}(a, b...));
  }
};
// Half precision: in f32, then rounded, which is exact for one operation.
template <class F>
struct Halves {
  template <class H, class... More>
  H operator()(H a, More... b) const {
    return H(F{}(static_cast<float>(a), static_cast<float>(b)...));
  }
};
template <class F>
struct Pairs {
  template <class P, class... More>
  P operator()(P a, More... b) const {
    return {F{}(a.low, b.low...), F{}(a.high, b.high...)};
  }
};
// a * b + c rounded once: the error of the sum in double goes into its last bit.
struct HalfFusedMultiplyAdd {
  template <class H>
  H operator()(H a, H b, H c) const {
    const double product = static_cast<double>(static_cast<float>(a)) * static_cast<float>(b);
    const double addend = static_cast<float>(c);
    const double sum = product + addend;
    const double back = sum - product;
    const double error = (product - (sum - back)) + (addend - back);
    if (!std::isfinite(sum) || error == 0) return H::Rounded(sum);
    u64 bits = std::bit_cast<u64>(sum);
    if ((bits & 1) == 0) bits += (error > 0) == (sum > 0) ? 1 : ~u64{0};
    return H::Rounded(std::bit_cast<double>(bits));
  }
};

// Rounded another way than to the nearest; inst.mode: 1 to zero, 2 down, 3 up.
template <class F, class T, size_t... kIndex>
[[gnu::noinline]] void DirectedOf(Warp& w, const Inst& i, u32 m, std::index_sequence<kIndex...>) {
  constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  const int old = std::fegetround();
  std::fesetround(kModes[i.mode]);
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    // The compiler knows of no rounding modes: nothing may move across the calls.
    volatile T in[] = {Read<T>(w.regs + i.r[kIndex + 1], l)...};
    volatile T out = F{}(static_cast<T>(in[kIndex])...);
    Write<T>(w.regs + i.r[0], l, out);
  }
  std::fesetround(old);
}
template <class F, class T, size_t kInputs>
void Directed(Warp& w, const Inst& i, u32 m) {
  DirectedOf<F, T>(w, i, m, std::make_index_sequence<kInputs>{});
}

// F for all operands of T, of which there are kInputs.
template <class F, class T, size_t... kIndex>
constexpr Fn SameOf(std::index_sequence<kIndex...>) {
  return Each<F, T, std::enable_if_t<(kIndex >= 0), T>...>;
}
template <class F, class T, size_t kInputs>
constexpr Fn SameTypes() {
  return SameOf<F, T>(std::make_index_sequence<kInputs>{});
}

struct Modifiers {
  bool flush = false, saturate = false;
  int rounding = -1;  // nearest, zero, down, up; -1: not said
};
Modifiers TakeModifiers(Encoder& e) {
  Modifiers m;
  m.flush = e.Take("ftz");
  m.saturate = e.Take("sat");
  m.rounding = e.TakeOne({"rn", "rz", "rm", "rp"});
  return m;
}

// F of f32 or f64; null: not with these modifiers.
template <class F, size_t kInputs>
Fn Full(Type type, const Modifiers& m) {
  if (type == Type::kF64) {
    if (m.flush || m.saturate) return nullptr;
    return m.rounding > 0 ? Fn(Directed<F, double, kInputs>) : SameTypes<F, double, kInputs>();
  }
  if (type != Type::kF32) return nullptr;
  if (m.rounding > 0) {
    if (m.flush || m.saturate) return nullptr;
    return Directed<F, float, kInputs>;
  }
  if (m.flush && m.saturate) return SameTypes<Saturated<Flushed<F>>, float, kInputs>();
  if (m.flush) return SameTypes<Flushed<F>, float, kInputs>();
  if (m.saturate) return SameTypes<Saturated<F>, float, kInputs>();
  return SameTypes<F, float, kInputs>();
}
// F of halves, one or two in a register; G is it for one lane of a half type.
template <class G, size_t kInputs>
Fn Half(Type type, const Modifiers& m) {
  if (m.flush || m.saturate || m.rounding > 0) return nullptr;
  switch (type) {
    case Type::kF16:
      return SameTypes<G, F16, kInputs>();
    case Type::kBf16:
      return SameTypes<G, Bf16, kInputs>();
    case Type::kF16x2:
      return SameTypes<Pairs<G>, Pair<F16>, kInputs>();
    case Type::kBf16x2:
      return SameTypes<Pairs<G>, Pair<Bf16>, kInputs>();
    default:
      return nullptr;
  }
}
bool IsHalf(Type t) {
  return t == Type::kF16 || t == Type::kBf16 || t == Type::kF16x2 || t == Type::kBf16x2;
}
template <class F, size_t kInputs>
void EncodeAny(Encoder& e, Type type, const Modifiers& m) {
  if (m.rounding >= 0) e.inst.mode = static_cast<u8>(m.rounding);
  e.Same(IsHalf(type) ? Half<Halves<F>, kInputs>(type, m) : Full<F, kInputs>(type, m), kInputs + 1,
         SizeOf(type));
}
template <class F>
void EncodeMinMax(Encoder& e, Type type, const Modifiers& m) {
  if (m.saturate || m.rounding >= 0) e.Refuse();
  if (!e.Take("NaN")) return EncodeAny<F, 2>(e, type, m);
  if (type == Type::kF64) e.Refuse();
  EncodeAny<OrNan<F>, 2>(e, type, m);
}
void EncodeDivide(Encoder& e, Type type, const Modifiers& m) {
  const bool approximate = e.TakeOne({"approx", "full"}) >= 0;
  if (approximate == (m.rounding >= 0) || m.saturate || IsHalf(type)) e.Refuse();
  if (approximate && type != Type::kF32) e.Refuse();
  EncodeAny<Divide, 2>(e, type, m);
}

void EncodeFma(Encoder& e) {
  const Modifiers m = TakeModifiers(e);
  const Type type = e.TakeType();
  if (m.rounding < 0) e.Refuse();
  if (!IsHalf(type)) return EncodeAny<FusedMultiplyAdd, 3>(e, type, m);
  e.Same(Half<HalfFusedMultiplyAdd, 3>(type, m), 4, SizeOf(type));
}

// Functions of one number: rounded or approximate.
template <class F>
void EncodeRounded(Encoder& e) {
  const bool approximate = e.Take("approx");
  const Modifiers m = TakeModifiers(e);
  const Type type = e.TakeType();
  if (approximate == (m.rounding >= 0) || m.saturate || IsHalf(type)) e.Refuse();
  if (approximate && type != Type::kF32) e.Refuse();
  EncodeAny<F, 1>(e, type, m);
}
template <class F>
void EncodeApproximate(Encoder& e) {
  if (!e.Take("approx")) e.Refuse();
  const Modifiers m = TakeModifiers(e);
  const Type type = e.TakeType();
  if (m.saturate || m.rounding >= 0 || type == Type::kF64) e.Refuse();
  const bool halves_too = e.opcode() == "ex2" || e.opcode() == "tanh";
  if (IsHalf(type) && !halves_too) e.Refuse();
  Modifiers plain = m;
  if (type == Type::kBf16 || type == Type::kBf16x2) plain.flush = false;  // ex2.approx.ftz.bf16
  EncodeAny<F, 1>(e, type, plain);
}

// The second with the sign of the first.
struct CopySign {
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};
void EncodeCopySign(Encoder& e) {
  const Type type = e.TakeType();
  e.Same(Binary<CopySign, float, double>(type), 3, SizeOf(type));
}

template <class T>
void TestProperty(Warp& w, const Inst& i, u32 m) {
  u32 bits = 0;
  for (int l = 0; l < kLanes; ++l) {
    const T x = w.at<T>(i.r[1])[l];
    const bool is[] = {std::isfinite(x), std::isinf(x),    x == x,
                       x != x,           std::isnormal(x), std::fpclassify(x) == FP_SUBNORMAL};
    bits |= u32{is[i.mode]} << l;
  }
  SetMask(w, i.r[0], m, bits);
}
void EncodeTestProperty(Encoder& e) {
  e.inst.mode = static_cast<u8>(
      e.Need({"finite", "infinite", "number", "notanumber", "normal", "subnormal"}));
  const Type type = e.TakeType();
  if (type != Type::kF32 && type != Type::kF64) e.Refuse();
  e.Want(2);
  e.Set(type == Type::kF32 ? TestProperty<float> : TestProperty<double>,
        {e.UsePredicate(0), e.Use(1, SizeOf(type))});
}

}  // namespace

void EncodeFloatArithmetic(Encoder& e, Type type) {
  const std::string& op = e.opcode();
  const Modifiers m = TakeModifiers(e);
  if (op == "add") return EncodeAny<Add, 2>(e, type, m);
  if (op == "sub") return EncodeAny<Subtract, 2>(e, type, m);
  if (op == "mul") return EncodeAny<Multiply, 2>(e, type, m);
  if (op == "min") return EncodeMinMax<Least>(e, type, m);
  if (op == "max") return EncodeMinMax<Greatest>(e, type, m);
  if (op == "div") return EncodeDivide(e, type, m);
  if (m.saturate || m.rounding >= 0) e.Refuse();
  if (op == "abs") return EncodeAny<Absolute, 1>(e, type, m);
  EncodeAny<Negate, 1>(e, type, m);
}

std::span<const Opcode> FloatOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"fma", EncodeFma},
      {"rcp", EncodeRounded<Reciprocal>},
      {"sqrt", EncodeRounded<SquareRoot>},
      {"rsqrt", EncodeApproximate<ReciprocalRoot>},
      {"ex2", EncodeApproximate<Exp2>},
      {"lg2", EncodeApproximate<Log2>},
      {"sin", EncodeApproximate<Sine>},
      {"cos", EncodeApproximate<Cosine>},
      {"tanh", EncodeApproximate<HyperbolicTangent>},
      {"copysign", EncodeCopySign},
      {"testp", EncodeTestProperty},
  };
  return kOpcodes;
}

}  // namespace ptx
