#include "model/nn/storage.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

namespace peerage::nn {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;

// Best effort: without huge pages everything still works, a little slower.
void AdviseHugePages(uint8_t* data, size_t size) {
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + size) & ~(kHugePage - 1);
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

}  // namespace

absl::StatusOr<Storage> Allocate(size_t bytes, Pages pages) {
  try {
    auto tensor = std::make_shared<at::Tensor>(at::empty({static_cast<int64_t>(bytes)}, at::kByte));
    Storage storage{tensor, static_cast<uint8_t*>(tensor->data_ptr()), bytes};
    if (pages == Pages::kHuge) AdviseHugePages(storage.data, bytes);
    return storage;
  } catch (const std::exception&) {  // c10::Error carries a stack trace nobody wants to read
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes"));
  }
}

uint8_t* Arena::Take(size_t bytes) {
  const size_t offset = used_;
  used_ += Padded(bytes);
  if (dry_run()) return nullptr;
  assert(used_ <= storage_.size);
  return storage_.data + offset;
}

void InitializeTorch() { at::set_num_threads(1); }

}  // namespace peerage::nn
