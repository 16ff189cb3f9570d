// Instructions in which the lanes of a warp meet.
#include <algorithm>

#include "encoder.h"
#include "lanewise.h"

namespace ptx {
namespace {

// The lane that lane l of a shuffle reads, by the mode; `ok`: whether it is in range.
struct Source {
  int lane;
  bool ok;
};
template <int kMode>
Source ShuffleSource(int l, u32 b_bits, u32 c) {
  const int b = static_cast<int>(b_bits & 31), clamp = static_cast<int>(c & 31),
            segment = static_cast<int>(c >> 8 & 31);
  const int most = (l & segment) | (clamp & ~segment);
  switch (kMode) {
    case 0:  // bfly
      return {l ^ b, (l ^ b) <= most};
    case 1:  // down
      return {l + b, l + b <= most};
    case 2:  // up
      return {l - b, l - b >= most};
    default: {  // idx
      const int j = (l & segment) | (b & ~segment);
      return {j, j <= most};
    }
  }
}

// r: d, predicate or none, a, b, c
template <int kMode>
void Shuffle(Warp& w, const Inst& i, u32 m) {
  u32 value[kLanes], good = 0;
  int from[kLanes];
  std::memcpy(value, w.w(i.r[2]), sizeof value);
  const u32 *b = w.w(i.r[3]), *c = w.w(i.r[4]);
  for (int l = 0; l < kLanes; ++l) {
    const Source s = ShuffleSource<kMode>(l, b[l], c[l]);
    from[l] = s.ok ? s.lane : l;
    good |= u32{s.ok} << l;
  }
  for (u32 rest = m == kAll ? 0 : m; rest != 0; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    if ((m >> from[l] & 1) == 0) {
      throw Error("shuffle reads a lane that is off: " + Where(*w.block, i, w.first_thread + l));
    }
  }
  u32* d = w.w(i.r[0]);
  ForLanes(m, [&](int l) { d[l] = value[from[l]]; });
  if (i.r[1] != kNone) SetMask(w, i.r[1], m, good);
}
void EncodeShuffle(Encoder& e) {
  if (!e.Take("sync")) e.Refuse();
  const Fn fns[] = {Shuffle<0>, Shuffle<1>, Shuffle<2>, Shuffle<3>};
  const Fn shuffle = fns[e.Need({"bfly", "down", "up", "idx"})];
  if (e.TakeType() != Type::kB32) e.Refuse();
  const size_t first = e.pair() ? 2 : 1;
  e.Want(first + 4);
  const bool says = e.pair() && e.at(1).kind != Value::kSink;
  e.Set(shuffle, {e.Use(0, 4), says ? e.UsePredicate(1) : kNone, e.Use(first, 4),
                  e.Use(first + 1, 4), e.Use(first + 2, 4)});
  e.inst.kind = Kind::kCollective;
  e.inst.members = e.Use(first + 3, 4);
}

// r: d, predicate; inst.mode: 0 ballot, 1 any, 2 all, 3 uni
void Vote(Warp& w, const Inst& i, u32 m) {
  const u32 ballot = *w.w(i.r[1]) & m;
  if (i.mode == 0) {
    u32* d = w.w(i.r[0]);
    return ForLanes(m, [=](int l) { d[l] = ballot; });
  }
  const bool yes = i.mode == 1   ? ballot != 0
                   : i.mode == 2 ? ballot == m
                                 : ballot == m || ballot == 0;
  SetMask(w, i.r[0], m, yes ? kAll : 0);
}
void EncodeVote(Encoder& e) {
  if (!e.Take("sync")) e.Refuse();
  e.inst.mode = static_cast<u8>(e.Need({"ballot", "any", "all", "uni"}));
  if (e.TakeType() != (e.inst.mode == 0 ? Type::kB32 : Type::kPred)) e.Refuse();
  e.Want(3);
  const u32 p = e.UsePredicate(1);
  e.Set(Vote, {e.inst.mode == 0 ? e.Use(0, 4) : e.UsePredicate(0), p});
  e.inst.kind = Kind::kCollective;
  e.inst.members = e.Use(2, 4);
}

struct Sum {
  u32 operator()(u32 a, u32 b) const { return a + b; }
};
template <class T>
struct Least {
  u32 operator()(u32 a, u32 b) const {
    return static_cast<u32>(std::min(static_cast<T>(a), static_cast<T>(b)));
  }
};
template <class T>
struct Greatest {
  u32 operator()(u32 a, u32 b) const {
    return static_cast<u32>(std::max(static_cast<T>(a), static_cast<T>(b)));
  }
};
struct And {
  u32 operator()(u32 a, u32 b) const { return a & b; }
};
struct Or {
  u32 operator()(u32 a, u32 b) const { return a | b; }
};
struct Xor {
  u32 operator()(u32 a, u32 b) const { return a ^ b; }
};
template <class F>
void Reduce(Warp& w, const Inst& i, u32 m) {  // r: d, a
  const u32* a = w.w(i.r[1]);
  u32 x = a[std::countr_zero(m)];
  for (u32 rest = m & (m - 1); rest != 0; rest &= rest - 1) x = F{}(x, a[std::countr_zero(rest)]);
  u32* d = w.w(i.r[0]);
  ForLanes(m, [=](int l) { d[l] = x; });
}
void EncodeReduce(Encoder& e) {
  if (!e.Take("sync")) e.Refuse();
  const int what = e.Need({"add", "min", "max", "and", "or", "xor"});
  const Type type = e.TakeType();
  const bool is_signed = type == Type::kS32;
  if (what < 3 ? type != Type::kU32 && !is_signed : type != Type::kB32) e.Refuse();
  const Fn fns[] = {Reduce<Sum>,
                    is_signed ? Reduce<Least<i32>> : Reduce<Least<u32>>,
                    is_signed ? Reduce<Greatest<i32>> : Reduce<Greatest<u32>>,
                    Reduce<And>,
                    Reduce<Or>,
                    Reduce<Xor>};
  e.Want(3);
  e.Set(fns[what], {e.Use(0, 4), e.Use(1, 4)});
  e.inst.kind = Kind::kCollective;
  e.inst.members = e.Use(2, 4);
}

// Lanes with the same value; all: only when all are the same. r: d, a, predicate or none
template <class T, bool kAllSame>
void Match(Warp& w, const Inst& i, u32 m) {
  T a[kLanes];
  std::memcpy(a, w.at<T>(i.r[1]), sizeof a);
  u32 out[kLanes] = {};
  for (int l = 0; l < kLanes; ++l) {
    for (int j = 0; j < kLanes; ++j) out[l] |= u32{a[j] == a[l]} << j;
    out[l] &= m;
    if (kAllSame && out[l] != m) out[l] = 0;
  }
  const bool same = out[std::countr_zero(m)] == m;
  u32* d = w.w(i.r[0]);
  ForLanes(m, [&](int l) { d[l] = out[l]; });
  if (i.r[2] != kNone) SetMask(w, i.r[2], m, same ? kAll : 0);
}
void EncodeMatch(Encoder& e) {
  if (!e.Take("sync")) e.Refuse();
  const bool all = e.Need({"any", "all"}) == 1;
  const Type type = e.TakeType();
  if (type != Type::kB32 && type != Type::kB64) e.Refuse();
  if (e.pair() && !all) e.Refuse();
  const size_t first = e.pair() ? 2 : 1;
  e.Want(first + 2);
  const bool says = e.pair() && e.at(1).kind != Value::kSink;
  const Fn fn = type == Type::kB32 ? (all ? Fn(Match<u32, true>) : Fn(Match<u32, false>))
                                   : (all ? Fn(Match<u64, true>) : Fn(Match<u64, false>));
  e.Set(fn, {e.Use(0, 4), e.Use(first, SizeOf(type)), says ? e.UsePredicate(1) : kNone});
  e.inst.kind = Kind::kCollective;
  e.inst.members = e.Use(first + 1, 4);
}

void EncodeActiveMask(Encoder& e) {
  if (e.TakeType() != Type::kB32) e.Refuse();
  e.Want(1);
  e.Set(
      [](Warp& w, const Inst& i, u32 m) {
        u32* d = w.w(i.r[0]);
        ForLanes(m, [=](int l) { d[l] = m; });
      },
      {e.Use(0, 4)});
}

}  // namespace

std::span<const Opcode> WarpOpcodes() {
  static constexpr Opcode kOpcodes[] = {
      {"shfl", EncodeShuffle},          {"vote", EncodeVote},
      {"redux", EncodeReduce},          {"match", EncodeMatch},
      {"activemask", EncodeActiveMask},
  };
  return kOpcodes;
}

}  // namespace ptx
