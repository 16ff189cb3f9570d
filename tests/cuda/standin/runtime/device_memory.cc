#include "device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "poison.h"

namespace standin {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kIntoPage = 256;  // where an allocation begins in its first page
constexpr size_t kFreedKept = 10000;
// Of an allocation whose bytes are known to be written or not: an eighth of it is used for that.
constexpr uint64_t kTrackedBytes = uint64_t{1} << 30;

uint8_t* Map(uint64_t bytes, int protection) {
  void* pages =
      mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw ptx::Error("no address space for the stand-in's device memory");
  return static_cast<uint8_t*>(pages);
}

// The last entry of `map` that begins at or before `address`.
template <typename T>
const T* AtOrBefore(const std::map<uint64_t, T>& map, uint64_t address) {
  auto next = map.upper_bound(address);
  return next == map.begin() ? nullptr : &std::prev(next)->second;
}

}  // namespace

void DeviceMemory::Prepare() {
  if (base_ != 0) return;
  reserved_ = std::bit_ceil(std::max(uint64_t{64} << 30, 8 * total_));
  base_ = reinterpret_cast<uint64_t>(Map(reserved_, PROT_NONE));
  next_ = base_;
  memory_.alias = reinterpret_cast<uint64_t>(Map(reserved_, PROT_READ | PROT_WRITE)) - base_;
  memory_.allocate = [this](uint64_t bytes) { return AllocateVariable(bytes); };
  if (!checked_) return;
  memory_.first = base_;
  memory_.tracked = reserved_;
  memory_.touches = reinterpret_cast<ptx::Memory::Touch*>(
      Map(reserved_ / 4 * sizeof(ptx::Memory::Touch), PROT_READ | PROT_WRITE));
}

uint64_t DeviceMemory::Place(uint64_t bytes) {
  Prepare();
  // An unused page lies behind each.
  const uint64_t span = (kIntoPage + bytes + kPage - 1) / kPage * kPage + kPage;
  for (int wraps = 0; wraps < 2;) {
    if (span > base_ + reserved_ - next_) {
      next_ = base_;
      ++wraps;
      continue;
    }
    uint64_t taken_until = 0;
    for (const auto* map : {&live_, &variables_}) {
      const Allocation* last = AtOrBefore(*map, next_ + span - 1);
      if (last != nullptr && last->pages_end > next_) {
        taken_until = std::max(taken_until, last->pages_end);
      }
    }
    if (taken_until == 0) {
      const uint64_t place = next_;
      next_ += span;
      std::erase_if(freed_, [&](const auto& f) {
        return f.first < place + span && f.second.pages_end > place;
      });
      return place;
    }
    next_ = taken_until;
  }
  return 0;
}

uint64_t DeviceMemory::Allocate(uint64_t bytes) {
  if (bytes > total_ || used_ + Counted(bytes) > total_) return 0;
  const uint64_t page = Place(bytes);
  if (page == 0) return 0;
  const uint64_t address = page + kIntoPage;
  live_[page] = {address, bytes, next_};
  used_ += Counted(bytes);
  memory_.Add(address, bytes);
  Poison(memory_.At(address), bytes);
  if (checked_ && bytes <= kTrackedBytes) memory_.MarkFresh(address, bytes);
  return address;
}

uint64_t DeviceMemory::AllocateVariable(uint64_t bytes) {
  const uint64_t page = Place(bytes);
  if (page == 0) throw ptx::Error("no room for a device variable");
  const uint64_t address = page + kIntoPage;
  variables_[page] = {address, bytes, next_};
  memory_.Add(address, bytes);
  return address;
}

bool DeviceMemory::Free(uint64_t address) {
  const auto found = live_.find(address - kIntoPage);
  if (found == live_.end()) return false;
  Release(found->first, found->second);
  used_ -= Counted(found->second.bytes);
  if (freed_.size() == kFreedKept) freed_.erase(freed_.begin());
  freed_.insert(*found);
  live_.erase(found);
  return true;
}

void DeviceMemory::FreeAll() {
  while (!live_.empty()) Free(live_.begin()->second.address);
}

void DeviceMemory::Release(uint64_t first_page, const Allocation& allocation) {
  memory_.Remove(allocation.address);
  const uint64_t bytes = allocation.pages_end - first_page;
  mmap(memory_.At(first_page), bytes, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (!checked_) return;
  memory_.MarkWritten(allocation.address, allocation.bytes);  // as unused addresses are
  madvise(memory_.touches + (first_page - base_) / 4, bytes / 4 * sizeof(ptx::Memory::Touch),
          MADV_DONTNEED);
}

const DeviceMemory::Allocation* DeviceMemory::FindFreed(uint64_t address) const {
  const Allocation* last = AtOrBefore(freed_, address);
  return last != nullptr && address < last->pages_end ? last : nullptr;
}

std::string DeviceMemory::Describe(uint64_t address) const {
  const Allocation* live = AtOrBefore(live_, address);
  if (live != nullptr && address >= live->pages_end) live = nullptr;
  const Allocation* found = live != nullptr ? live : FindFreed(address);
  if (found == nullptr) return "no allocation";
  const uint64_t offset = address - found->address;
  const std::string place = offset < found->bytes ? "byte " + std::to_string(offset) + " of"
                            : address < found->address
                                ? std::to_string(found->address - address) + " bytes before"
                                : std::to_string(offset - found->bytes) + " bytes behind";
  return place + " an allocation of " + std::to_string(found->bytes) + " bytes" +
         (live == nullptr ? " that was freed" : "");
}

void DeviceMemory::MarkWritten(uint64_t address, uint64_t bytes) const {
  if (checked_) memory_.MarkWritten(address, bytes);
}

bool DeviceMemory::WasWritten(uint64_t address, uint64_t bytes) const {
  return !memory_.HasFresh(address, bytes);
}

void DeviceMemory::CopyWritten(uint64_t to, const DeviceMemory& other, uint64_t from,
                               uint64_t bytes) const {
  if (!checked_) return;
  if (&other == this) {
    memory_.CopyMarks(to, from, bytes);
  } else if (other.WasWritten(from, bytes)) {
    memory_.MarkWritten(to, bytes);
  }
}

}  // namespace standin
