// Comparisons and selections.
#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

// In the order of their names. Comparisons with a NaN are false, those with a u at the end are
// true.
struct Equal {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct NotEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b || a > b;
  }
};
struct Less {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessOrEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct GreaterOrEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
struct Ordered {
  template <class T>
  bool operator()(T a, T b) const {
    return a == a && b == b;
  }
};
template <class F>
struct Contrary {
  template <class T>
  bool operator()(T a, T b) const {
    return !F{}(a, b);
  }
};
template <class F>
struct AfterFlush {
  bool operator()(float a, float b) const { return F{}(Flush(a), Flush(b)); }
};

// As a value: lanes of halves compare as floats.
template <class T>
auto Number(T x) {
  if constexpr (std::is_class_v<T>) {
    return static_cast<float>(x);
  } else {
    return x;
  }
}

// How a comparison is combined with a predicate (c): inst.mode.
enum Combine : u8 { kPlain, kAnd, kOr, kXor };
u32 Combined(const Inst& i, u32 bits, u32 c) {
  return i.mode == kAnd ? bits & c : i.mode == kOr ? bits | c : i.mode == kXor ? bits ^ c : bits;
}

// r: d, a, b, q (of the contrary) or none, c or none
template <class F, class T>
void SetPredicate(Warp& w, const Inst& i, u32 m) {
  const u8 *a = w.regs + i.r[1], *b = w.regs + i.r[2];
  u32 bits = 0;
  for (int l = 0; l < kLanes; ++l) {
    bits |= static_cast<u32>(F{}(Number(Read<T>(a, l)), Number(Read<T>(b, l)))) << l;
  }
  const u32 c = i.r[4] == kNone ? 0 : *w.w(i.r[4]);
  const u32 contrary = Combined(i, ~bits, c);
  SetMask(w, i.r[0], m, Combined(i, bits, c));
  if (i.r[3] != kNone) SetMask(w, i.r[3], m, contrary);
}

// set: the same as a number in d; inst.vec: 1 for an integer (all ones), 2 for a float (1.0).
template <class F, class T>
void SetNumber(Warp& w, const Inst& i, u32 m) {
  const u8 *a = w.regs + i.r[1], *b = w.regs + i.r[2];
  u32 bits = 0;
  for (int l = 0; l < kLanes; ++l) {
    bits |= static_cast<u32>(F{}(Number(Read<T>(a, l)), Number(Read<T>(b, l)))) << l;
  }
  bits = Combined(i, bits, i.r[4] == kNone ? 0 : *w.w(i.r[4]));
  const u32 yes = i.vec == 1 ? ~0u : Bits(1.0f);
  u32* d = w.w(i.r[0]);
  ForLanes(m, [=](int l) { d[l] = (bits >> l & 1) != 0 ? yes : 0; });
}

constexpr int kIntegerOrders = 10;
template <class T, template <class> class Around>
Fn PickOrder(int order, bool number) {
#define PTX_ORDER(F) (number ? Fn(SetNumber<Around<F>, T>) : Fn(SetPredicate<Around<F>, T>))
  switch (order) {
    case 0:
      return PTX_ORDER(Equal);
    case 1:
      return PTX_ORDER(NotEqual);
    case 2:
    case 6:
      return PTX_ORDER(Less);
    case 3:
    case 7:
      return PTX_ORDER(LessOrEqual);
    case 4:
    case 8:
      return PTX_ORDER(Greater);
    case 5:
    case 9:
      return PTX_ORDER(GreaterOrEqual);
    case 10:
      return PTX_ORDER(Contrary<NotEqual>);
    case 11:
      return PTX_ORDER(Contrary<Equal>);
    case 12:
      return PTX_ORDER(Contrary<GreaterOrEqual>);
    case 13:
      return PTX_ORDER(Contrary<Greater>);
    case 14:
      return PTX_ORDER(Contrary<LessOrEqual>);
    case 15:
      return PTX_ORDER(Contrary<Less>);
    case 16:
      return PTX_ORDER(Ordered);
    default:
      return PTX_ORDER(Contrary<Ordered>);
  }
#undef PTX_ORDER
}
template <class F>
using Alone = F;

// lo, ls, hi, hs are for unsigned integers; what follows them for floats.
Fn Comparison(int order, Type type, bool flush, bool number) {
  if (order < 0 || (flush && type != Type::kF32)) return nullptr;
  const bool is_float = IsFloat(type);
  if (order >= kIntegerOrders && !is_float) return nullptr;
  if (order >= 6 && order < kIntegerOrders && !IsUnsigned(type)) return nullptr;
  if (IsBits(type) && order > 1) return nullptr;
  Fn fn = nullptr;
  const Type plain = BitsAsUnsigned(type);
  const auto pick = [&]<class T>(T) {
    if (kTypeOf<T> == plain) fn = PickOrder<T, Alone>(order, number);
  };
  pick(u16{}), pick(u32{}), pick(u64{}), pick(i16{}), pick(i32{}), pick(i64{});
  pick(float{}), pick(double{}), pick(F16{}), pick(Bf16{});
  return flush ? PickOrder<float, AfterFlush>(order, number) : fn;
}

int TakeOrder(Encoder& e) {
  return e.TakeOne({"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu",
                    "leu", "gtu", "geu", "num", "nan"});
}

void EncodeSetPredicate(Encoder& e) {
  const int order = TakeOrder(e), combine = e.TakeOne({"and", "or", "xor"});
  const bool flush = e.Take("ftz");
  const Type type = e.TakeType();
  const size_t first = e.pair() ? 2 : 1;
  e.Want(first + 2 + (combine >= 0 ? 1 : 0));
  e.inst.mode = static_cast<u8>(combine + 1);
  const u32 c = combine >= 0 ? e.UsePredicate(first + 2) : kNone;
  const u32 q = e.pair() && e.at(1).kind != Value::kSink ? e.UsePredicate(1) : kNone;
  e.Set(Comparison(order, type, flush, false),
        {e.UsePredicate(0), e.Use(first, SizeOf(type)), e.Use(first + 1, SizeOf(type)), q, c});
}

void EncodeSetNumber(Encoder& e) {
  const int order = TakeOrder(e), combine = e.TakeOne({"and", "or", "xor"});
  const bool flush = e.Take("ftz");
  const Type to = e.TakeType(), type = e.TakeType();
  if (to != Type::kU32 && to != Type::kS32 && to != Type::kF32) e.Refuse();
  e.Want(combine >= 0 ? 4 : 3);
  e.inst.mode = static_cast<u8>(combine + 1);
  e.inst.vec = to == Type::kF32 ? 2 : 1;
  e.Set(Comparison(order, type, flush, true),
        {e.Use(0, 4), e.Use(1, SizeOf(type)), e.Use(2, SizeOf(type)), kNone,
         combine >= 0 ? e.UsePredicate(3) : kNone});
}

// r: d, a, b, predicate
template <class T>
void Select(Warp& w, const Inst& i, u32 m) {
  T *d = w.at<T>(i.r[0]), *a = w.at<T>(i.r[1]), *b = w.at<T>(i.r[2]);
  const u32 p = *w.w(i.r[3]);
  ForLanes(m, [=](int l) { d[l] = (p >> l & 1) != 0 ? a[l] : b[l]; });
}
void EncodeSelect(Encoder& e) {
  const Type type = e.TakeType();
  const int size = SizeOf(type);
  if (type == Type::kPred || size < 2) e.Refuse();
  e.Want(4);
  const u32 p = e.UsePredicate(3);
  e.Set(size == 8 ? Fn(Select<u64>) : Fn(Select<u32>),
        {e.Use(0, size), e.Use(1, size), e.Use(2, size), p});
}

// slct: a when c >= 0, else b. -0 counts as 0, a NaN as negative.
struct SelectBySign {
  template <class T, class C>
  T operator()(T a, T b, C c) const {
    return c >= 0 ? a : b;
  }
};
void EncodeSelectBySign(Encoder& e) {
  const bool flush = e.Take("ftz");
  const Type type = e.TakeType(), by = e.TakeType();
  const int size = SizeOf(type);
  if ((by != Type::kS32 && by != Type::kF32) || size < 4 || flush) e.Refuse();
  e.Want(4);
  e.Set(size == 8 ? (by == Type::kS32 ? Fn(Each<SelectBySign, u64, u64, u64, i32>)
                                      : Fn(Each<SelectBySign, u64, u64, u64, float>))
                  : (by == Type::kS32 ? Fn(Each<SelectBySign, u32, u32, u32, i32>)
                                      : Fn(Each<SelectBySign, u32, u32, u32, float>)),
        {e.Use(0, size), e.Use(1, size), e.Use(2, size), e.Use(3, 4)});
}

}  // namespace

std::span<const Opcode> CompareOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"setp", EncodeSetPredicate},
      {"set", EncodeSetNumber},
      {"selp", EncodeSelect},
      {"slct", EncodeSelectBySign},
  };
  return kOpcodes;
}

}  // namespace ptx
