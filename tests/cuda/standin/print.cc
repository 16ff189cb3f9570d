#include "print.h"

#include <bit>
#include <cstdio>
#include <string_view>

namespace ptx {
namespace {

// Bytes at a generic address of a lane.
const u8* Bytes(Warp& w, const Inst& i, int lane, u64 address, u64 bytes) {
  const std::string where = Where(*w.block, i, w.first_thread + lane);
  if ((address & kLocalWindow) != 0) {
    const u64 at = address & ~kLocalWindow, size = w.block->launch->kernel->local_bytes;
    if (at + bytes > size) throw Error("printf reads beyond its arguments: " + where);
    return w.block->local.data() + size * static_cast<u64>(w.first_thread + lane) + at;
  }
  if ((address & kWindows) != 0 || !w.block->memory->Holds(address, bytes)) {
    throw Error("printf reads what is no allocation: " + where);
  }
  return w.block->memory->At(address);
}

std::string Text(Warp& w, const Inst& i, int lane, u64 address) {
  std::string text;
  for (;; ++address) {
    const char c = static_cast<char>(*Bytes(w, i, lane, address, 1));
    if (c == '\0') return text;
    text += c;
  }
}

// printf's text for one lane. Arguments lie behind each other, aligned to their sizes.
class Formatter {
 public:
  Formatter(Warp& w, const Inst& i, int lane, u64 arguments)
      : w_(w), inst_(i), lane_(lane), next_(arguments) {}

  std::string Run(const std::string& format) {
    for (size_t at = 0; at < format.size(); ++at) {
      if (format[at] != '%') {
        out_ += format[at];
      } else if (at + 1 < format.size() && format[at + 1] == '%') {
        out_ += format[++at];
      } else {
        at = Conversion(format, at);
      }
    }
    return std::move(out_);
  }
  int count() const { return count_; }

 private:
  // Of the one that begins at `begin`; where it ends.
  size_t Conversion(const std::string& format, size_t begin) {
    std::string spec = "%";
    bool is_long = false;
    for (size_t at = begin + 1; at < format.size(); ++at) {
      const char c = format[at];
      if (c == '*') {
        spec += std::to_string(Next<i32>());
      } else if (std::string_view("hlzjt").find(c) != std::string_view::npos) {
        is_long = is_long || c != 'h';
        spec += c;
      } else if (std::string_view("diouxXcsfFeEgGaAp").find(c) != std::string_view::npos) {
        One(spec + c, c, is_long);
        return at;
      } else {
        spec += c;
      }
    }
    throw Error("printf format \"" + format + "\": " + Where(*w_.block, inst_, lane_));
  }

  void One(const std::string& spec, char conversion, bool is_long) {
    ++count_;
    if (conversion == 's') {
      Append(spec, Text(w_, inst_, lane_, Next<u64>()).c_str());
    } else if (conversion == 'p') {
      Append(spec, reinterpret_cast<void*>(Next<u64>()));
    } else if (std::string_view("fFeEgGaA").find(conversion) != std::string_view::npos) {
      Append(spec, Next<double>());
    } else if (is_long) {
      Append(spec, Next<u64>());
    } else {
      Append(spec, Next<u32>());
    }
  }

  template <class T>
  T Next() {
    next_ = (next_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    T value;
    std::memcpy(&value, Bytes(w_, inst_, lane_, next_, sizeof(T)), sizeof(T));
    next_ += sizeof(T);
    return value;
  }
  template <class T>
  void Append(const std::string& spec, T value) {
    const int length = std::snprintf(nullptr, 0, spec.c_str(), value);
    std::string text(static_cast<size_t>(length) + 1, '\0');
    std::snprintf(text.data(), text.size(), spec.c_str(), value);
    text.pop_back();
    out_ += text;
  }

  Warp& w_;
  const Inst& inst_;
  const int lane_;
  u64 next_;
  int count_ = 0;
  std::string out_;
};

}  // namespace

void Print(Warp& w, const Inst& i, u32 m) {
  for (; m; m &= m - 1) {
    const int l = std::countr_zero(m);
    Formatter formatter(w, i, l, w.q(i.r[2])[l]);
    const std::string text = formatter.Run(Text(w, i, l, w.q(i.r[1])[l]));
    w.w(i.r[0])[l] = static_cast<u32>(formatter.count());
    if (w.block->options->print) {
      const std::lock_guard lock(w.block->shared_state->report_mutex);
      w.block->options->print(text);
    } else {
      std::fputs(text.c_str(), stderr);
    }
  }
}

void AssertFail(Warp& w, const Inst& i, u32 m) {
  const int l = std::countr_zero(m);
  throw Error("trap: assertion failed, " + Text(w, i, l, w.q(i.r[0])[l]) + ": " +
              Where(*w.block, i, w.first_thread + l));
}

}  // namespace ptx
