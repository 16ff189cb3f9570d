#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"

namespace peerage {

// A value that a config may give by name.
template <typename T>
struct Choice {
  absl::string_view name;
  T value;
};

// "silu, gelu, gelu_tanh or relu"
template <typename T, size_t kCount>
std::string ChoiceNames(const Choice<T> (&choices)[kCount]) {
  std::string names(choices[0].name);
  for (size_t i = 1; i < kCount; ++i) {
    absl::StrAppend(&names, i + 1 < kCount ? ", " : " or ", choices[i].name);
  }
  return names;
}

// Precondition: the value is one of the choices'.
template <typename T, size_t kCount>
absl::string_view ChoiceName(const Choice<T> (&choices)[kCount], T value) {
  size_t i = 0;
  while (choices[i].value != value) ++i;
  return choices[i].name;
}

template <typename T, size_t kCount>
std::optional<T> FindChoice(const Choice<T> (&choices)[kCount], absl::string_view name) {
  for (const Choice<T>& choice : choices) {
    if (choice.name == name) return choice.value;
  }
  return std::nullopt;
}

// The value that the key names; any other name is an error that lists the choices. Without a
// fallback an absent key is an error.
template <typename T, size_t kCount>
absl::StatusOr<T> ParseChoice(JsonObject& object, absl::string_view key,
                              const Choice<T> (&choices)[kCount], std::optional<T> fallback = {}) {
  if (fallback.has_value() && object.Find(key) == nullptr) {
    object.NoteDefault(key, std::string(ChoiceName(choices, *fallback)));
    return *fallback;
  }
  ASSIGN_OR_RETURN(const std::string name, object.String(key));
  if (const std::optional<T> value = FindChoice(choices, name)) return *value;
  return object.Error(key, absl::StrCat("is ", Quoted(name), ", not ", ChoiceNames(choices)));
}

}  // namespace peerage
