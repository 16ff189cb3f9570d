#include "calls.h"

#include <algorithm>

namespace standin {

int Calls::Count(const std::string& function) {
  ++counts_[function];
  int error = 0;
  for (Failure& failure : failures_) {
    if (failure.function == function && failure.after-- == 0 && error == 0) error = failure.error;
  }
  std::erase_if(failures_, [](const Failure& failure) { return failure.after < 0; });
  return error;
}

uint64_t Calls::Of(const std::string& function) const {
  const auto found = counts_.find(function);
  return found == counts_.end() ? 0 : found->second;
}

}  // namespace standin
