#include "poison.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace standin {
namespace {

constexpr uintptr_t kPage = 4096;
constexpr size_t kPattern = size_t{16} << 20;
constexpr size_t kWorthSharing = size_t{1} << 20;

// A file of 0xff in memory; -1: there is none.
int PatternFile() {
  static const int file = [] {
    const int made = memfd_create("cuda stand-in", MFD_CLOEXEC);
    const std::vector<char> pattern(kPattern, '\xff');
    if (made < 0 || write(made, pattern.data(), kPattern) != static_cast<ssize_t>(kPattern)) {
      return -1;
    }
    return made;
  }();
  return file;
}

}  // namespace

void Poison(void* begin, size_t bytes) {
  auto* at = static_cast<uint8_t*>(begin);
  uint8_t* const end = at + bytes;
  if (bytes < kWorthSharing || PatternFile() < 0) {
    std::memset(at, 0xff, bytes);
    return;
  }
  const auto first = (reinterpret_cast<uintptr_t>(at) + kPage - 1) / kPage * kPage;
  const auto last = reinterpret_cast<uintptr_t>(end) / kPage * kPage;
  std::memset(at, 0xff, first - reinterpret_cast<uintptr_t>(at));
  std::memset(reinterpret_cast<uint8_t*>(last), 0xff, reinterpret_cast<uintptr_t>(end) - last);
  for (uintptr_t page = first; page < last; page += kPattern) {
    const size_t part = std::min<size_t>(kPattern, last - page);
    void* const place = reinterpret_cast<void*>(page);
    if (mmap(place, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, PatternFile(), 0) ==
        MAP_FAILED) {
      std::memset(place, 0xff, part);
    }
  }
}

}  // namespace standin
