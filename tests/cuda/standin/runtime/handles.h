#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace standin {

// Objects that the program knows by a handle. A handle is never used again, so that one which was
// destroyed is known for what it is.
template <typename T, typename Handle>
class Handles {
 public:
  Handle Add(std::shared_ptr<T> object) {
    next_ += 16;
    objects_[next_] = std::move(object);
    return reinterpret_cast<Handle>(next_);
  }
  // Null: no such handle.
  std::shared_ptr<T> Find(Handle handle) const {
    const auto found = objects_.find(reinterpret_cast<uintptr_t>(handle));
    return found == objects_.end() ? nullptr : found->second;
  }
  std::shared_ptr<T> Remove(Handle handle) {
    const auto node = objects_.extract(reinterpret_cast<uintptr_t>(handle));
    return node.empty() ? nullptr : node.mapped();
  }
  size_t size() const { return objects_.size(); }
  auto begin() const { return objects_.begin(); }
  auto end() const { return objects_.end(); }

 private:
  uintptr_t next_ = 0x1000;  // no small number: those are special streams
  std::map<uintptr_t, std::shared_ptr<T>> objects_;
};

}  // namespace standin
