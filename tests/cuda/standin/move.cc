// Moves: between registers, of addresses, into and out of packed registers.
#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

void MovePredicate(Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, *w.w(i.r[1])); }

// r: the whole, then its parts, the lowest first
template <class Whole, int kParts>
void Pack(Warp& w, const Inst& i, u32 m) {
  constexpr int kBits = 8 * sizeof(Whole) / kParts;
  constexpr Whole kMask = static_cast<Whole>((u64{1} << kBits) - 1);
  Whole* d = w.at<Whole>(i.r[0]);
  const u32* parts[kParts];
  for (int part = 0; part < kParts; ++part) parts[part] = w.w(i.r[part + 1]);
  ForLanes(m, [&](int l) {
    Whole x = 0;
    for (int part = 0; part < kParts; ++part) {
      x |= (static_cast<Whole>(parts[part][l]) & kMask) << (kBits * part);
    }
    d[l] = x;
  });
}
template <class Whole, int kParts>
void Unpack(Warp& w, const Inst& i, u32 m) {
  constexpr int kBits = 8 * sizeof(Whole) / kParts;
  constexpr Whole kMask = static_cast<Whole>((u64{1} << kBits) - 1);
  const Whole* s = w.at<Whole>(i.r[0]);
  u32* parts[kParts];
  for (int part = 0; part < kParts; ++part) parts[part] = w.w(i.r[part + 1]);
  ForLanes(m, [&](int l) {
    const Whole x = s[l];  // which may be one of the parts
    for (int part = 0; part < kParts; ++part) {
      parts[part][l] = static_cast<u32>(x >> (kBits * part) & kMask);
    }
  });
}
template <class Whole>
Fn Packing(bool packs, size_t parts) {
  return packs ? (parts == 2 ? Fn(Pack<Whole, 2>) : Fn(Pack<Whole, 4>))
               : (parts == 2 ? Fn(Unpack<Whole, 2>) : Fn(Unpack<Whole, 4>));
}
void EncodePacked(Encoder& e, int size) {
  const bool packs = e.at(1).kind == Value::kVector;
  const std::vector<Value> parts = e.Parts(packs ? 1 : 0);
  const size_t n = parts.size();
  if ((n != 2 && n != 4) || size < 4 || e.at(packs ? 0 : 1).kind == Value::kVector) e.Refuse();
  e.inst.fn = size == 8 ? Packing<u64>(packs, n) : Packing<u32>(packs, n);
  e.inst.r[0] = e.Use(packs ? 0 : 1, size);
  for (size_t i = 0; i < n; ++i) e.inst.r[i + 1] = e.Use(parts[i], size / static_cast<int>(n));
}

void EncodeMove(Encoder& e) {
  const Type type = e.TakeType();
  const int size = SizeOf(type);
  e.Want(2);
  if (type == Type::kPred) {
    return e.Set(MovePredicate, {e.UsePredicate(0), e.UsePredicate(1)});
  }
  if (size < 2 || type > Type::kF64) e.Refuse();
  if (e.at(0).kind == Value::kVector || e.at(1).kind == Value::kVector) {
    return EncodePacked(e, size);
  }
  e.Same(size == 8 ? Fn(Each<Same, u64, u64>) : Fn(Each<Same, u32, u32>), 2, size);
}

// Between the addresses of a space and generic ones.
template <u64 kWindow>
struct ToGeneric {
  u64 operator()(u64 a) const { return a | kWindow; }
};
template <u64 kWindow>
struct FromGeneric {
  u64 operator()(u64 a) const { return a & ~kWindow; }
};
void EncodeAddressConversion(Encoder& e) {
  const bool from = e.Take("to");
  const int space = e.Need({"global", "const", "shared", "local", "param"});
  if (e.TakeOne({"u64"}) < 0) e.Refuse();
  Fn fn = Each<Same, u64, u64>;
  const auto window = [&]<u64 kWindow>(std::integral_constant<u64, kWindow>) {
    fn = from ? Fn(Each<FromGeneric<kWindow>, u64, u64>) : Fn(Each<ToGeneric<kWindow>, u64, u64>);
  };
  if (space == 2) window(std::integral_constant<u64, kSharedWindow>{});
  if (space == 3) window(std::integral_constant<u64, kLocalWindow>{});
  if (space == 4) window(std::integral_constant<u64, kParameterWindow>{});
  e.Same(fn, 2, 8);
}

// inst.offset: the window, or 0 for global memory
void IsInSpace(Warp& w, const Inst& i, u32 m) {
  const u64 *a = w.q(i.r[1]), window = static_cast<u64>(i.offset);
  u32 bits = 0;
  for (int l = 0; l < kLanes; ++l) {
    bits |= u32{window == 0 ? (a[l] & kWindows) == 0 : (a[l] & window) != 0} << l;
  }
  SetMask(w, i.r[0], m, bits);
}
void EncodeIsInSpace(Encoder& e) {
  constexpr u64 kBySpace[] = {0, kSharedWindow, kLocalWindow, kParameterWindow};
  e.inst.offset = static_cast<i64>(kBySpace[e.Need({"global", "shared", "local", "param"})]);
  e.Want(2);
  e.Set(IsInSpace, {e.UsePredicate(0), e.Use(1, 8)});
}

}  // namespace

std::span<const Opcode> MoveOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"mov", EncodeMove},
      {"cvta", EncodeAddressConversion},
      {"isspacep", EncodeIsInSpace},
  };
  return kOpcodes;
}

}  // namespace ptx
