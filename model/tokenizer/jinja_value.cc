#include "model/tokenizer/jinja_value.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

// Whether both are T and the same; nullopt when the first is no T.
template <typename T>
std::optional<bool> SameAs(const JinjaValue& left, const JinjaValue& right) {
  const T* a = left.As<T>();
  if (a == nullptr) return std::nullopt;
  const T* b = right.As<T>();
  return b != nullptr && *a == *b;
}

}  // namespace

absl::Status UnsupportedInJinja(absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat("not supported in a chat template: ", what));
}

const JinjaValue::List* JinjaValue::AsList() const {
  const auto* list = As<std::shared_ptr<const List>>();
  return list == nullptr ? nullptr : list->get();
}

const JinjaValue::Object* JinjaValue::AsObject() const {
  const auto* object = As<std::shared_ptr<const Object>>();
  return object == nullptr ? nullptr : object->get();
}

absl::StatusOr<bool> JinjaValue::Truth() const {
  if (As<Undefined>() != nullptr || As<None>() != nullptr) return false;
  if (const auto* truth = As<bool>()) return *truth;
  if (const auto* number = As<int64_t>()) return *number != 0;
  if (const auto* text = As<std::string>()) return !text->empty();
  if (const List* list = AsList()) return !list->empty();
  if (As<Opaque>() != nullptr) return UnsupportedInJinja("a look into a message's content");
  return true;
}

absl::StatusOr<bool> JinjaValue::Equals(const JinjaValue& other) const {
  for (const JinjaValue* side : {this, &other}) {
    if (side->As<Opaque>() != nullptr || side->AsList() != nullptr || side->AsObject() != nullptr) {
      return UnsupportedInJinja("a comparison");
    }
  }
  if (const auto same = SameAs<std::string>(*this, other)) return *same;
  if (const auto same = SameAs<int64_t>(*this, other)) return *same;
  if (const auto same = SameAs<bool>(*this, other)) return *same;
  return is.index() == other.is.index();
}

absl::StatusOr<bool> JinjaValue::Contains(const JinjaValue& item) const {
  const List* list = AsList();
  if (list == nullptr) return UnsupportedInJinja("an \"in\" on something else than a list");
  for (const JinjaValue& candidate : *list) {
    ASSIGN_OR_RETURN(const bool equal, item.Equals(candidate));
    if (equal) return true;
  }
  return false;
}

absl::StatusOr<bool> JinjaValue::Passes(absl::string_view test) const {
  if (test == "defined") return As<Undefined>() == nullptr;
  if (test == "none") return As<None>() != nullptr;
  if (test == "string") return As<std::string>() != nullptr || As<Opaque>() != nullptr;
  if (test == "true" || test == "false") {
    const bool* truth = As<bool>();
    return truth != nullptr && *truth == (test == "true");
  }
  return UnsupportedInJinja(absl::StrCat("test ", test));
}

absl::StatusOr<JinjaValue::Opaque> JinjaValue::Text() const {
  if (const auto* text = As<std::string>()) return Opaque{*text};
  if (const auto* content = As<Opaque>()) return *content;
  return UnsupportedInJinja("something else than text is printed or joined");
}

absl::StatusOr<JinjaValue> JinjaValue::JoinedWith(const JinjaValue& more) const {
  ASSIGN_OR_RETURN(Opaque text, Text());
  ASSIGN_OR_RETURN(const Opaque end, more.Text());
  text.text += end.text;
  const bool opaque = As<Opaque>() != nullptr || more.As<Opaque>() != nullptr;
  return opaque ? JinjaValue{std::move(text)} : JinjaValue{std::move(text.text)};
}

absl::StatusOr<JinjaValue> JinjaValue::Minus(const JinjaValue& number) const {
  const auto* a = As<int64_t>();
  const auto* b = number.As<int64_t>();
  if (a == nullptr || b == nullptr) {
    return UnsupportedInJinja("a difference of other than numbers");
  }
  int64_t difference = 0;
  if (__builtin_sub_overflow(*a, *b, &difference)) return UnsupportedInJinja("a number too large");
  return JinjaValue{difference};
}

absl::StatusOr<JinjaValue> JinjaValue::Item(const JinjaValue& key) const {
  const auto* name = key.As<std::string>();
  if (const Object* object = AsObject(); object != nullptr && name != nullptr) {
    const auto found = object->find(*name);
    return found == object->end() ? JinjaValue() : found->second;
  }
  const auto* index = key.As<int64_t>();
  if (const List* list = AsList(); list != nullptr && index != nullptr) {
    const bool inside = *index >= 0 && *index < static_cast<int64_t>(list->size());
    return inside ? (*list)[*index] : JinjaValue();
  }
  return UnsupportedInJinja("an item of something else than a message or a list");
}

absl::StatusOr<JinjaValue> JinjaValue::From(const JinjaValue& start) const {
  const List* list = AsList();
  const auto* first = start.As<int64_t>();
  if (list == nullptr || first == nullptr || *first < 0) return UnsupportedInJinja("a slice");
  const int64_t skipped = std::min<int64_t>(*first, static_cast<int64_t>(list->size()));
  return JinjaValue{std::make_shared<const List>(list->begin() + skipped, list->end())};
}

}  // namespace peerage
