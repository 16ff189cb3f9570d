// The registers of a kernel: numbered while it is assembled, then given their places.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "program.h"

namespace ptx {

class Registers {
 public:
  u32 New(bool wide) { return Add(wide ? 256 : 128); }
  u32 NewPredicate() { return Add(4); }
  // One that holds a value in all lanes.
  u32 Constant(u64 value, bool wide);
  // One that holds the address of dynamic shared memory, which is known at the end.
  u32 DynamicShared(bool wide);
  u32 Special(int index);  // into special_registers.h

  // Puts byte offsets into a warp's registers for numbers, in the kernel's code too. PTX writes
  // most registers once, so a kernel has thousands. Those that live within one run of straight code
  // share places, or a warp's registers would not stay in the cache. (Lanes that are elsewhere keep
  // theirs: an instruction writes only lanes that take part.)
  void Place(Kernel& kernel, u64 dynamic_shared);

 private:
  struct Life {
    int first = -1, last = -1, run = -1;
    bool is_local = true;  // to one run
  };

  u32 Add(u32 width) {
    widths_.push_back(width);
    return static_cast<u32>(widths_.size()) - 1;
  }
  std::vector<Life> Lives(Kernel& kernel) const;
  u32 PlaceLasting(const std::vector<Life>& lives);
  u32 PlaceLocal(Kernel& kernel, const std::vector<Life>& lives, u32 bytes);

  std::vector<u32> widths_, places_;
  std::map<std::pair<u64, bool>, u32> constants_;
  std::map<bool, u32> dynamic_;
  std::map<int, u32> specials_;
};

}  // namespace ptx
