#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// UNIMPLEMENTED: the template goes beyond the subset of jinja.h.
absl::Status UnsupportedInJinja(absl::string_view what);

// What an expression of a template evaluates to, and what may be done with it: every operation
// outside the subset of jinja.h is UNIMPLEMENTED.
struct JinjaValue {
  using List = std::vector<JinjaValue>;
  using Object = std::map<std::string, JinjaValue, std::less<>>;
  struct Undefined {};
  struct None {};
  // Text of a message: printed and joined, never looked into.
  struct Opaque {
    std::string text;
  };

  std::variant<Undefined, None, bool, int64_t, std::string, Opaque, std::shared_ptr<const List>,
               std::shared_ptr<const Object>>
      is;

  template <typename T>
  const T* As() const {
    return std::get_if<T>(&is);
  }
  const List* AsList() const;
  const Object* AsObject() const;

  absl::StatusOr<bool> Truth() const;
  absl::StatusOr<bool> Equals(const JinjaValue& other) const;
  absl::StatusOr<bool> Contains(const JinjaValue& item) const;
  absl::StatusOr<bool> Passes(absl::string_view test) const;  // value is test

  // As it is printed.
  absl::StatusOr<Opaque> Text() const;

  absl::StatusOr<JinjaValue> JoinedWith(const JinjaValue& more) const;
  absl::StatusOr<JinjaValue> Minus(const JinjaValue& number) const;
  absl::StatusOr<JinjaValue> Item(const JinjaValue& key) const;    // value[key], value.key
  absl::StatusOr<JinjaValue> From(const JinjaValue& start) const;  // value[start:]
};

}  // namespace peerage
